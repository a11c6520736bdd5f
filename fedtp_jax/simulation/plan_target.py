"""A run compiled for accelerators that are not there: does it compile and fit, and what bounds its speed?"""

import dataclasses
import functools
import itertools
import math
from collections.abc import Iterable
from typing import Any

import jax

from fedtp_jax.config import SimulationConfig
from fedtp_jax.config.load import checked
from fedtp_jax.core import tree
from fedtp_jax.core.errors import UserError, in_one_line
from fedtp_jax.data.sources import load
from fedtp_jax.engine.described import DescribedBench, KeptPrograms, Program, open_target
from fedtp_jax.engine.products import products_of_tick
from fedtp_jax.engine.programs import LESS, DoesNotFit, program_bytes
from fedtp_jax.engine.schedule import Layout
from fedtp_jax.engine.targets import TARGETS, Target
from fedtp_jax.engine.traffic import Hlo
from fedtp_jax.engine.waves import Prepared
from fedtp_jax.learning.leaf_roles import LeafRole, leaf_roles
from fedtp_jax.simulation.plan import CLIENTS, ROUNDS
from fedtp_jax.simulation.setup import set_up

OTHERWISE = (
    "XLA cannot compile it for these shapes: try other engine.lanes, another training.batch_size or precision"
)


@dataclasses.dataclass(frozen=True)
class Compiled:
    """A program of the run.

    Attributes:
      name: such as "train".
      program_bytes: that it takes of each device, the data set included where it reads it; None if it did
        not compile.
      problem: what is wrong with it and what to do, or "".
    """

    name: str
    program_bytes: int | None
    problem: str


@dataclasses.dataclass(frozen=True)
class Bound:
    """The work of a training round, or of an evaluation, and the least time that it takes.

    Attributes:
      lanes: of each device, of all simulations that train side by side.
      ticks: local steps one after the other, a mean over the rounds that were looked at.
      tick_bytes: that a device's kernels read and write in a tick.
      tick_products: multiplications and additions of a tick's matrix products on a device.
      tick_seconds: not faster than that: bytes by the memory's bandwidth or products by their rate,
        whichever is longer.
    """

    lanes: int
    ticks: float
    tick_bytes: float
    tick_products: int
    tick_seconds: float

    @property
    def seconds(self) -> float:
        """Not faster than that, of all ticks."""
        return self.ticks * self.tick_seconds


@dataclasses.dataclass(frozen=True)
class TargetPlan:
    """What a run is on accelerators of which there is a description alone.

    Attributes:
      target: its name, a key of TARGETS.
      devices: how many.
      simulations: that train side by side (`engine.simulations`, auto is one).
      precision: of the model's matrix products and activations.
      memory: bytes of a device that a program may take.
      data_bytes: of the examples on each device, which several programs include.
      programs: all that the run compiles.
      training, evaluation: of a round, of all these simulations, and of an evaluation of one; None where the
        program did not compile.
      rounds, evaluations: of the whole run.
      leaves: all of them, with their roles.
      adaptation: of an evaluation's second test, before which clients adapt; None also without.
    """

    target: str
    devices: int
    simulations: int
    precision: str
    memory: float
    data_bytes: int
    programs: tuple[Compiled, ...]
    training: Bound | None
    evaluation: Bound | None
    rounds: int
    evaluations: int
    leaves: tuple[LeafRole, ...]
    adaptation: Bound | None = None

    @property
    def works(self) -> bool:
        """Whether every program compiles and fits."""
        return not any(program.problem for program in self.programs)

    @property
    def seconds(self) -> float | None:
        """Not faster than that, of all rounds and evaluations; None where one did not compile."""
        if self.training is None or self.evaluation is None:
            return None
        if any(program.program_bytes is None for program in self.programs):
            return None
        adaptation = self.adaptation.seconds if self.adaptation else 0.0
        evaluation = self.simulations * (self.evaluation.seconds + adaptation)
        return self.rounds * self.training.seconds + self.evaluations * evaluation

    def figures(self) -> dict[str, Any]:
        """Every number by name, those of training, evaluation and adaptation in a dictionary each."""
        figures = dataclasses.asdict(self) | {"works": self.works, "not_faster_than_seconds": self.seconds}
        for name in ("training", "evaluation", "adaptation"):
            if (part := getattr(self, name)) is not None:
                figures[name]["seconds"] = part.seconds
        return figures


