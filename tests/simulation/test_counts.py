"""Examples that a round trains on are counted on the host: exactly, however many, without who is excluded."""

import dataclasses

import numpy as np
import pytest
from ragged_clients import CLIENTS, make_simulator

from fedtp_jax.engine.lanes import Facts
from fedtp_jax.engine.schedule import Batches, plan_layout
from fedtp_jax.engine.waves import prepare_wave
from fedtp_jax.results.run_tables import history_row
from fedtp_jax.storage.csv_log import CsvLog, csv_rows

MANY = 2**31 - 1  # examples of a step that nobody could take


def test_a_wave_knows_how_many_examples_each_client_trains_on():
    steps = [1, 3, 2]
    batches = [Batches(np.zeros((n, 1), np.int32), np.full(n, MANY, np.int32)) for n in steps]
    cohort, nothing = np.array([5, 6, 7]), np.zeros(3, np.float32)
    layout = plan_layout(np.array(sorted(steps)), devices=2, lanes=1, batch=1)
    wave = prepare_wave(
        cohort, batches, Facts(*[nothing] * len(Facts._fields)), layout, num_clients=9, put=lambda wave: wave
    )
    found = {k: n for k, n in zip(wave.ids.tolist(), wave.examples.tolist(), strict=True) if k < 9}
    assert found == {5: MANY, 6: 3 * MANY, 7: 2 * MANY}
    assert wave.examples.sum() == 6 * MANY


@pytest.mark.parametrize("excludes", [False, True])
def test_a_round_of_any_size_is_counted_exactly(excludes, tmp_path):
    sim = make_simulator("fedavg", devices=2, lanes=2, wave_size=3)
    counts = np.append(2**24 + 1 + np.arange(CLIENTS) * 2**30, 0)  # more than 2^31 together
    cohort = sim.participation.participants(0).ids
    bad = cohort[-1:].tolist() if excludes else []
    for client in bad:
        x = np.array(sim.bench.examples.x, np.float32)
        x[sim.bench.train_positions(client)] = np.nan
        sim.bench.examples = dataclasses.replace(sim.bench.examples, x=sim.bench.replicate(x))
    waves = [wave._replace(examples=counts[wave.ids]) for wave in sim.prepare(0)]
    assert len(waves) > 1
    _, result = sim.round(sim.init(), 0, waves)
    assert result.excluded == tuple(bad)
    expected = sum(int(counts[k]) for k in cohort if k not in bad)
    log = CsvLog(tmp_path / "metrics.csv")
    log.append(history_row(1, result, None))
    log.close()
    assert csv_rows(log.content())[0]["examples"] == expected > 2**31
    assert np.isfinite(result.train_loss)
