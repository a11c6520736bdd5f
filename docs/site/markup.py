"""What Git hosts show and Python's Markdown does not: a hook of mkdocs.yml.

Formulas become MathML, which browsers draw without a script. In the code of tables `\\|` is `|`.
"""

import html
import re

from latex2mathml.converter import convert

FORMULA = re.compile(r'(<(span|div) class="arithmatex">)\\[(\[](.*?)\\[)\]](?=</\2>)', re.S)
CELL = re.compile(r"<td[ >].*?</td>", re.S)


def on_page_content(content: str, **_: object) -> str:
    """A page's HTML with both."""
    return CELL.sub(lambda cell: cell[0].replace(r"\|", "|"), FORMULA.sub(mathml, content))


def mathml(formula: re.Match[str]) -> str:
    """What the extension arithmatex has found, in the element that it has put around it."""
    return formula[1] + convert(html.unescape(formula[3]), display="block" if formula[2] == "div" else "inline")
