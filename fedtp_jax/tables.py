"""Tables for the terminal."""

import numpy as np
from rich import box
from rich.table import Table

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