def plan_target(config: SimulationConfig, name: str) -> TargetPlan:
    """Compile every program of a run of `config` for the target `name`, and count what a tick does.

    In a process that `engine.described.prepare_process` has prepared. `engine.devices: auto` is one device.

    Raises UserError for what `simulate` would refuse, and where the target's compiler is not installed.
    """
    config, target = checked(config), TARGETS[name]
    asked = config.engine.devices
    mesh = open_target(name, 1 if asked == "auto" else asked)
    make_bench = functools.partial(DescribedBench, target=target)
    try:
        _, simulator = set_up(config, load(config.data, config.task.kind), None, mesh, make_bench)
    except jax.errors.JaxRuntimeError as error:  # of a program that was to tell how many lanes fit
        raise UserError(
            f"--target {name}: a program does not compile ({in_one_line(error)}); {OTHERWISE}"
        ) from None
    simulator.compile()
    evaluators = simulator.evaluators.by_program
    for first, *_ in evaluators.values():
        first.compile()
    bench, train = simulator.bench, "train"
    simulations = 1 if config.engine.simulations == "auto" else config.engine.simulations
    if simulations > 1:
        train, function, args = simulator.beside(simulations)
        bench.programs.start(train, function, *args, donate=(2,))
    assert isinstance(bench.programs, KeptPrograms), "as DescribedBench makes them"
    programs, limit = bench.programs.by_name, bench.memory()
    training = config.training
    rounds = map(simulator.prepare, range(min(training.rounds, ROUNDS)))
    waves = itertools.chain.from_iterable(rounds)
    tests = {
        what: _bound(
            programs[some[0].program],
            some[0].layout,
            _ticks(
                itertools.chain.from_iterable(one.prepare() for one in some),
                sum(len(one.clients) for one in some),
                some[0].layout,
            ),
            target,
            config.engine.precision,
        )
        for what, some in evaluators.items()
    }
    return TargetPlan(
        target=name,
        devices=mesh.size,
        simulations=simulations,
        precision=config.engine.precision,
        memory=limit,
        data_bytes=tree.num_bytes(bench.examples),
        programs=tuple(_look_at(name, program, limit) for name, program in programs.items()),
        training=_bound(
            programs[train],
            dataclasses.replace(simulator.layout, lanes=simulations * simulator.layout.lanes),
            _ticks(waves, max(round(simulator.participation.mean), 1), simulator.layout),
            target,
            config.engine.precision,
        ),
        **tests,
        rounds=training.rounds,
        evaluations=math.ceil(training.rounds / config.evaluation.every),
        leaves=tuple(leaf_roles(simulator.task, simulator.method)),
    )


def _look_at(name: str, program: Program, limit: float) -> Compiled:
    """Wait for a program, and say what is wrong with it."""
    error = program.compiled.exception()
    if isinstance(error, DoesNotFit):
        return Compiled(name, None, str(error))
    if isinstance(error, jax.errors.JaxRuntimeError):
        return Compiled(name, None, f"does not compile ({in_one_line(error)}); {OTHERWISE}")
    size = program_bytes(program.compiled.result())
    return Compiled(name, size, f"does not fit; {LESS}" if size > limit else "")


def _ticks(waves: Iterable[Prepared], clients: int, layout: Layout) -> float:
    """Ticks of all waves of so many clients, by those of `waves` that come first."""
    executed, seen = 0, 0
    for wave in waves:
        executed += wave.executed_steps
        seen += wave.clients
        if seen >= CLIENTS:
            break
    return executed / (layout.devices * layout.lanes) * clients / max(seen, 1)


def _bound(program: Program, layout: Layout, ticks: float, target: Target, precision: str) -> Bound | None:
    if program.compiled.exception():
        return None
    moved = Hlo(program.compiled.result().as_text()).bytes_of_tick()
    products = products_of_tick(program.jaxpr)
    seconds = max(moved / target.bandwidth, products / target.products[precision])
    return Bound(layout.lanes, ticks, moved, products, seconds)
