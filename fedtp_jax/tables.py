"""Tables for the terminal."""

import numpy as np
from rich import box
from rich.table import Table

from fedtp_jax.novel import MODES
from fedtp_jax.personalized import Personalized

MOST_CLASSES = 20  # with a column each; more are summarised


def partition_table(counts: np.ndarray, limit: int = 30) -> Table:
    """Clients by classes: a column per class or, of many, how many a client holds and which is its largest.

    Args:
      counts: [N, C] examples of each class that each client holds.
      limit: clients to show; a last line says how many more there are.
    """
    counts = np.asarray(counts)
    clients, classes = counts.shape
    wide = classes > MOST_CLASSES
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    names = ["client", *(["classes", "largest class"] if wide else map(str, range(classes))), "total"]
    for name in names:
        # A narrow terminal may break a number into two lines, never cut its end off.
        table.add_column(name, justify="right", overflow="fold", style="bold" if name == "total" else None)
    for client, row in enumerate(counts[:limit]):
        cells = _summary(row) if wide else [_count(n) for n in row]
        table.add_row(str(client), *cells, f"{row.sum():,}")
    if clients > limit:
        rest = clients - limit
        table.caption = f"and {rest:,} more client{'s' * (rest != 1)} with {counts[limit:].sum():,} examples"
        table.caption_justify = "left"
    return table


def _count(examples: int) -> str:
    """Zeros are most of a pathological partition; a dim dot lets the rest stand out."""
    return f"{examples:,}" if examples else "[dim]·[/dim]"


def _summary(row: np.ndarray) -> list[str]:
    """How many classes the client holds, and its largest class with its examples."""
    held, largest = int(np.count_nonzero(row)), int(row.argmax())
    return [_count(held), f"{largest} ({row[largest]:,})" if held else _count(0)]


def novel_table(reached: Personalized) -> Table:
    """A row per mode: how many numbers a client trains, and the accuracies reached; below, what they are."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("mode", "trained per client", "accuracy", "mean of clients", "worst tenth"):
        table.add_column(name, justify="left" if name == "mode" else "right", no_wrap=True)
    for mode, a in reached.accuracy.items():
        spread = f"{a.client_mean:.4f} ± {a.client_std:.4f}"
        trained = f"{reached.trained_parameters[mode]:,}"
        table.add_row(mode, trained, f"{a.pooled:.4f}", spread, f"{a.worst_decile:.4f}")
    table.caption = "\n".join(f"{mode}: {MODES[mode]}" for mode in reached.accuracy)
    table.caption_justify = "left"
    return table
