"""Novel clients from the user's side: run the modes, and what came of them as tables."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fedtp_jax.config.metrics import told
from fedtp_jax.core import tree
from fedtp_jax.core.counted import count_of
from fedtp_jax.core.errors import UserError
from fedtp_jax.core.jax_settings import under_our_settings
from fedtp_jax.evaluation.metrics import Tested, summarize
from fedtp_jax.evaluation.novel_clients import Adapted, NovelClients
from fedtp_jax.evaluation.novel_modes import modes_of, modes_to_run
from fedtp_jax.evaluation.novel_steps import Adaptation
from fedtp_jax.learning.method import EMBEDDING

if TYPE_CHECKING:
    import pandas as pd


@dataclasses.dataclass(frozen=True)
class Personalized:
    """What novel clients reach, by mode (evaluation.novel_modes.MODES).

    Attributes:
      clients: a row per novel client: client (0 to M - 1, or its id in the run), name (where the data name
        groups), train_examples, test_examples, and per mode its test accuracy (a fraction, NaN without test
        examples), in regression its mean absolute error; of each further measure a column mode_measure.
      reached: mode -> its test, statistics over the clients.
      trained_parameters: mode -> how many numbers a client trains.
      mean_of: how many clients, those that trained, the mean client is the mean of.
      words: mode -> what it is.
    """

    clients: "pd.DataFrame"
    reached: Mapping[str, Tested]
    trained_parameters: Mapping[str, int]
    mean_of: int
    words: Mapping[str, str]
    _adapted: Mapping[str, Adapted] = dataclasses.field(repr=False)

    @property
    def table(self) -> "pd.DataFrame":
        """A row per mode: trained_parameters, and what is measured, with its statistics over the clients."""
        import pandas as pd

        return pd.DataFrame(
            [
                {
                    "mode": mode,
                    "trained_parameters": self.trained_parameters[mode],
                    f"test_{a.headline}": a.pooled,
                    "client_mean": a.client_mean,
                    "client_std": a.client_std,
                    "worst_decile": a.worst_decile,
                    "test_loss": a.loss,
                    **{f"test_{name}": value.pooled for name, value in a.measures.items()},
                }
                for mode, a in self.reached.items()
            ]
        )

    @under_our_settings
    def variables(self, client: int, mode: str = "fit") -> dict[str, Any]:
        """The Flax variables of the novel client in row `client` of `clients`, as `mode` leaves it.

        In regression the model gives numbers on the scale of the loss with them.
        """
        if mode not in self._adapted:
            raise UserError(f"mode: got {mode!r}, expected one of {', '.join(self._adapted)}")
        if not isinstance(client, int | np.integer) or not 0 <= client < len(self.clients):
            raise UserError(
                f"client: got {client!r}, expected a whole number from 0 to {len(self.clients) - 1}"
            )
        return tree.unflatten(self._adapted[mode].leaves(int(client)))

    def __repr__(self) -> str:
        reached = ", ".join(f"{mode} {told(a.headline, a.pooled, 3)}" for mode, a in self.reached.items())
        return f"Personalized({count_of(len(self.clients), 'novel client')}: {reached})"


def personalize(
    novel: NovelClients, method: str, modes: Sequence[str] | None, settings: Adaptation
) -> Personalized:
    """Run `modes` (None: all that `method` has) for the novel clients."""
    starts = novel.starts()
    if settings.embedding_learning_rate and EMBEDDING not in starts["zero_shot"].trained:
        raise UserError(
            f"embedding_learning_rate: {settings.embedding_learning_rate}, but {method} has no embeddings; "
            "leave it out"
        )
    import pandas as pd

    wanted = modes_to_run(modes, starts, method)
    novel.check_examples(wanted)
    adapted = {mode: novel.adapt(mode, starts[mode], settings) for mode in wanted}
    train, test = (part.sizes[novel.clients] for part in novel.bench.partition[:2])
    tested = np.where(test > 0, test, np.nan)
    clients = {
        "client": novel.clients,
        **({"name": [novel.names[client] for client in novel.clients]} if len(novel.names) else {}),
        "train_examples": train,
        "test_examples": test,
        **{mode: one.sums.measured / tested for mode, one in adapted.items()},
        **{
            f"{mode}_{name}": values.clients
            for mode, one in adapted.items()
            for name, values in one.sums.measures.items()
        },
    }
    return Personalized(
        pd.DataFrame(clients),
        {mode: summarize(one.sums) for mode, one in adapted.items()},
        {mode: one.trained_parameters for mode, one in adapted.items()},
        len(novel.trained),
        modes_of(novel.method),
        adapted,
    )
