"""What a full disk has kept from a run's folder: it is named, not announced, and a resume writes it."""

import errno
import json
import pickle
import resource
from pathlib import Path

import pytest
import yaml
from commands import fedtp
from full_disk import full_for
from tiny_run import TINY, same_files

from fedtp_jax import Result, simulate
from fedtp_jax.config.plain import to_dict
from fedtp_jax.core.errors import StorageError
from fedtp_jax.storage.checkpoints import Checkpoints
from fedtp_jax.storage.csv_log import CsvLog, read_rows


def test_a_result_names_what_is_missing_and_a_resume_writes_it(whole, limit, tmp_path):
    run = tmp_path / "run"

    def fill(progress):
        if progress.round == 5:
            limit(4096)  # the rows of metrics.csv fit

    with pytest.warns(UserWarning, match="cannot be written|could not be written"):
        result = simulate(TINY, out=run, on_round=fill)
    assert result.missing == ("report.html", "checkpoints/6")
    assert pickle.loads(pickle.dumps(result)).missing == result.missing
    assert result.history.equals(whole[0].history)
    limit(resource.RLIM_INFINITY)
    assert simulate(TINY, out=run, resume=True).missing == whole[0].missing == ()
    same_files(whole[1], run)
    assert (run / "report.html").is_file() and (run / "checkpoints" / "6").is_dir()


@pytest.mark.parametrize("until", [3, 6], ids=["space again", "full to the end"])
def test_no_row_of_the_times_is_lost(until, tmp_path, monkeypatch):
    run, append, done = tmp_path / "run", CsvLog.append, [0]

    def refuse(log, row):
        if log.path.name == "metrics.csv":
            done[0] = row["round"]
        elif 2 <= done[0] <= until:
            raise OSError(errno.ENOSPC, "No space left on device")
        append(log, row)

    with monkeypatch.context() as patch, pytest.warns(UserWarning, match=r"timing\.csv: cannot be written"):
        patch.setattr(CsvLog, "append", refuse)
        result = simulate(TINY, out=run)
    assert result.missing == (("timing.csv",) if until == 6 else ())
    if result.missing:
        with pytest.warns(UserWarning, match=r"timing\.csv: was changed or lost"):
            assert simulate(TINY, out=run, resume=True).missing == ()
    assert [row["round"] for row in read_rows(run / "timing.csv")] == [1, 2, 3, 4, 5, 6]


def test_the_command_says_what_is_missing_and_announces_nothing_else(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("tiny.yaml").write_text(yaml.safe_dump(to_dict(TINY)))
    told = "failed: {}: could not write clients.csv, report.html; free space, then: fedtp resume {}"
    with full_for(monkeypatch, "clients.csv", "report.html"):
        code, out, err = fedtp(capsys, "run", "tiny.yaml", "--out", "run")
        assert (code, err.splitlines()[-1]) == (1, told.format("run", "run"))
        assert "test accuracy" in out and "report:" not in out
        code, out, err = fedtp(capsys, "resume", "run", "--json")
        assert (code, err.splitlines()[-1]) == (1, told.format("run", "run"))
        assert json.loads(out)["missing"] == ["clients.csv", "report.html"]
    code, out, _ = fedtp(capsys, "resume", "run")
    assert code == 0 and "report: run/report.html" in out
    assert Path("run/report.html").is_file() and Path("run/clients.csv").is_file()


def test_of_several_seeds_each_file_is_named_with_its_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("tiny.yaml").write_text(yaml.safe_dump(to_dict(TINY)))
    with full_for(monkeypatch, "report.html"):
        code, out, err = fedtp(
            capsys, "run", "tiny.yaml", "training.rounds=2", "--seeds", "0", "1", "--out", "s"
        )
    assert code == 1 and "report:" not in out
    assert "could not write seed-0/report.html, seed-1/report.html; free space" in err.splitlines()[-1]


def test_a_result_that_cannot_be_saved_whole_is_an_error(whole, tmp_path, monkeypatch):
    def refuse(checkpoints, *_):
        checkpoints._attempt(lambda: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left")))

    monkeypatch.setattr(Checkpoints, "save", refuse)
    with (
        pytest.warns(UserWarning, match="a checkpoint could not be written"),
        pytest.raises(StorageError, match="saved: the state could not be written; free space"),
    ):
        whole[0].save(tmp_path / "saved")
    monkeypatch.undo()
    whole[0].save(tmp_path / "again")
    assert Result.load(tmp_path / "again").missing == ()
