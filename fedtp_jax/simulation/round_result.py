"""What a round did, in numbers: who returned, what travelled, who was left out."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import jax
import numpy as np

from fedtp_jax.core import tree
from fedtp_jax.core.client_names import called
from fedtp_jax.engine.lanes import Row
from fedtp_jax.engine.workbench import make_facts
from fedtp_jax.learning.method import DESCRIPTOR, EMBEDDING, Method
from fedtp_jax.learning.task import STATISTICS, Task
from fedtp_jax.simulation.participation import Participants


class RoundResult(NamedTuple):
    """What one round did.

    drawn: clients that were asked; clients: those that returned, stragglers among them did only part of their
    steps; share_done: mean share of its local steps that a client did; excluded: ids of those whose numbers
    are not finite; void: whether too few returned, so that nothing changed; train_loss by example, NaN if
    void; occupancy: share of the lanes' steps that trained somebody; bytes_down, bytes_up: sent by the server
    to all that were asked, and back by those that returned; host_seconds:
    preparation of its waves, beside the devices' work; virtual_seconds: by the virtual clock, None without
    one.
    """

    drawn: int
    clients: int
    stragglers: int
    share_done: float
    excluded: tuple[int, ...]
    void: bool
    train_loss: float
    examples: int
    occupancy: float
    bytes_down: int
    bytes_up: int
    host_seconds: float
    virtual_seconds: float | None = None


def result_of(
    asked: Participants,
    waves: Sequence[tuple[int, int, int, float]],
    excluded: Sequence[int],
    loss: float,
    examples: int,
    traffic: tuple[int, int],
) -> RoundResult:
    """Of a round of these `waves`, each (clients, useful steps, executed steps, seconds of the host).

    `loss` is summed over the `examples`; `traffic` of one client, down and up.
    """
    clients, useful, executed, host = zip(*waves, strict=True)
    total = sum(clients)
    return RoundResult(
        drawn=asked.drawn,
        clients=total,
        stragglers=asked.stragglers,
        share_done=asked.share_done,
        excluded=tuple(sorted(excluded)),
        void=False,
        train_loss=loss / max(examples, 1),
        examples=examples,
        occupancy=sum(useful) / max(sum(executed), 1),
        bytes_down=asked.drawn * traffic[0],
        bytes_up=total * traffic[1],
        host_seconds=sum(host),
        virtual_seconds=asked.seconds,
    )


def void_round(asked: Participants, traffic: tuple[int, int]) -> RoundResult:
    """Of a round to which too few clients returned; `traffic` of one client, down and up."""
    down, up = asked.drawn * traffic[0], len(asked.ids) * traffic[1]
    counts = asked.drawn, len(asked.ids), asked.stragglers, asked.share_done
    return RoundResult(*counts, (), True, np.nan, 0, np.nan, down, up, 0.0, asked.seconds)


def check_excluded(
    round: int,
    excluded: Sequence[int],
    clients: int,
    on_nonfinite: Literal["exclude", "stop"],
    names: Sequence[str] = (),
    sent: Any = (),
) -> None:
    """Raise FloatingPointError if `round` (from 0) must end the run: by the setting, or as nobody is left.

    `names` [N] of all clients, or none. `sent`: arrays of which the server's message was made.
    """
    if len(excluded) < clients and not (excluded and on_nonfinite == "stop"):
        return
    all_of = "the only client" if clients == 1 else f"all {clients} clients"
    who = all_of if len(excluded) == clients else f"{len(excluded)} of {clients} clients"
    named = ", ".join(called(k, names) for k in excluded[:10]) + (", ..." if len(excluded) > 10 else "")
    advice = "lower training.learning_rate, and the hypernetwork's where there is one"
    if round == 0:
        advice = f"see if the model takes these inputs (an index beyond an embedding gives NaN), or {advice}"
    if jax.tree.leaves(sent) and not jax.jit(tree.all_finite)(sent):
        advice = (
            "what the server sent them was not finite already: lower server.learning_rate, and the "
            "hypernetwork's where there is one, or mend what a method of your own does in aggregate"
        )
    go_on = ", or go on without them: training.on_nonfinite=exclude" if len(excluded) < clients else ""
    raise FloatingPointError(
        f"round {round + 1}: {who} of the cohort ({named}) returned numbers that are not finite; "
        f"{advice}{go_on}"
    )


def traffic(method: Method, one: Any, task: Task) -> tuple[int, int]:
    """Bytes that one client of a cohort receives, and that it sends in a round.

    Personal leaves stay with it, but for those that the server combines; fixed ones came once, before the
    first round. `one`: shapes of a state with the rows of one client.
    """
    sent, rows = jax.eval_shape(method.send, one)
    shared = {path: sent[path] for path in one.shared if path in sent}
    row = Row(rows, make_facts(np.zeros(1), [], classes=task.num_classes))

    def a_round(shared: Any, row: Any) -> Any:
        row = jax.tree.map(lambda leaf: leaf[0], row)
        return method.work.finish(shared, row, method.work.start(shared, row, jax.random.key(0)))

    upload, kept = jax.eval_shape(a_round, sent, row)
    # a base travels as the leaves to which something is added
    leaves = {**method.travelling(shared), **tree.select(rows, method.roles, "generated")}
    down = leaves, method.mixed(rows, "down")
    up = {**upload.shared, **kept.cotangent}, method.mixed(kept.personal, "up")
    described = tree.num_bytes(describing(method, one)) if method.description else 0
    if method.sent_bytes:
        sent = {**upload.shared, **kept.cotangent}
        statistics = {path: leaf for path, leaf in sent.items() if path.startswith(STATISTICS)}
        sizes = [leaf.size for path, leaf in sent.items() if path not in statistics]
        return tree.num_bytes(down), tree.num_bytes(statistics) + method.sent_bytes(sizes)
    return tree.num_bytes(down) + described, tree.num_bytes(up) + described


def describing(method: Method, one: Any) -> Any:
    """What travels both ways for a client's embedding: the network and its gradient, it and its cotangent."""
    network = {path: leaf for path, leaf in one.generator.items() if path.startswith(DESCRIPTOR)}
    return network, one.rows[EMBEDDING]
