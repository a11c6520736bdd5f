"""Paths as users give them: ~ is the home folder wherever one is taken."""

import dataclasses
import shutil
from pathlib import Path

import pytest
from commands import fedtp
from tiny_run import AS_RUN, TINY, same_files

from fedtp_jax import Result, compare, load_config, simulate
from fedtp_jax.config.plain import to_yaml


@pytest.fixture
def home(monkeypatch, tmp_path):
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.chdir(tmp_path)
    yield folder
    assert not Path("~").exists()


def test_from_python(home, whole):
    result, path = whole
    shutil.copytree(path, home / "run")
    assert Result.load("~/run").accuracy == result.accuracy
    assert compare(["~/run"]).table["mean"].tolist() == [result.accuracy["mean"]]
    assert load_config("~/run/config.yaml") == AS_RUN
    result.save("~/saved")
    assert (home / "saved" / "config.yaml").is_file()
    simulate("~/run/config.yaml", out="~/run", resume=True)
    same_files(home / "run", path)


def test_from_the_shell(home, capsys):
    (home / "tiny.yaml").write_text(
        to_yaml(dataclasses.replace(TINY, training=dataclasses.replace(TINY.training, rounds=1)))
    )
    assert fedtp(capsys, "run", "~/tiny.yaml", "--out=~/run", "--quiet")[0] == 0
    assert (home / "run" / "report.html").is_file()
    assert fedtp(capsys, "resume", "~/run", "--quiet")[0] == 0
    assert fedtp(capsys, "compare", "~/run", "--out=~/table.md")[0] == 0
    assert (home / "table.md").is_file()
    assert fedtp(capsys, "export", "~/run", "--client", "1", "--out=~/client.safetensors")[0] == 0
    assert (home / "client.safetensors").stat().st_size
