"""The README: its example runs and prints what it says, CI runs its commands, its links exist."""

import contextlib
import io
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.S)


def test_ci_runs_the_commands_of_the_readme():
    ci = (ROOT / ".ci" / "run").read_text()
    for command in blocks("bash"):
        for part in command.strip().split(" && "):
            words = part.replace("pip install ", "pip install --quiet ")
            assert f"step {words}" in ci, part


@pytest.mark.slow
def test_the_example_prints_what_the_readme_shows():
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(blocks("python")[0], {})
    shown = next(block for block in blocks("text") if block.startswith("Result("))
    actual, expected = output.getvalue().splitlines(), shown.splitlines()
    assert len(actual) == len(expected)
    number = r"-?\d+\.\d+"
    for line, wanted in zip(actual, expected, strict=True):
        assert re.sub(number, "", line).split() == re.sub(number, "", wanted).split()
    # other processors and versions round differently, which early rounds amplify: the end must agree
    assert float(actual[-1].split()[3]) == pytest.approx(float(expected[-1].split()[3]), abs=0.04)


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)]+)\)", README):
        if target.startswith("#"):
            heading = target[1:].replace("-", " ")
            headings = [re.sub(r"[^\w\s-]", "", h).lower() for h in re.findall(r"^#+ (.*)$", README, re.M)]
            assert heading in headings, target
        elif not target.startswith("http"):
            assert (ROOT / target).exists(), target
