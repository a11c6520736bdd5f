"""Rows of clients on the host: written ones as they were written, the others as they begin."""

import dataclasses
import resource
from pathlib import Path

import jax
import numpy as np
import pytest
from population_rows import ROW, initial

from fedtp_jax import SimulationConfig, config, simulate
from fedtp_jax.engine.population import Population

METHODS = [config.FedTPPer(hypernetwork=config.Hypernetwork(4, hidden=6)), config.Vanilla()]


@pytest.fixture(params=["memory", "disk"])
def population(request, tmp_path):
    return Population(5, ROW, initial, request.param, tmp_path)


def test_rows_begin_as_functions_of_their_ids(population):
    rows = population.take(np.array([3, 5, 0]))
    assert rows["a"].tolist() == [[3, -3], [0, 0], [0, 0]]  # 5 is nobody
    assert rows["b"].tolist() == [30, 0, 0]
    assert population.take([3, 5, 0])["b"].tolist() == [30, 0, 0]
    assert population.written_ids.tolist() == []


def test_rows_stay_as_they_were_written(population):
    population.put(np.array([4, 5, 1]), {"b": np.array([7, 8, 9], np.int32)})
    assert population.written_ids.tolist() == [1, 4]
    everybody = population.take(np.arange(5))
    assert everybody["b"].tolist() == [0, 9, 20, 30, 7]
    assert everybody["a"][4].tolist() == [4, -4]  # a leaf that was not given stays what it was
    population.put(np.array([4]), {"a": np.array([[1.0, 2.0]], np.float32)})
    assert population.take(np.array([4]), ["a"])["a"].tolist() == [[1, 2]]
    assert population.take(np.array([4]))["b"].tolist() == [7]


def test_mean_is_over_written_and_unwritten_rows(population):
    population.put(np.array([0]), {"a": np.array([[5.0, 5.0]], np.float32)})
    np.testing.assert_allclose(population.mean(np.array([0, 1, 2]), chunk=2)["a"], [8 / 3, 2 / 3], rtol=1e-6)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="asks Linux for the memory in use")
@pytest.mark.parametrize("where", ["memory", "disk"])
def test_untouched_rows_take_no_memory(where):
    def megabytes():
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * resource.getpagesize() / 1e6

    before, big = megabytes(), {"a": jax.ShapeDtypeStruct((1000,), np.float32)}
    rows = Population(1_000_000, big, lambda ids: {"a": np.ones((len(ids), 1000), np.float32)}, where)
    rows.put(np.array([7, 999_999]), {"a": np.full((2, 1000), 2.0, np.float32)})
    assert rows.take(np.array([999_999, 5]))["a"][:, 0].tolist() == [2, 1]
    assert megabytes() - before < 100  # four gigabytes, were all of them there


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_rows_on_disk_change_no_bit(method, tmp_path):
    settings = SimulationConfig(
        partition=config.Iid(clients=6),
        model=config.Vit(patch_size=4, dim=8, depth=1, heads=2, dim_head=4, mlp_dim=8),
        method=method,
        training=config.Training(rounds=3, cohort_size=4, batch_size=64),
        engine=config.Engine(devices=1, wave_size=2),
    )
    in_memory = simulate(settings)
    on_disk = dataclasses.replace(settings, engine=config.Engine(devices=1, wave_size=2, rows="disk"))
    on_disk = simulate(on_disk, out=tmp_path / "run")
    everybody = np.arange(6)
    for path, rows in in_memory.state.rows.take(everybody).items():
        np.testing.assert_array_equal(rows, on_disk.state.rows.take(everybody)[path], err_msg=path)
    assert in_memory.history.equals(on_disk.history)
    assert not list((tmp_path / "run").glob("fedtp-rows-*"))
