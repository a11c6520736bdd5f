"""`fedtp watch`: a run and a sweep that others are at work on, seen from outside."""

import contextlib
import io
import json
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from commands import fedtp
from sweep_files import snapshot

from fedtp_jax.storage.csv_log import read_rows
from fedtp_jax.storage.locks import HELD, keeping


def lines(path):
    return path.read_bytes().splitlines(keepends=True)


def shortened(run, rounds):
    """The folder as it was after so many rounds; gives what was cut off of metrics.csv and timing.csv."""
    (run / "report.html").unlink()
    cut = {}
    for name in ("metrics.csv", "timing.csv"):
        rows = lines(run / name)
        (run / name).write_bytes(b"".join(rows[: 1 + rounds]))
        cut[name] = rows[1 + rounds :]
    return cut


def append(path, content):
    with path.open("ab") as file:
        file.write(content)


def interrupt():
    raise KeyboardInterrupt


@pytest.fixture
def run(whole, tmp_path, monkeypatch):
    """A copy of a finished run of six rounds, evaluated in every second one."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(whole[1], "runs/tiny")
    return Path("runs/tiny")


@pytest.fixture
def meanwhile(monkeypatch):
    """What happens while the command waits, one after the other."""

    def between(*happens):
        waiting = iter(happens)
        monkeypatch.setattr("fedtp_jax.cli.watch.time.sleep", lambda _: next(waiting)())

    return between


def once(capsys, folder, *flags):
    code, out, err = fedtp(capsys, "watch", str(folder), "--once", "--json", *flags)
    assert (code, err) == (0, "")
    return json.loads(out)


def test_a_run_at_work_is_told_in_figures(run, capsys):
    cut = shortened(run, 3)
    with keeping(run, "run"):
        seen = once(capsys, run)
        assert (seen["state"], seen["round"], seen["rounds"], seen["evaluated_round"]) == ("running", 3, 6, 2)
        row = read_rows(run / "metrics.csv")[1]
        assert (seen["measure"], seen["test_accuracy"]) == ("accuracy", row["test_accuracy"])
        spent = [t["train_seconds"] + t["evaluation_seconds"] for t in read_rows(run / "timing.csv")]
        assert seen["seconds_a_round"] == pytest.approx(sum(spent) / 3)
        assert seen["seconds_left"] == pytest.approx(sum(spent))
        assert seen["method"] == "fedtp" and seen["pid"] > 0
        for torn in (cut["metrics.csv"][0][:10], b"4,3,3\n"):  # as a file is seen that is being written
            append(run / "metrics.csv", torn)
            assert once(capsys, run)["round"] == 3
    assert once(capsys, run)["state"] == "stopped"


def test_it_ends_with_the_run(run, capsys, meanwhile):
    cut, held = shortened(run, 2), contextlib.ExitStack()
    held.enter_context(keeping(run, "run"))

    def row():
        for name, rows in cut.items():
            append(run / name, rows.pop(0))

    def end():
        (run / "report.html").write_text("the report")
        held.close()

    meanwhile(row, row, row, row, end)
    code, out, err = fedtp(capsys, "watch", str(run))
    assert (code, err) == (0, "")
    assert re.findall(r"round (\d)/6  test accuracy [\d.]+\n", out) == ["2", "4", "6"]
    assert "finished" in out and "6 of 6" in out


def test_a_run_that_nobody_goes_on_with_is_said(run, capsys, meanwhile):
    shortened(run, 2)
    note_holder(run, socket.gethostname())  # which was killed
    code, out, _ = fedtp(capsys, "watch", str(run))
    assert code == 1
    assert f"stopped: no process is at work on it; go on with: fedtp resume {run}" in out
    note_holder(run, "elsewhere")
    assert once(capsys, run)["state"] == "unknown"  # its machine may know a lock that this one does not
    meanwhile((run / HELD).unlink)
    assert fedtp(capsys, "watch", str(run))[0] == 1


def note_holder(run, host):
    (run / HELD).write_text(json.dumps({"pid": 1, "host": host, "since": "then"}))


def test_an_interrupt_leaves_the_run_as_it_is(run, capsys, meanwhile):
    shortened(run, 2)
    with keeping(run, "run"):
        before = snapshot(run)
        meanwhile(lambda: None, interrupt)
        code, _, err = fedtp(capsys, "watch", str(run))
        assert (code, err) == (130, "no longer watched; the run goes on\n")
        assert snapshot(run) == before


def test_a_terminal_is_drawn_upon(run, capsys, meanwhile, monkeypatch):
    cut = shortened(run, 2)
    monkeypatch.setenv("FORCE_COLOR", "1")
    with keeping(run, "run"):
        meanwhile(lambda: append(run / "metrics.csv", cut["metrics.csv"][0]), interrupt)
        code, out, _ = fedtp(capsys, "watch", str(run))
    assert code == 130
    assert "2 of 6" in out and "3 of 6" in out and "━" in out


def test_a_page_reloads_itself_until_the_end(run, capsys, meanwhile, sharing):
    shortened(run, 4)
    pages = []
    with contextlib.ExitStack() as held, sharing.off():
        held.enter_context(keeping(run, "run"))

        def end():
            pages.append(Path("live.html").read_text())
            (run / "report.html").write_text("the report")
            held.close()

        meanwhile(end)
        code, out, err = fedtp(capsys, "watch", str(run), "--page", "live.html")
    assert (code, out, err) == (0, "wrote live.html\n", "")
    pages.append(Path("live.html").read_text())
    assert ['http-equiv="refresh"' in page for page in pages] == [True, False]
    assert "4 of 6" in pages[0] and "fedtp on digits" in pages[0]
    assert pages[0].count("data:image/png;base64,iVBOR") == 1
    assert "default-src 'none'" in pages[0]
    assert not [*Path().glob("*.part")]


@pytest.fixture
def sweep(run):
    """A sweep of two combinations with two seeds, of which one run is finished, and one has two rounds."""
    root = Path("runs/sweep")
    order = {"combinations": ["method=b", "method=a"], "seeds": [0, 1], "select": None}
    for seed in (0, 1):
        shutil.copytree(run, root / "method=b" / f"seed-{seed}")
    (root / "method=b" / "seeds.json").write_text('{"seeds": [0, 1], "config": {}}')
    (root / "order.json").write_text(json.dumps(order))
    shortened(root / "method=b" / "seed-1", 2)
    return root


def test_a_sweep_is_a_board(sweep, capsys, meanwhile):
    with keeping(sweep, "sweep"), keeping(sweep / "method=b" / "seed-1", "run"):
        seen = once(capsys, sweep)
        assert [(Path(r["folder"]).relative_to(sweep).as_posix(), r["state"]) for r in seen["runs"]] == [
            ("method=b/seed-0", "finished"),
            ("method=b/seed-1", "running"),
            ("method=a/seed-0", "waiting"),
            ("method=a/seed-1", "waiting"),
        ]
        assert seen["at_work"]
        seconds = seen["runs"][1]["seconds_a_round"] * 4 + 6 * 2 * mean_seconds(seen)
        assert seen["seconds_left"] == pytest.approx(seconds)
        out = fedtp(capsys, "watch", str(sweep), "--once")[1]
        assert "4 runs: 1 finished, 1 at work, 2 not begun; about" in out
        assert "test accuracy" in out and "2 of 6" in out
    code, _, err = fedtp(capsys, "watch", str(sweep))
    assert code == 1
    assert f"no process is at work on {sweep} (" in err and "the sweep's command goes on" in err


def mean_seconds(seen):
    known = [run["seconds_a_round"] for run in seen["runs"] if run["seconds_a_round"]]
    return sum(known) / len(known)


def test_between_two_runs_a_sweep_goes_on(sweep, capsys, meanwhile):
    with keeping(sweep, "sweep"):
        assert once(capsys, sweep)["at_work"]
        assert once(capsys, sweep / "method=b")["at_work"]  # and so does each part of it
    assert not once(capsys, sweep)["at_work"]


def test_who_chooses_by_validation_shards_does_not_see_test_shards(sweep, capsys, meanwhile):
    order = json.loads((sweep / "order.json").read_text())
    (sweep / "order.json").write_text(json.dumps({**order, "select": "val_accuracy"}))
    out = fedtp(capsys, "watch", str(sweep), "--once")[1]
    assert "val accuracy" in out and "test" not in out


def test_a_page_of_a_sweep_compares_its_runs(sweep, capsys, sharing):
    with sharing.off():
        code, out, _ = fedtp(capsys, "watch", str(sweep), "--once", "--page", "live.html")
    assert (code, out) == (0, "wrote live.html\n")
    page = Path("live.html").read_text()
    assert "method=b/seed-1" in page and page.count("data:image/png;base64,iVBOR") == 1


def test_a_small_terminal_shows_who_is_at_work(sweep):
    from rich.console import Console

    from fedtp_jax.cli.watch_views import drawn
    from fedtp_jax.runs.watched import Watcher
    from fedtp_jax.sweeps.watched_runs import look_at

    console = Console(width=100, record=True, file=io.StringIO())
    with keeping(sweep / "method=b" / "seed-1", "run"):
        console.print(drawn(look_at(sweep, Watcher()), height=8))
    text = console.export_text()
    assert "method=b/seed-1" in text and "method=b/seed-0" not in text
    assert "and 3 runs: 1 finished, 2 not begun" in text


def test_it_loads_no_jax(run):
    code = (
        "import sys; from fedtp_jax.cli import main\n"
        "try:\n    main(['watch', sys.argv[1], '--once', '--page', 'live.html'])\n"
        "except SystemExit as stop:\n    assert not stop.code\n"
        "print('jax' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, run], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["wrote live.html", "False"]
