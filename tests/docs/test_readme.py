"""The README: its example runs and prints what it says, CI runs its commands (links: test_docs)."""

import contextlib
import io
import re

import pytest
import yaml
from paths import ROOT

from fedtp_jax import config

README = (ROOT / "README.md").read_text(encoding="utf-8")
SWEEPS = (ROOT / "docs" / "sweeps.md").read_text(encoding="utf-8")


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


def test_it_is_a_page():
    assert len(README.splitlines()) <= 160


def test_its_table_has_every_method():
    rows = re.findall(r"^\| `(\w+)` \|.*`(\w+\.py)` \|$", README, re.M)
    assert sorted(name for name, _ in rows) == sorted(config.METHODS)
    for _, file in rows:
        assert (ROOT / "fedtp_jax" / "methods" / file).is_file(), file


def test_the_sweep_shown_is_the_one_that_is_shipped():
    shipped = yaml.safe_load((ROOT / "configs" / "sweeps" / "digits.yaml").read_text())
    shown = yaml.safe_load(re.search(r"```yaml\n(.*?)```", SWEEPS, re.S)[1])
    assert shown == shipped
