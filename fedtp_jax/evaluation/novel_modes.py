"""How clients met after training may go about it, by name."""

from collections.abc import Mapping, Sequence
from typing import Any

from fedtp_jax.core.errors import UserError
from fedtp_jax.learning.method import Method

MODES = {
    "zero_shot": "the mean client's leaves as they are",
    "fit": "only what belongs to a client (embedding, personal leaves) is trained, from the mean client's",
    "fine_tune": "everything is trained, from the mean client's leaves",
    "local": "everything is trained, from initial values: without the federation",
}


# of methods that compute a client's embedding from its examples
DESCRIBED = {
    "zero_shot": "what the hypernetwork makes of the client's own examples, as it is",
    "fit": "only what belongs to a client is trained, its embedding from what its examples give",
    "fine_tune": "everything is trained, from what the hypernetwork makes of its examples",
    "local": MODES["local"],
}


# of methods that know how many examples of each class a client holds
COUNTED = {
    "zero_shot": "the mean client's leaves, and what the client's own class counts give",
    "fit": "only what belongs to a client (embedding, personal leaves) is trained, from there",
    "fine_tune": "everything is trained, from there",
    "local": MODES["local"],
}


def modes_of(method: Method) -> Mapping[str, str]:
    """What the modes are, of this method."""
    if method.description:
        return DESCRIBED
    return COUNTED if method.counted else MODES


def modes_to_run(asked: Sequence[str] | None, starts: Mapping[str, Any], method: str) -> list[str]:
    """The modes asked for, all that the method has by default; UserError for one that it has not."""
    asked = [asked] if isinstance(asked, str) else asked
    if asked is not None and not isinstance(asked, Sequence):
        raise UserError(f"modes: got {asked!r}, expected some of {', '.join(MODES)}")
    for mode in asked or ():
        if mode not in MODES:
            raise UserError(f"modes: got {mode!r}, expected some of {', '.join(MODES)}")
        if mode not in starts:
            raise UserError(
                f"modes: {method} leaves nothing to a client, so there is nothing to {mode}; "
                f"choose some of {', '.join(starts)}"
            )
    return list(asked or starts)
