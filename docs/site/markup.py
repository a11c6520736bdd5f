"""What Git hosts show and Python's Markdown does not: a hook of mkdocs.yml.

Formulas become MathML, which browsers draw without a script. In the code of tables `\\|` is `|`, and long
names may break after dots and underscores.
"""

import html
import re

from latex2mathml.converter import convert

FORMULA = re.compile(r'(<(span|div) class="arithmatex">)\\[(\[](.*?)\\[)\]](?=</\2>)', re.S)
CELL = re.compile(r"<td[ >].*?</td>", re.S)
CODE = re.compile(r"<code>[^<]*</code>")
JOINT = re.compile(r"(?<=\w)[._/](?=\w)")


def on_page_content(content: str, **_: object) -> str:
    """A page's HTML with all of these."""
    return CELL.sub(lambda cell: CODE.sub(in_table, cell[0]), FORMULA.sub(mathml, content))


def mathml(formula: re.Match[str]) -> str:
    """What the extension arithmatex has found, in the element that it has put around it."""
    return formula[1] + convert(
        html.unescape(formula[3]), display="block" if formula[2] == "div" else "inline"
    )


def in_table(code: re.Match[str]) -> str:
    return JOINT.sub(r"\g<0><wbr>", code[0].replace(r"\|", "|"))
