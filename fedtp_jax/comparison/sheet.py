"""A table of mean ± std as papers have it: for the terminal, as Markdown, as LaTeX."""

import dataclasses
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

from fedtp_jax.config.metrics import shown

TIED = "†"
WIDTH = 110  # letters in a line of plain text
MISSING = "\N{EN DASH}"
SIGNS = {"±": r"$\pm$", TIED: r"$^{\dagger}$", MISSING: "--"}
LATEX = {sign: "\\" + sign for sign in "&%$#_{}"} | SIGNS | {"<": r"$<$", ">": r"$>$", "≥": r"$\geq$"}
LATEX |= {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}


@dataclasses.dataclass(frozen=True)
class Cell:
    """Mean and sample std over seeds (NaN for one seed); whether it is the best, or tied with it.

    `p_value`: of the test against the best, None where none was made.
    """

    mean: float
    std: float
    seeds: int
    best: bool = False
    p_value: float | None = None
    tied: bool = False

    def text(self, measure: str) -> str:
        """Without marks; in percent where the measure is a share."""
        return shown(measure, self.mean) + ("" if math.isnan(self.std) else f" ± {shown(measure, self.std)}")


@dataclasses.dataclass(frozen=True)
class Sheet:
    """`cells` of a measure by (row, column), some may be missing; `corner` says what the rows are."""

    title: str
    corner: str
    rows: Sequence[str]
    columns: Sequence[str]
    cells: Mapping[tuple[str, str], Cell]
    notes: Sequence[str]
    measure: str = "accuracy"

    def lines(self, bold: str) -> list[list[str]]:
        """The cells' texts row by row, the best ones put into `bold`, such as "**{}**"."""
        return [
            [self._text(self.cells.get((row, column)), bold) for column in self.columns] for row in self.rows
        ]

    def _text(self, cell: Cell | None, bold: str) -> str:
        if cell is None:
            return MISSING
        text = cell.text(self.measure)
        return (bold.format(text) if cell.best else text) + TIED * cell.tied

    def markdown(self) -> str:
        """A table of GitHub's Markdown, with the notes below it."""
        head = [_markdown(name) for name in (self.corner, *self.columns)]
        body = [[_markdown(row), *texts] for row, texts in zip(self.rows, self.lines("**{}**"), strict=True)]
        ruler = ["---", *["---:"] * len(self.columns)]
        table = "\n".join(f"| {' | '.join(line)} |" for line in [head, ruler, *body])
        return f"{table}\n\n{_markdown(' '.join([self.title, *self.notes]))}\n"

    def latex(self) -> str:
        """A tabular with booktabs' rules; title and notes are comments above it."""
        comments = [f"% {line}" for line in ("needs \\usepackage{booktabs}", self.title, *self.notes)]
        head = [_latex(name) for name in (self.corner, *self.columns)]
        body = [
            [_latex(row), *(_translated(text, SIGNS) for text in texts)]
            for row, texts in zip(self.rows, self.lines(r"\textbf{{{}}}"), strict=True)
        ]
        head_row, *rows = [rf"{' & '.join(line)} \\" for line in [head, *body]]
        begin = rf"\begin{{tabular}}{{l{'c' * len(self.columns)}}}"
        ruled = [r"\toprule", head_row, r"\midrule", *rows, r"\bottomrule"]
        return "\n".join([*comments, begin, *ruled, r"\end{tabular}", ""])

    def text(self) -> str:
        """As the terminal shows it, without colours; the best are marked by a star."""
        from rich.console import Console

        paper = io.StringIO()
        # in a notebook rich would show it at once, and write nothing to `file`
        console = Console(file=paper, width=WIDTH, highlight=False, color_system=None, force_jupyter=False)
        console.print(self.terminal("{}*", "*"))
        return "\n".join(line.rstrip() for line in paper.getvalue().splitlines()) + "\n"

    def terminal(self, best: str = "[bold]{}[/bold]", sign: str = "Bold") -> Any:
        """For rich's console to print."""
        from rich import box
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        table.add_column(Text(self.corner))
        for name in self.columns:
            # a narrow terminal may break a number into two lines, never cut its end off
            table.add_column(Text(name), justify="right", overflow="fold")
        for row, texts in zip(self.rows, self.lines(best), strict=True):
            table.add_row(Text(row), *texts)
        notes = [note.replace("Bold", sign, 1) for note in self.notes]
        return Group(Text(self.title), table, *map(Text, notes))


def _markdown(text: str) -> str:
    """Text whose signs mean themselves."""
    for sign in "\\|*_<":
        text = text.replace(sign, "\\" + sign)
    return text


def _latex(text: str) -> str:
    """Text whose signs mean themselves."""
    return _translated(text, LATEX)


def _translated(text: str, signs: Mapping[str, str]) -> str:
    return "".join(signs.get(sign, sign) for sign in text)
