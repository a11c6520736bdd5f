"""The README: its example runs and prints what it says, CI runs its commands (links: test_docs)."""

import contextlib
import io
import re
from pathlib import Path

import numpy as np
import pytest
import yaml

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


@pytest.mark.slow
def test_the_example_with_own_data_runs():
    random = np.random.default_rng(0)
    x, y = random.integers(0, 256, (60, 8, 8, 1)).astype(np.uint8), random.integers(0, 3, 60)
    names = {"x": x, "y": y, "hospital": np.repeat(["north", "south", "east"], 20)}
    exec(blocks("python")[1], names)
    assert len(names["result"].clients) == 3


def test_the_sweep_shown_is_the_one_that_is_shipped():
    shipped = yaml.safe_load((ROOT / "configs" / "sweeps" / "digits.yaml").read_text())
    shown = yaml.safe_load(blocks("yaml")[0])
    assert shown == shipped
