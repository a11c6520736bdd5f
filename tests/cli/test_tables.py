"""Tables for the terminal."""

import io

import numpy as np
from rich.console import Console

from fedtp_jax.cli.tables import _work, partition_table
from fedtp_jax.simulation.plan import Load


def rendered(table, width=200):
    """The words of each line of the table that holds any."""
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(table)
    text = console.export_text()
    return [line.split() for line in text.splitlines() if any(c.isalnum() for c in line)], " ".join(
        text.split()
    )


def test_partition_table_has_a_column_per_class():
    lines, text = rendered(partition_table(np.array([[0, 1200, 5], [7, 0, 0], [0, 0, 0]]), limit=2))
    assert lines[0] == ["client", "0", "1", "2", "total"]
    assert lines[1:3] == [["0", "·", "1,200", "5", "1,205"], ["1", "7", "·", "·", "7"]]
    assert "and 1 more client with 0 examples" in text


def test_partition_table_summarises_many_classes():
    counts = np.zeros((40, 21), int)
    counts[:, 20], counts[:, 3] = 2000, 4
    counts[1] = 0
    lines, text = rendered(partition_table(counts))
    assert lines[0] == ["client", "classes", "largest", "class", "total"]
    assert lines[1] == ["0", "2", "20", "(2,000)", "2,004"]
    assert lines[2] == ["1", "·", "·", "0"]
    assert len(lines) == 1 + 30 + 1
    assert "and 10 more clients with 20,040 examples" in text
    assert "more" not in rendered(partition_table(counts[:30]))[1]


def test_a_narrow_terminal_loses_no_digit():
    _, text = rendered(partition_table(np.full((1, 20), 123456)), width=60)
    assert "…" not in text


def test_clients_have_their_names():
    named = rendered(partition_table(np.ones((2, 3), int), clients_names=["Ann", "[red]"]))[1]
    assert "0 (Ann)" in named and "1 ([red])" in named


def test_occupancy_is_of_the_steps_that_stand_beside_it():
    """Means over rounds: 20 of 21 would be another share."""
    sizes = {"clients": 4, "waves": 1, "wave_size": 4, "lanes": 2, "ticks": 32 / 3, "longest_ticks": 5.0}
    costs = {"program_bytes": 0, "host_seconds": 0.0, "device_seconds": 0.0, "stays": np.zeros((0, 5))}
    told = _work(Load(**sizes, useful_steps=59 / 3, executed_steps=64 / 3, **costs), devices=1)
    assert "4 clients in 1 wave, 2 lanes a device, 11 ticks; occupancy 0.92: 19.7 of 21.3 steps" in told
