"""A run that on_evaluation ends stays ended, until somebody asks for more."""

import pytest
from commands import fedtp
from tiny_run import TINY, same_files, same_state

from fedtp_jax import Result, UserError, compare, simulate


def enough(progress):
    return progress.round >= 4


@pytest.fixture
def early(tmp_path):
    return simulate(TINY, out=tmp_path / "run", on_evaluation=enough), tmp_path / "run"


def test_it_stays_ended(early, capsys):
    result, path = early
    before = (path / "metrics.csv").read_bytes()
    assert len(result.history) == 4
    for again in (
        simulate(TINY, out=path, resume=True, on_evaluation=enough),
        simulate(TINY, out=path, resume=True),
    ):
        assert len(again.history) == 4
        same_state(again.state, result.state)
    code, out, _ = fedtp(capsys, "resume", str(path))
    assert code == 0
    assert f"asked to end after 4 of 6 rounds; go on with: fedtp resume {path} --further" in out
    assert (path / "metrics.csv").read_bytes() == before
    assert "Ended early" in str(compare([path]))


def test_further_is_the_run_that_nobody_ended(early, whole):
    _, path = early
    simulate(TINY, out=path, resume="further")
    same_files(path, whole[1])
    same_state(Result.load(path).state, whole[0].state)
    assert not (path / "ended.json").exists()


def test_from_the_shell(early, whole, capsys):
    _, path = early
    assert fedtp(capsys, "resume", str(path), "--further", "--quiet")[0] == 0
    same_files(path, whole[1])
    with pytest.raises(UserError, match="resume: got 'more'; choose True, False or 'further'"):
        simulate(TINY, out=path, resume="more")
