"""Runs of earlier versions: loaded and compared; what cannot be done with them says which version can."""

import dataclasses
import shutil

import pytest
from paths import FIXTURES

from fedtp_jax import Result, UserError, compare, load_config, simulate
from fedtp_jax.data.sources import load

OLD = FIXTURES / "run_0.1.0"  # killed in round 4 of 4, after the checkpoint of round 2


@pytest.fixture
def result():
    with pytest.warns(UserWarning, match=r"clients\.csv: may be of a later round than the checkpoint"):
        return Result.load(OLD)


def test_a_run_of_version_0_1_0_is_loaded_and_compared(result):
    assert result.history["round"].tolist() == [1, 2]
    assert result.variables(3)["params"]["block_0"]["attention"]["query"]["kernel"].shape == (8, 8)
    table = compare([result]).table
    assert table["mean"].tolist() == [result.accuracy["mean"]]


def test_a_run_of_version_0_1_0_is_resumed_by_that_version(tmp_path):
    run = shutil.copytree(OLD, tmp_path / "run")
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with pytest.raises(UserError, match=r"random streams are others .* pip install fedtp_jax==0\.1\.0, or"):
        simulate(load_config(run / "config.yaml"), out=run, resume=True)
    assert all(path.read_bytes() == content for path, content in before.items())


def test_who_was_held_out_in_version_0_1_0_is_not_guessed(result):
    training = dataclasses.replace(result.config.training, held_out=1)
    old = dataclasses.replace(result, config=dataclasses.replace(result.config, training=training))
    with pytest.raises(UserError, match="who was held out is not known here"):
        old.personalize_held_out(load(old.config.data))
