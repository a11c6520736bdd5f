"""A result saved by hand is a run's folder, all of it."""

import numpy as np
import pandas as pd
import pytest
from tiny_run import TINY, Stopped, same_files, same_state, stop_after

from fedtp_jax import Result, UserError, from_arrays, simulate
from fedtp_jax.results.run_report import WITHOUT_DATA


def contents(run):
    """Names of a run's files, and of the newest checkpoint."""
    names = {path.name for path in run.iterdir()}
    return names, max(path.name for path in (run / "checkpoints").iterdir())


def test_save_and_load(whole, tmp_path):
    result, path = whole
    result.save(tmp_path / "saved")
    same_files(path, tmp_path / "saved")
    assert contents(tmp_path / "saved") == contents(path)  # report and all
    assert (tmp_path / "saved" / "timing.csv").read_bytes() == (path / "timing.csv").read_bytes()
    simulate(TINY, out=tmp_path / "saved", resume=True)  # a saved result is a run's folder
    for folder in (tmp_path / "saved", path):
        loaded = Result.load(folder)
        same_state(result.state, loaded.state)
        pd.testing.assert_frame_equal(result.history, loaded.history)
        pd.testing.assert_frame_equal(result.clients, loaded.clients)
        pd.testing.assert_frame_equal(result.timing, loaded.timing)
        assert loaded.accuracy == result.accuracy and loaded.ended
        assert loaded.config == result.config
        same_state(result.variables(2), loaded.variables(2))
    with pytest.raises(UserError, match="exists and is not an empty folder"):
        result.save(path)


def test_of_a_run_that_was_stopped_nobody_takes_it_for_finished(tmp_path):
    with pytest.raises(Stopped):
        simulate(TINY, out=tmp_path / "run", on_round=stop_after(4))
    stopped = Result.load(tmp_path / "run")
    assert not stopped.ended
    stopped.save(tmp_path / "saved")
    assert not (tmp_path / "saved" / "report.html").exists()
    assert len(simulate(TINY, out=tmp_path / "saved", resume=True).history) == 6


def test_of_a_run_that_ended_early_it_is_an_end(tmp_path):
    early = simulate(TINY, on_evaluation=lambda progress: progress.round == 4)
    early.save(tmp_path / "saved")
    assert Result.load(tmp_path / "saved").ended
    assert (tmp_path / "saved" / "report.html").is_file()
    assert len(simulate(TINY, out=tmp_path / "saved", resume=True).history) == 4


def test_data_that_no_configuration_names_are_given(tmp_path):
    data = from_arrays(np.arange(90 * 64, dtype=np.uint8).reshape(90, 8, 8, 1), np.arange(90) % 3)
    result = simulate(TINY, data=data, training={"rounds": 2})
    result.save(tmp_path / "without")
    result.save(tmp_path / "with", data)
    pages = [(tmp_path / name / "report.html").read_text() for name in ("without", "with")]
    assert [WITHOUT_DATA in page for page in pages] == [True, False]
    assert ["Training examples that each client holds" in page for page in pages] == [False, True]
    other = from_arrays(np.zeros((90, 8, 8, 1), np.uint8), np.arange(90) % 3)
    with pytest.raises(UserError, match="data: are not those"):
        result.save(tmp_path / "other", other)
    assert not (tmp_path / "other").exists()
