"""FedRep: clients fit their own head to the shared body, then the body to their head.

Collins, Hassani, Mokhtari, Shakkottai: Exploiting Shared Representations for Personalized Federated Learning.
ICML 2021, arXiv 2102.07078, algorithm 1.
"""

from collections.abc import Mapping

import jax

from fedtp_jax import config
from fedtp_jax.core.errors import UserError
from fedtp_jax.core.tree import Role
from fedtp_jax.engine.lanes import Batch, Row
from fedtp_jax.learning.method import Method
from fedtp_jax.learning.roles import Rule, role_method
from fedtp_jax.learning.task import Task


def fedrep(settings: config.FedRep, task: Task) -> Method:
    """Of training.local_epochs passes the first train the personal leaves, the last `body_epochs` the rest.

    What a pass does not train does not move, by momentum or decay neither: each of the two has an optimizer
    of its own, as in the paper. Running statistics follow every pass. A straggler stops where it is: the
    body, which comes last, gets less of it, or nothing.

    The authors take 11 passes, 10 for the head, with learning rate .01, momentum .5, decay 1e-4 and batches
    of 10; at the end they fit the heads of all clients for 10 more passes.
    """
    training = task.training
    if training.local_steps is not None:
        raise UserError(
            f"training.local_steps: {training.local_steps}, but fedrep parts a round by passes; give "
            f"training.local_epochs, more than method.body_epochs ({settings.body_epochs})"
        )
    head_epochs = training.local_epochs - settings.body_epochs
    if head_epochs < 1:
        raise UserError(
            f"method.body_epochs: {settings.body_epochs}, but training.local_epochs is "
            f"{training.local_epochs}, so no pass would train the head; give more of them (the authors: 11)"
        )

    def phase(row: Row, batch: Batch) -> Mapping[Role, jax.Array]:
        in_pass = row.facts.steps - row.facts.last_pass  # of who does less than a pass: what it does
        trains_head = batch.step < head_epochs * in_pass
        return {"personal": trains_head, "shared": ~trains_head}

    rules: list[Rule] = [("fixed", settings.fixed), ("personal", settings.personal), ("shared", (".",))]
    method = role_method(task, rules, phase=phase)
    if "shared" not in method.roles.values():
        raise UserError(
            f"method.personal: {list(settings.personal)} takes all of the model, so there is no body to "
            "train; name less, or choose local"
        )
    return method
