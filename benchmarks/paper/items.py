"""The experiments: of each its title, what is measured beside accuracies, and what is shown."""

import dataclasses
from collections.abc import Callable, Sequence
from types import ModuleType

from matplotlib.figure import Figure

from benchmarks.paper import adapted, attention, gap, language, novel, summaries
from fedtp_jax import Result
from fedtp_jax.comparison.compare import Comparison


@dataclasses.dataclass(frozen=True)
class Item:
    """One experiment.

    Attributes:
      name: of its sweep, NAME.yaml, and its results. title: of its table.
      measured: a module with `measure` (runs -> rows), `table` and `picture` of these rows.
      maps: a picture of the runs of one partition and seed, which are then measured together.
      summary: a picture of all that is finished, beside the learning curves.
      over: the methods over which leads are told.
    """

    name: str
    title: str
    measured: ModuleType | None = None
    maps: Callable[[Sequence[Result]], Figure] | None = None
    summary: Callable[[Comparison], Figure] | None = None
    over: Sequence[str] = ()


_ALL = [
    Item(
        "main_table",
        "Main table: all methods on two partitions",
        summary=summaries.levels,
        over=("vanilla", "fedper"),
    ),
    Item(
        "main_table_100",
        "Main table: four methods with 100 clients",
        summary=summaries.levels,
        over=("vanilla", "fedper"),
    ),
    Item("main_table_cnn", "Main table: methods with a CNN", summary=summaries.levels),
    Item("main_table_pfedme", "Main table: pFedMe", summary=summaries.levels),
    Item(
        "own_head",
        "Stored or generated attention, with and without an own head",
        summary=summaries.levels,
        over=("fedtp_per",),
    ),
    Item(
        "client_rate",
        "Three times the clients' learning rate of the main table",
        summary=summaries.levels,
        over=("vanilla", "fedper"),
    ),
    Item(
        "parts",
        "Does averaging hurt attention? Each part in turn stays with the clients",
        summary=summaries.gains,
    ),
    Item(
        "attention",
        "Attention distances: local, averaged and personalised models",
        measured=attention,
        maps=attention.maps,
    ),
    Item(
        "scaling",
        "Scaling in clients: the same data in 10 to 1,000 hands, and as much for each",
        summary=summaries.by_clients,
    ),
    Item("novel", "Clients that never trained: few examples, and another kind of client", measured=novel),
    Item(
        "language",
        "Shakespeare: causal Transformers, LSTMs, and the authors' Transformer that sees ahead",
        measured=language,
    ),
    Item(
        "prior",
        "Class priors and generated differences: 50, 100 and 1,000 clients",
        over=("vanilla", "fedper", "fedtp_per"),
    ),
    Item("prior_novel", "Class priors: clients that never trained", measured=novel),
    Item("prior_language", "Class priors on Shakespeare", over=("vanilla", "fedper", "fedavg")),
    Item("adapted", "FedAvg, and the same after each client has trained on", measured=adapted),
    Item("gap", "The generalisation gap, and the hypernetwork's Lipschitz constants", measured=gap),
    Item(
        "curves",
        "Learning curves to the end: when, if ever, is FedTP ahead?",
        summary=summaries.leads,
        over=("vanilla", "fedper"),
    ),
    Item(
        "hypernetwork",
        "What moves FedTP's curve: the hypernetwork's settings and local epochs",
        over=("vanilla",),
    ),
]
ITEMS = {item.name: item for item in _ALL}
