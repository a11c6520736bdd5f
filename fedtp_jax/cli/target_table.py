"""The table of `fedtp plan --target`."""

from rich.table import Table
from rich.text import Text

from fedtp_jax.cli.tables import BFLOAT16
from fedtp_jax.cli.units import brief, in_bytes, with_prefix
from fedtp_jax.core.counted import count_of
from fedtp_jax.engine.targets import TARGETS, Target
from fedtp_jax.simulation.plan_target import Bound, TargetPlan


def target_table(plan: TargetPlan) -> Table:
    """Which programs compile and fit, what a tick does, and what that bounds."""
    target = TARGETS[plan.target]
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    table.add_row(
        "compiled for",
        f"{plan.devices} x {target.title} in {plan.precision}, with {in_bytes(plan.memory)} a device for a "
        "program; nothing was run",
    )
    table.add_row("data set", f"{in_bytes(plan.data_bytes)} on each device, in what train and evaluate take")
    for program in plan.programs:
        size = "" if program.program_bytes is None else in_bytes(program.program_bytes)
        verdict = program.problem or "compiles and fits"
        table.add_row(Text(f"program {program.name}"), Text(": ".join(filter(None, [size, verdict]))))
    several = f" of {plan.simulations} runs" if plan.simulations > 1 else ""
    for what, work in ((f"a round{several}", plan.training), ("an evaluation", plan.evaluation)):
        table.add_row(what, "its program does not compile" if work is None else _work(work))
    if plan.adaptation:
        table.add_row("adapted", _work(plan.adaptation))
    table.add_row("not faster than", _bound(plan))
    if plan.training is not None:
        table.add_row("because", _reason(target, plan.training, plan.precision))
    if plan.precision == "float32":
        table.add_row("worth trying", BFLOAT16)
    return table


def _work(work: Bound) -> str:
    return (
        f"{count_of(work.lanes, 'lane')} a device, {count_of(round(work.ticks), 'tick')}; a tick moves "
        f"{with_prefix(work.tick_bytes, 'B')} and multiplies {with_prefix(work.tick_products, 'FLOP')}"
    )


def _bound(plan: TargetPlan) -> str:
    if plan.training is None or plan.evaluation is None or plan.seconds is None:
        return "nothing can be said before all programs compile"
    evaluation = plan.evaluation.seconds + (plan.adaptation.seconds if plan.adaptation else 0.0)
    return (
        f"a tick {brief(plan.training.tick_seconds)}, a round {brief(plan.training.seconds)}, an evaluation "
        f"{brief(evaluation)}, {_runs(plan)} {brief(plan.seconds)}"
    )


def _runs(plan: TargetPlan) -> str:
    return "the run" if plan.simulations == 1 else f"all {plan.simulations} runs"


def _reason(target: Target, work: Bound, precision: str) -> str:
    rate = target.products[precision]
    cache = f"; what its cache of {in_bytes(target.cache)} holds may save some bytes" if target.cache else ""
    return (
        f"a tick's bytes take {brief(work.tick_bytes / target.bandwidth)} at "
        f"{with_prefix(target.bandwidth, 'B/s')}, its products {brief(work.tick_products / rate)} at "
        f"{with_prefix(rate, 'FLOP/s')}: the maker's figures, so a bound and no estimate{cache}"
    )
