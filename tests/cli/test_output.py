"""What is printed: any console, any name; an output that fails changes nothing."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from commands import fedtp
from histories import history
from paths import ROOT
from tiny_run import TINY

from fedtp_jax.cli import main
from fedtp_jax.cli.output import expect_picture, write_picture
from fedtp_jax.config.plain import to_yaml
from fedtp_jax.plots.curves import learning_curves


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(to_yaml(TINY))
    return "tiny.yaml"


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_console_shows_what_it_can(encoding, file, whole, monkeypatch):
    _, path = whole
    for arguments in (
        ["run", file, "training.rounds=2", "--quiet", "--out", encoding],
        ["compare", str(path)],
    ):
        streams = [io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2)]
        monkeypatch.setattr(sys, "stdout", streams[0])
        monkeypatch.setattr(sys, "stderr", streams[1])
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 0
        assert b"accuracy" in streams[0].buffer.getvalue()
    assert Path(encoding, "report.html").is_file()


@pytest.mark.parametrize("name", ["b[bold]x", "c[/x]"])
def test_names_are_printed_as_they_are(name, file, capsys):
    code, out, _ = fedtp(capsys, "run", file, "training.rounds=1", "--out", name)
    assert code == 0
    assert f"report: {name}/report.html" in out
    code, _, err = fedtp(capsys, "run", file, "--out", name)
    assert code == 2
    assert f"fedtp resume {name})" in err


@pytest.mark.slow
def test_an_output_that_nobody_reads_changes_nothing(file, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "fedtp_jax", "run", file, "training.rounds=1", "--out", "run"]
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, stdout=write, stderr=subprocess.PIPE, text=True
    )
    os.close(write)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "run" / "report.html").is_file()


def test_a_narrow_terminal_breaks_no_path(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    wide = fedtp(capsys, "doctor", "--json")[1]
    code, out, _ = fedtp(capsys, "doctor")
    assert code == 0
    assert len(out.splitlines()) == len(json.loads(wide))  # a line for each finding, in a pipe too
    for line in out.splitlines():
        found = line.split("  ")[-1].strip()
        assert found.replace('"', '\\"') in wide, found


def test_an_interrupt_while_it_loads_is_no_traceback():
    program = (
        "import sys\n"
        "class Interrupted:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'jax':\n"
        "            raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupted())\n"
        "from fedtp_jax.cli import main\n"  # as the installed command does
        "main(['list', 'methods'])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted; nothing was written\n")


def test_a_narrow_terminal_loses_no_number_of_a_partition(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    file = tmp_path / "tiny.yaml"
    file.write_text(to_yaml(TINY))
    code, out, _ = fedtp(capsys, "partition", str(file))
    assert code == 0
    head = next(line for line in out.splitlines() if "client" in line)
    assert head.split() == ["client", *map(str, range(10)), "total"]


@pytest.mark.parametrize(("name", "begin"), [("a.png", b"\x89PNG"), ("a.PDF", b"%PDF-"), ("a.svg", b"<?xml")])
def test_a_picture_has_the_format_of_its_ending(name, begin, tmp_path):
    expect_picture("--picture", tmp_path / name)
    write_picture("--picture", tmp_path / name, learning_curves(history(4, 2)))
    assert (tmp_path / name).read_bytes().startswith(begin)
