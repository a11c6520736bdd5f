"""Novel clients from the user's side: run the modes, and what came of them as tables."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from fedtp_jax import tree
from fedtp_jax.data.federated import Partition
from fedtp_jax.errors import UserError
from fedtp_jax.metrics import Accuracy, Sums, summarize
from fedtp_jax.novel import Adaptation, Adapted, NovelClients, modes_to_run


@dataclasses.dataclass(frozen=True)
class Personalized:
    """What novel clients reach, by mode (novel.MODES).

    Attributes:
      clients: a row per novel client: client (0 to M - 1, or its id in the run), train_examples,
        test_examples, and per mode its test accuracy (a fraction, NaN without test examples).
      accuracy: mode -> statistics over the clients.
      trained_parameters: mode -> how many numbers a client trains.
    """

    clients: pd.DataFrame
    accuracy: Mapping[str, Accuracy]
    trained_parameters: Mapping[str, int]
    _adapted: Mapping[str, Adapted] = dataclasses.field(repr=False)

    @property
    def table(self) -> pd.DataFrame:
        """A row per mode: trained_parameters, and the statistics of accuracy over the clients."""
        return pd.DataFrame(
            [
                {
                    "mode": mode,
                    "trained_parameters": self.trained_parameters[mode],
                    "test_accuracy": a.pooled,
                    "client_mean": a.client_mean,
                    "client_std": a.client_std,
                    "worst_decile": a.worst_decile,
                    "test_loss": a.loss,
                }
                for mode, a in self.accuracy.items()
            ]
        )

    def variables(self, client: int, mode: str = "fit") -> dict[str, Any]:
        """The Flax variables of the novel client in row `client` of `clients`, as `mode` leaves it."""
        if mode not in self._adapted:
            raise UserError(f"mode: got {mode!r}, expected one of {', '.join(self._adapted)}")
        if not isinstance(client, int | np.integer) or not 0 <= client < len(self.clients):
            raise UserError(
                f"client: got {client!r}, expected a whole number from 0 to {len(self.clients) - 1}"
            )
        return tree.unflatten(self._adapted[mode].leaves(int(client)))

    def __repr__(self) -> str:
        reached = ", ".join(f"{mode} {a.pooled:.3f}" for mode, a in self.accuracy.items())
        return f"Personalized({len(self.clients)} novel clients: {reached})"


def personalize(
    novel: NovelClients,
    partition: Partition,
    ids: np.ndarray,
    method: str,
    modes: Sequence[str] | None,
    settings: Adaptation,
) -> Personalized:
    """Run `modes` (None: all that the method has) for the novel clients of `partition`, called by `ids`."""
    starts = novel.starts()
    adapted = {
        mode: novel.adapt(mode, starts[mode], settings) for mode in modes_to_run(modes, starts, method)
    }
    tested = np.where(partition.test.sizes > 0, partition.test.sizes, np.nan)
    clients = {
        "client": ids,
        "train_examples": partition.train.sizes,
        "test_examples": partition.test.sizes,
        **{mode: np.asarray(one.sums.correct) / tested for mode, one in adapted.items()},
    }
    return Personalized(
        pd.DataFrame(clients),
        {mode: summarize(Sums(*one.sums)) for mode, one in adapted.items()},
        {mode: one.trained_parameters for mode, one in adapted.items()},
        adapted,
    )
