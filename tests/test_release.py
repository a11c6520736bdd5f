"""What is given away: built, checked, installed where nothing else of it is, and typed from a user's side."""

import subprocess
import sys
import tarfile
import zipfile
from importlib.util import find_spec

import pytest
import yaml
from paths import ROOT

USER = """\
import numpy as np

from fedtp_jax import Result, SimulationConfig, compare, config, from_arrays, simulate

settings = SimulationConfig(training=config.Training(rounds=2))
one: Result = simulate(settings)
several: list[Result] = simulate(settings, seeds=[0, 1])
best: float = max(result.accuracy["mean"] for result in several)
rounds: list[int] = one.history["round"].astype(int).tolist()
print(compare([one, *several]).to_markdown(), best, rounds)
data = from_arrays(np.zeros((4, 2)), np.zeros(4))
wrong: int = simulate(settings)
"""


def python(*words, **more):
    """What `python` prints, with its errors; it must succeed."""
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False, **more)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """(the source distribution, the wheel) of the files that git knows."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    known = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, capture_output=True, check=True).stdout
    subprocess.run(["tar", "-x", "-C", str(source)], input=known, check=True)
    python("-m", "build", "--outdir", str(out), str(source))
    (sdist,), (wheel,) = out.glob("*.tar.gz"), out.glob("*.whl")
    return sdist, wheel


@pytest.mark.slow
@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="needs git's list of files")
@pytest.mark.skipif(
    not (find_spec("build") and find_spec("twine")), reason="needs build and twine (extra dev)"
)
def test_what_is_built_is_whole_and_runs_where_nothing_else_is(built, tmp_path):
    assert "FAILED" not in python("-m", "twine", "check", "--strict", *map(str, built))
    sdist, wheel = built
    with zipfile.ZipFile(wheel) as held:
        names = held.namelist()
    inside = {name.removeprefix("fedtp_jax/") for name in names if name.startswith("fedtp_jax/")}
    expected = {
        str(path.relative_to(ROOT / "fedtp_jax"))
        for path in (ROOT / "fedtp_jax").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert inside == expected, "the package, every file of it"
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"fedtp_jax"}, "and nothing else"
    with tarfile.open(sdist) as held:
        roots = {name.split("/")[1] for name in held.getnames() if "/" in name}
    assert {"fedtp_jax", "tests", "LICENSE", "README.md", "setup.cfg", "pyproject.toml"} <= roots
    python("-m", "pip", "install", "--no-deps", "--quiet", "--target", str(tmp_path / "site"), str(wheel))
    config = yaml.safe_load((ROOT / "configs/quickstart.yaml").read_text())
    config["training"]["rounds"] = 2
    (tmp_path / "quick.yaml").write_text(yaml.safe_dump(config))
    here = {"cwd": tmp_path, "env": {"PYTHONPATH": str(tmp_path / "site"), "HOME": str(tmp_path)}}
    assert "test accuracy" in python("-m", "fedtp_jax", "run", "quick.yaml", "--out", "run", **here)
    assert "vega" in (tmp_path / "run/report.html").read_text("utf-8")


@pytest.mark.slow
@pytest.mark.skipif(not find_spec("mypy"), reason="needs mypy (extra dev)")
def test_types_are_those_that_a_user_needs(tmp_path):
    (tmp_path / "user.py").write_text(USER)
    words = ["-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), "user.py"]
    done = subprocess.run([sys.executable, *words], cwd=tmp_path, capture_output=True, text=True, check=False)
    (found, _) = done.stdout.splitlines()
    assert found.startswith(f"user.py:{USER.count(chr(10))}: error: Incompatible types"), done.stdout
