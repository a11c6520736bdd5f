"""Tables for the terminal."""

from collections.abc import Sequence

import numpy as np
from rich import box
from rich.table import Table
from rich.text import Text

from fedtp_jax.cli.units import duration, in_bytes
from fedtp_jax.config.metrics import told
from fedtp_jax.core.client_names import called
from fedtp_jax.core.counted import count_of
from fedtp_jax.learning.leaf_roles import LeafRole, leaves_in_short
from fedtp_jax.results.novel_table import Personalized
from fedtp_jax.simulation.plan import Load, Plan

BFLOAT16 = (
    "engine.precision=bfloat16: activations take half the bytes, and a GPU multiplies twice as fast; "
    "accuracies differ by less than those of seeds did where it was measured (docs/gpu.md)"
)
ROUND = 1000  # from here on a half more or less is not seen in a share of two digits
MOST_CLASSES = 20  # with a column each; more are summarised


def partition_table(
    counts: np.ndarray, names: Sequence[str] = (), limit: int = 30, clients_names: Sequence[str] = ()
) -> Table:
    """Clients by classes: a column per class or, of many, how many a client holds and which is its largest.

    Args:
      counts: [N, C] examples of each class that each client holds.
      names: of the classes; default: their numbers.
      limit: clients to show; a last line says how many more there are.
      clients_names: [N], default: their numbers.
    """
    counts = np.asarray(counts)
    clients, classes = counts.shape
    wide = classes > MOST_CLASSES
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    names = names or [*map(str, range(classes))]
    for name in ("client", *(["classes", "largest class"] if wide else names)):
        # A narrow terminal may break a number into two lines, never cut its end off.
        table.add_column(Text(name), justify="right", overflow="fold")
    table.add_column("total", justify="right", overflow="fold", style="bold")
    for client, row in enumerate(counts[:limit]):
        cells = _summary(row, names) if wide else [_count(n) for n in row]
        table.add_row(Text(called(client, clients_names)), *cells, f"{row.sum():,}")
    if clients > limit:
        rest = clients - limit
        table.caption = (
            f"and {count_of(rest, 'more client')} with {count_of(int(counts[limit:].sum()), 'example')}"
        )
        table.caption_justify = "left"
    return table


def _count(examples: int) -> str:
    """Zeros are most of a pathological partition; a dim dot lets the rest stand out."""
    return f"{examples:,}" if examples else "[dim]·[/dim]"


def _summary(row: np.ndarray, names: Sequence[str]) -> list[str | Text]:
    """How many classes the client holds, and its largest class with its examples."""
    held, largest = int(np.count_nonzero(row)), int(row.argmax())
    return [_count(held), Text(f"{names[largest]} ({row[largest]:,})") if held else _count(0)]


