"""What a run will cost: counted in its first rounds' schedules, timed on a few ticks of its programs."""

import dataclasses
import itertools
import math
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import jax
import numpy as np

from fedtp_jax.config import SimulationConfig
from fedtp_jax.config.load import checked
from fedtp_jax.core import tree
from fedtp_jax.core.errors import UserError
from fedtp_jax.data.sources import load
from fedtp_jax.engine.schedule import Layout, stays
from fedtp_jax.engine.waves import Prepared
from fedtp_jax.evaluation.evaluate import Evaluator
from fedtp_jax.learning.leaf_roles import LeafRole, leaf_roles
from fedtp_jax.simulation.rounds import Simulator
from fedtp_jax.simulation.setup import set_up

ROUNDS, CLIENTS = 3, 10_000  # whose schedules are built: so many rounds, up to about so many clients
LONG = 0.5  # seconds that tell the cost of a tick well enough
FULL = 0.97  # occupancy that needs no explanation

Run = Callable[[Sequence[Prepared]], None]


@dataclasses.dataclass(frozen=True)
class Load:
    """The work of a training round, or of an evaluation; means over the rounds that were looked at.

    Attributes:
      clients: that take part, in the mean; in an evaluation once for each shard that they are evaluated on.
      waves, wave_size: how many waves, and clients in each (in the last there may be fewer).
      lanes: of each device.
      ticks: local steps one after the other, over all waves.
      longest_ticks: those that the longest client of each wave needs by itself.
      useful_steps, executed_steps: local steps of all clients, and what all lanes could do meanwhile.
      program_bytes: that the compiled program takes on each device, beside the data set.
      host_seconds: preparation on the host, beside the devices' work.
      device_seconds: estimated from a few ticks.
      stays: [clients of the first wave, 5] who sits where in it: device, lane, client id, first tick, tick
        after the last.
    """

    clients: int
    waves: int
    wave_size: int
    lanes: int
    ticks: float
    longest_ticks: float
    useful_steps: float
    executed_steps: float
    program_bytes: int
    host_seconds: float
    device_seconds: float
    stays: np.ndarray = dataclasses.field(compare=False, repr=False)

    @property
    def occupancy(self) -> float:
        """Share of the lanes' steps that work for somebody."""
        return self.useful_steps / self.executed_steps

    @property
    def limit(self) -> Literal["longest_client", "packing"] | None:
        """Why lanes idle, if they do: for the longest client, or as clients do not fill them evenly."""
        if self.occupancy >= FULL:
            return None
        return "longest_client" if self.longest_ticks >= FULL * self.ticks else "packing"

    @property
    def seconds(self) -> float:
        """Estimated: devices and host work side by side."""
        return max(self.device_seconds, self.host_seconds)


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a run will cost.

    Attributes:
      platform, devices, precision: such as "cpu", how many, and of the model's products and activations.
      rounds, evaluations: of the whole run.
      training, evaluation: the work of one of each.
      data_bytes, partition_bytes: of examples, on each device and on the host; of index lists, there.
      row_bytes: of what is kept of one client between rounds, on the host, once the client has trained.
      num_clients: N, who have such a row at most.
      held_bytes: of a cohort's changes, on the host, where the server needs each; 0 where their sum.
      bytes_down, bytes_up: sent by the server to a round's whole cohort, and back.
      programs, compile_seconds: how many were compiled, and how long that took here.
      leaves: all of them, with their roles.
      privacy: what the run spends, in words; "" of one that is not private.
      adaptation: the work of an evaluation's second test, before which clients adapt; None without.
      virtual_seconds: of a round by the virtual clock, in the mean; None without one.
    """

    platform: str
    devices: int
    precision: str
    rounds: int
    evaluations: int
    training: Load
    evaluation: Load
    data_bytes: int
    partition_bytes: int
    row_bytes: int
    num_clients: int
    held_bytes: int
    bytes_down: int
    bytes_up: int
    programs: int
    compile_seconds: float
    leaves: tuple[LeafRole, ...]
    privacy: str = ""
    adaptation: Load | None = None
    virtual_seconds: float | None = None

    @property
    def seconds(self) -> float:
        """Estimated, of all rounds and evaluations; beside it only compiling, checkpoints and files."""
        return self.rounds * self.training.seconds + self.evaluations * self.evaluation_seconds

    @property
    def evaluation_seconds(self) -> float:
        """Estimated, of an evaluation with all of its tests."""
        return self.evaluation.seconds + (self.adaptation.seconds if self.adaptation else 0.0)

    def figures(self) -> dict[str, Any]:
        """Every number by name, those of training, evaluation and adaptation in a dictionary each."""
        figures = dataclasses.asdict(self) | {"seconds": self.seconds}
        for name in ("training", "evaluation", "adaptation"):
            if (part := getattr(self, name)) is not None:
                del figures[name]["stays"]
                figures[name] |= {"occupancy": part.occupancy, "limit": part.limit, "seconds": part.seconds}
        return figures


def plan_run(config: SimulationConfig) -> Plan:
    """Say what a run of `config` will cost, without training it: a few local steps are done and forgotten.

    Raises UserError for what `simulate` would refuse.
    """
    config = checked(config)
    data = load(config.data, config.task.kind)
    _, simulator = set_up(config, data)
    simulator.compile()
    loads = _loads(simulator)
    bench, programs, rounds = simulator.bench, simulator.programs, config.training.rounds
    down, up = simulator.traffic
    return Plan(
        platform=bench.mesh.devices.flat[0].platform,
        devices=bench.mesh.size,
        precision=config.engine.precision,
        rounds=rounds,
        evaluations=math.ceil(rounds / config.evaluation.every),
        **loads,
        data_bytes=tree.num_bytes(bench.examples),
        partition_bytes=simulator.partition.num_bytes,
        row_bytes=tree.num_bytes(simulator.initial.row),
        held_bytes=simulator.held.num_bytes,
        num_clients=bench.num_clients,
        bytes_down=loads["training"].clients * down,
        bytes_up=loads["training"].clients * up,
        programs=programs.count,
        compile_seconds=programs.seconds,
        leaves=tuple(leaf_roles(simulator.task, simulator.method)),
        privacy=simulator.private.in_words,
        virtual_seconds=simulator.participation.mean_seconds(rounds),
    )


def _loads(simulator: Simulator) -> dict[str, Load]:
    """Those of a plan, by their names there."""
    state = simulator.init()

    def train(waves: Sequence[Prepared]) -> None:
        nonlocal state
        state, _ = simulator.round(state, 0, waves)
        jax.block_until_ready(state._replace(rows=None))

    def test_by(evaluator: Evaluator) -> Run:
        def test(waves: Sequence[Prepared]) -> None:
            simulator.evaluate(state, waves, evaluator)

        return test

    rounds, who = range(simulator.config.training.rounds), simulator.participation
    some = list(itertools.islice(filter(who.takes_place, rounds), ROUNDS))
    if not some:
        raise UserError(
            f"training.participation: none of the {len(rounds)} rounds takes place, so there is nothing to "
            "plan; let more clients take part"
        )
    data = tree.num_bytes(simulator.bench.examples)
    loads = {
        "training": _load(
            train,
            itertools.chain.from_iterable(map(simulator.prepare, some)),
            max(round(who.mean), 1),
            simulator.layout,
            simulator.program_bytes - data,
            simulator.wave_size,
        ),
    }
    for what, (first, *others) in simulator.evaluators.by_program.items():
        loads[what] = _load(
            test_by(first),
            itertools.chain.from_iterable(one.prepare() for one in (first, *others)),
            sum(len(one.clients) for one in (first, *others)),
            first.layout,
            first.program_bytes - data,
        )
    return loads


def _load(
    run: Run,
    prepared: Iterable[Prepared],
    clients: int,
    layout: Layout,
    program_bytes: int,
    wave_size: int | None = None,
) -> Load:
    """The work for `clients` in waves such as those `prepared`, of which `run` does any.

    `wave_size`: clients of a full wave; default: of the first one.
    """
    begin = time.perf_counter()
    first, seen, looked_at = None, [], 0
    for wave in prepared:
        first = first or wave  # the only one that stays on the devices
        first_tick, after_last = stays(jax.device_get(wave.wave.tables), wave.ids)[:, 3:].T
        longest = int((after_last - first_tick).max())
        seen.append((wave.useful_steps, wave.executed_steps, longest))
        looked_at += wave.clients
        if looked_at >= CLIENTS:
            break
    assert first is not None, "somebody trains, and somebody is tested"
    host = time.perf_counter() - begin
    wave_size = wave_size or first.clients
    waves = math.ceil(clients / wave_size)
    share = waves / len(seen)
    useful, executed, alone = (float(total) * share for total in np.sum(seen, axis=0))
    lanes = layout.devices * layout.lanes
    once, tick = _time(run, first, first.executed_steps // lanes)
    again = _median(run, [_cut(first, 0)] * 2) - once if waves > 1 else 0.0
    return Load(
        clients=clients,
        waves=waves,
        wave_size=wave_size,
        lanes=layout.lanes,
        ticks=executed / lanes,
        longest_ticks=alone,
        useful_steps=useful,
        executed_steps=executed,
        program_bytes=program_bytes,
        host_seconds=host * share,
        device_seconds=once + (waves - 1) * max(again, 0.0) + executed / lanes * tick,
        stays=stays(jax.device_get(first.wave.tables), first.ids),
    )


def _time(run: Run, wave: Prepared, ticks: int) -> tuple[float, float]:
    """Seconds of all but the ticks, if there is this wave alone, and of a tick.

    A wave cut short runs the very program of a whole one: where its segments end is an argument.
    """
    nothing = _cut(wave, 0)
    run([nothing])  # what has to be compiled is compiled now
    once, count = _median(run, [nothing]), 1
    while (spent := _median(run, [_cut(wave, count)])) < LONG + once and count < ticks:
        count = min(4 * count, ticks)
    return once, max(spent - once, 0.0) / count


def _cut(prepared: Prepared, ticks: int) -> Prepared:
    """The same wave, of which every device does its first `ticks` ticks alone."""
    tables = prepared.wave.tables
    bounds = np.minimum(np.asarray(tables.bounds), ticks)
    tables = tables._replace(bounds=jax.device_put(bounds, tables.bounds.sharding))  # type: ignore[attr-defined]
    return prepared._replace(wave=prepared.wave._replace(tables=tables))


def _median(run: Run, waves: Sequence[Prepared]) -> float:
    """Seconds of `run(waves)`: the median of three, of fewer where they take long."""
    times: list[float] = []
    while len(times) < 3 and sum(times) < LONG:
        begin = time.perf_counter()
        run(waves)
        times.append(time.perf_counter() - begin)
    return statistics.median(times)
