"""Runs of earlier versions: loaded, compared, gone on with."""

import shutil
import warnings

import pytest
from paths import FIXTURES

from fedtp_jax import Result, compare, load_config, simulate

OLD = FIXTURES / "run_0.1.0"  # killed in round 4 of 4, after the checkpoint of round 2


def test_a_run_of_version_0_1_0_is_loaded_and_compared():
    with pytest.warns(UserWarning, match=r"clients\.csv: may be of a later round than the checkpoint"):
        result = Result.load(OLD)
    assert result.history["round"].tolist() == [1, 2]
    assert result.variables(3)["params"]["block_0"]["attention"]["query"]["kernel"].shape == (8, 8)
    table = compare([result]).table
    assert table["mean"].tolist() == [result.accuracy["mean"]]


def test_a_run_of_version_0_1_0_goes_on(tmp_path):
    run = shutil.copytree(OLD, tmp_path / "run")
    before = (run / "metrics.csv").read_bytes().splitlines()
    with pytest.warns(UserWarning, match="resumed on another machine"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*(metrics|timing)\.csv: was changed")
        result = simulate(load_config(run / "config.yaml"), out=run, resume=True)
    assert result.history["round"].tolist() == [1, 2, 3, 4]
    assert (run / "metrics.csv").read_bytes().splitlines()[:3] == before[:3]
    # round 3 as version 0.1.0 computed it before it was killed
    there = float(before[3].split(b",")[before[0].split(b",").index(b"train_loss")])
    assert result.history["train_loss"][2] == pytest.approx(there, rel=1e-3)
    assert Result.load(run).accuracy == result.accuracy