def novel_table(reached: Personalized) -> Table:
    """A row per mode: how many numbers a client trains, and what it reaches; below, what the modes are."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    first = next(iter(reached.reached.values()))
    headline = first.headline, "mean of clients", "worst tenth"
    for name in ("mode", "trained per client", *headline, *first.measures):
        table.add_column(name, justify="left" if name == "mode" else "right", no_wrap=True)
    for mode, a in reached.reached.items():
        pooled, mean, std, worst = (
            told(a.headline, v) for v in (a.pooled, a.client_mean, a.client_std, a.worst_decile)
        )
        trained = f"{reached.trained_parameters[mode]:,}"
        further = (told(name, statistics.pooled) for name, statistics in a.measures.items())
        table.add_row(mode, trained, pooled, f"{mean} ± {std}", worst, *further)
    table.caption = "\n".join(f"{mode}: {reached.words[mode]}" for mode in reached.reached)
    table.caption_justify = "left"
    return table


def plan_table(plan: Plan) -> Table:
    """What a run will cost, a line for each kind of cost."""
    train, test = plan.training, plan.evaluation
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    table.add_row("devices", f"{plan.devices} x {plan.platform}")
    table.add_row("a round", _work(train, plan.devices))
    table.add_row("an evaluation", _work(test, plan.devices))
    if plan.adaptation:
        table.add_row("adapted", _work(plan.adaptation, plan.devices))
    tests = max(part.program_bytes for part in (test, plan.adaptation) if part)
    table.add_row(
        "on each device",
        f"data set {in_bytes(plan.data_bytes)}; beside it training {in_bytes(train.program_bytes)} or "
        f"evaluation {in_bytes(tests)}",
    )
    table.add_row(
        "on the host",
        f"data set {in_bytes(plan.data_bytes)}, who holds what {in_bytes(plan.partition_bytes)}, and for "
        f"each client that has trained {in_bytes(plan.row_bytes)}: "
        f"{in_bytes(plan.num_clients * plan.row_bytes)} when all {plan.num_clients:,} have"
        + (f"; in a round the cohort's changes, {in_bytes(plan.held_bytes)}" if plan.held_bytes else ""),
    )
    table.add_row("sent in a round", f"{in_bytes(plan.bytes_down)} down, {in_bytes(plan.bytes_up)} up")
    if plan.privacy:
        table.add_row("privacy", plan.privacy)
    table.add_row("programs", f"{plan.programs}, compiled in {duration(plan.compile_seconds)} here")
    table.add_row(
        "estimated time",
        f"a round {duration(train.seconds)}, an evaluation {duration(plan.evaluation_seconds)}; "
        f"{count_of(plan.rounds, 'round')} and {count_of(plan.evaluations, 'evaluation')} about "
        f"{duration(plan.seconds)}",
    )
    if plan.virtual_seconds is not None:
        table.add_row(
            "virtual time",
            f"a round {duration(plan.virtual_seconds)} in the mean; {count_of(plan.rounds, 'round')} about "
            f"{duration(plan.rounds * plan.virtual_seconds)}",
        )
    if plan.platform != "cpu" and plan.precision == "float32":
        table.add_row("worth trying", BFLOAT16)
    return table


def leaves_table(leaves: Sequence[LeafRole], each: bool = False) -> Table:
    """Which role each leaf has and which rule gave it; leaves alike are a line unless `each` is to be one."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("leaf", "shape", "role", "rule", "bytes"):
        table.add_column(name, justify="right" if name == "bytes" else "left", overflow="fold")
    for line in leaves if each else leaves_in_short(leaves):
        path, count = (line.path, 1) if isinstance(line, LeafRole) else (line.expression, line.count)
        shape = f"{f'{count} x ' if count > 1 else ''}{list(line.shape)}"
        cells = path, shape, line.role, line.rule, in_bytes(line.bytes)
        table.add_row(*map(Text, cells))
    return table


def _work(load: Load, devices: int) -> str:
    """The work in plain words, and why lanes idle if they do."""
    waves = f" of {load.wave_size:,}" if load.waves > 1 else ""
    steps = f"{_mean(load.useful_steps)} of {_mean(load.executed_steps)} steps"
    return (
        f"{count_of(load.clients, 'client')} in {count_of(load.waves, 'wave')}{waves}, "
        f"{count_of(load.lanes, 'lane')} a device, {count_of(round(load.ticks), 'tick')}; "
        f"occupancy {load.occupancy:.2f}: {steps} work for somebody{_limit(load, devices)}"
    )


def _mean(number: float) -> str:
    """A mean over rounds, as exact as the occupancy that stands beside it."""
    return f"{number:,.0f}" if number == round(number) or number >= ROUND else f"{number:,.1f}"


def _limit(load: Load, devices: int) -> str:
    """Why lanes idle, and what may help."""
    if load.limit is None:
        return ""
    larger = f"; a larger engine.wave_size than {load.wave_size:,} may fill them" if load.waves > 1 else ""
    if load.limit == "longest_client":
        alone = f"{_mean(load.longest_ticks)} of the {_mean(load.ticks)} ticks"
        whose = "each wave's" if load.waves > 1 else "the"
        return f"; bounded by {whose} longest client, which takes {alone} by itself{larger}"
    if load.waves == 1 and load.lanes == 1:
        return f"; the clients do not share out evenly over {devices} devices"
    fewer = f"; fewer engine.lanes than {load.lanes:,} would idle less" if load.lanes > 1 else ""
    return f"; the lanes end unevenly{larger}{fewer}"
