"""A comparison as Markdown, LaTeX, CSV and on the terminal."""

import csv
import io

import pytest
from made_up_results import THREE
from rich.console import Console

from fedtp_jax import compare


def test_markdown(three):
    table, notes = three.to_markdown().split("\n\n")
    assert table.splitlines() == [
        "| method | accuracy |",
        "| --- | ---: |",
        "| fedtp | **94.00 ± 2.83** |",
        "| vanilla | 90.00 ± 1.41 |",
        "| fedavg | 89.00 ± 1.41† |",
    ]
    assert notes.startswith(
        "Test accuracy in percent. Mean ± sample std over 2 seeds on 1 partition of each run's mean over"
    )
    assert "last 2 evaluations, never of its best round; 8 clients" in notes
    assert "†: not significantly worse than the best" in notes
    assert three._repr_markdown_() == three.to_markdown()  # as a notebook shows it


@pytest.mark.parametrize("in_notebook", [False, True])
def test_plain_text_marks_the_best_by_a_star(three, monkeypatch, in_notebook):
    monkeypatch.setenv("FORCE_COLOR", "1")  # which is for terminals
    monkeypatch.setattr("rich.console._is_jupyter", lambda: in_notebook)
    lines = str(three).splitlines()
    assert repr(three) == str(three)
    assert [line.split() for line in lines[4:7]] == [
        ["fedtp", "94.00", "±", "2.83*"],
        ["vanilla", "90.00", "±", "1.41"],
        ["fedavg", "89.00", "±", "1.41†"],
    ]
    assert any(line.startswith("*: the best of its column. †") for line in lines)
    assert max(map(len, lines)) <= 110


def test_latex(three):
    lines = three.to_latex().splitlines()
    assert lines[0] == r"% needs \usepackage{booktabs}"
    assert [line for line in lines if not line.startswith("%")] == [
        r"\begin{tabular}{lc}",
        r"\toprule",
        r"method & accuracy \\",
        r"\midrule",
        r"fedtp & \textbf{94.00 $\pm$ 2.83} \\",
        r"vanilla & 90.00 $\pm$ 1.41 \\",
        r"fedavg & 89.00 $\pm$ 1.41$^{\dagger}$ \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]


def test_names_mean_themselves_in_every_format():
    made = compare({"a_b | 5 %": THREE[0], r"\x": THREE[2]})
    assert r"| a\_b \| 5 % |" in made.to_markdown()
    assert r"a\_b | 5 \% &" in made.to_latex()
    assert r"\textbackslash{}x &" in made.to_latex()
    assert made.table["name"].tolist() == ["a_b | 5 %", r"\x"]


def test_csv_has_all_digits(three):
    back = list(csv.DictReader(io.StringIO(three.to_csv())))
    for name in ("mean", "std"):
        assert [float(row[name]) for row in back] == three.table[name].tolist()
    assert list(back[0]) == ["method.name", "mean", "std", "seeds", "best", "p_value", "tied"]


def test_the_terminal_shows_the_best_in_bold(three):
    console = Console(force_terminal=True, width=100, file=io.StringIO())
    console.print(three.sheet.terminal())
    assert "\x1b[1m94.00 ± 2.83" in console.file.getvalue()
