"""A method of the user's own, held to what every method owes before anything is trained with it."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax.errors import ScopeCollectionNotFound, ScopeParamNotFoundError, ScopeVariableNotFoundError

from fedtp_jax.core import tree
from fedtp_jax.core.errors import UserError, nearest
from fedtp_jax.core.importable import failure
from fedtp_jax.engine.lanes import Batch, ClientWork, Row
from fedtp_jax.engine.population import HAS_TRAINED
from fedtp_jax.engine.prelude import Prelude
from fedtp_jax.engine.workbench import make_facts
from fedtp_jax.learning.method import (
    DESCRIPTOR,
    EMBEDDING,
    OPTIMIZER,
    Counted,
    Description,
    Kept,
    Method,
    Mix,
    Received,
    State,
    Upload,
    own,
)
from fedtp_jax.learning.roles import ROLES
from fedtp_jax.learning.task import Output, Task

MOST = 3  # leaves that a message lists
NUMBER = jax.ShapeDtypeStruct((), jnp.float32)
LACKS_A_LEAF = ScopeParamNotFoundError, ScopeVariableNotFoundError, ScopeCollectionNotFound


def check_own_method(task: Task, method: Method, called: str) -> None:
    """Raise UserError unless the functions of a method fit together, called as a round calls them.

    They are traced: nothing is computed or compiled. What it mixes is looked at where the size of a cohort is
    known. `called`: what it is in messages, such as "mylab:ditto".
    """
    checks = _Checks(called, _unlike(task))
    _check_record(checks, method)
    state = _initial(checks, method)
    _check_training(checks, task, method, state)
    _check_use(checks, task, method, state)
    if method.counted:
        counts = jax.ShapeDtypeStruct((checks.clients, task.num_classes), np.float32)
        found = checks.trace("counted.of", method.counted.of, counts)
        rows = {path: state.rows.get(path) for path in method.counted.paths}
        checks.alike("counted.of", "leaves", found, rows, "rows of init at counted.paths", "return these")
    _check_embeddings(checks, task, method, state)


def _check_record(checks: "_Checks", method: Method) -> None:
    """Raise UserError for parts of another kind."""
    maybe = {"description": Description, "mix": Mix, "counted": Counted}
    kinds: dict[str, Any] = {"work": ClientWork, "prelude": Prelude}
    kinds |= {part: (kind, type(None)) for part, kind in maybe.items()}
    for part, kind in kinds.items():
        if not isinstance(value := getattr(method, part), kind):
            expected = kind if isinstance(kind, type) else kind[0]
            more = "; give local_training(...).work" if part == "work" else ""
            raise checks.error(part, f"is {_kind(value)}, expected a {expected.__name__}{more}")
    for path, role in method.roles.items():
        if role not in ROLES:
            raise checks.error(
                "roles", f"give {path!r} {role!r}{nearest(str(role), ROLES)}; choose {', '.join(ROLES)}"
            )
    mix = method.mix or Mix(lambda *_: {}, (), ())
    for part, begins in (("only_training", method.only_training), ("mix.up", mix.up), ("mix.down", mix.down)):
        if not isinstance(begins, tuple):
            raise checks.error(part, f"is {begins!r}, expected a tuple of beginnings of paths")


def _initial(checks: "_Checks", method: Method) -> State:
    """The state before the first round, with the rows of some clients."""
    ids = jax.ShapeDtypeStruct((checks.clients,), np.int32)
    state = checks.record("init", State, method.init, jax.random.key(0), ids)
    checks.leaves("init", "state.shared", state.shared)
    checks.leaves("init", "state.rows", state.rows, by_client=True)
    paths = [*state.shared, *state.rows]
    for begin in method.only_training:
        if not any(path.startswith(begin) for path in paths):
            raise checks.error(
                "only_training",
                f"{begin!r} begins the path of no shared leaf and no row{nearest(begin, paths)}; they are "
                f"{', '.join(tree.leaves_in_short(paths))}",
            )
    return state


def _check_training(checks: "_Checks", task: Task, method: Method, state: State) -> None:
    """A round: a client's start, step and finish, then what the server makes of what it is sent."""
    state = state._replace(rows=own(state.rows))
    shared, rows = checks.record("send", (dict, dict), method.send, state)
    checks.leaves("send", "rows", rows, by_client=True)
    classes = task.num_classes if method.class_counts else 0
    facts = jax.tree.map(_of_one, make_facts(np.zeros(1), [], classes=classes))
    row, key = Row({path: _of_one(leaf) for path, leaf in rows.items()}, facts), jax.random.key(0)

    work = method.work
    carry = checks.trace("work.start", work.start, shared, row, key)
    stepped = checks.trace("work.step", work.step, shared, row, carry, _batch(task), key)
    advice = "return the carry as it came, with other values"
    if type(stepped) is tuple and len(stepped) == 2 and type(stepped[1]) is Output:
        advice = "the step of local_training gives the model's output too: return the first of the two"
    checks.alike("work.step", "carry", stepped, carry, "what work.start gives", advice)

    upload, kept = checks.record("work.finish", (Upload, Kept), work.finish, shared, row, carry)
    numbers = {"upload.weight": upload.weight, "kept.loss": kept.loss, "kept.excluded": kept.excluded}
    for name, found in numbers.items():
        checks.alike("work.finish", name, found, NUMBER, "", "return one number of a client")
    checks.leaves("work.finish", "upload.shared", upload.shared)
    travelling = method.travelling(state.shared)
    advice = "upload all shared leaves but fixed ones, each times the client's weight"
    checks.alike("work.finish", "upload.shared", upload.shared, travelling, "state.shared of init", advice)
    generated = tree.select(row.leaves, method.roles, "generated")
    advice = "return the weight times (sent - returned) of every generated leaf"
    checks.alike("work.finish", "kept.cotangent", kept.cotangent, generated, "what is sent", advice)
    checks.leaves("work.finish", "kept.personal", kept.personal)

    everyone = jax.tree.map(lambda leaf: _rows_of(leaf, checks.clients), kept)
    received = checks.record("receive", Received, method.receive, state, everyone)
    _check_rows(checks, method, state, kept, received.rows)
    phi, advice = state.generator, "return the gradient"
    checks.alike("receive", "generator", received.generator, phi, "state.generator", advice)
    learnt = {EMBEDDING: state.rows[EMBEDDING]} if EMBEDDING in state.rows else {}
    checks.alike("receive", "embeddings", received.embeddings, learnt, "state.rows", advice)

    server, advice = state._replace(rows={}), "return the state with other values: state._replace(shared=...)"
    after = checks.record("aggregate", State, method.aggregate, server, upload, phi)
    checks.alike("aggregate", "state", after, server, "the state that it is given", advice)


def _check_rows(checks: "_Checks", method: Method, state: State, kept: Kept, new: Any) -> None:
    """Raise UserError unless new rows are rows of `init`, and none of these is left out for ever."""
    checks.leaves("receive", "rows", new, by_client=True)
    mixed = method.mixed(state.rows, "down")
    needed = {path for path in state.rows if path not in (EMBEDDING, HAS_TRAINED, *mixed)} | set(new)
    rows = {path: leaf for path, leaf in state.rows.items() if path in needed}
    advice = "return all rows that nothing else writes, and row.leaves[path] of one that stays as it is"
    if set(new) == set(kept.personal):  # it is what clients keep, and where the user will mend it
        row = {path: _of_one(leaf) for path, leaf in rows.items()}
        checks.alike("work.finish", "kept.personal", kept.personal, row, "state.rows of init", advice)
    checks.alike("receive", "rows", new, rows, "state.rows of init", advice)


def _check_use(checks: "_Checks", task: Task, method: Method, state: State) -> None:
    """What clients run in every test."""
    shared, rows = method.run_by_clients(state.shared), method.run_by_clients(own(state.rows))
    made = checks.trace("realize", method.realize, shared, state.generator, rows)
    checks.leaves("realize", "leaves", made, by_client=True)
    leaves, batch = {**shared, **{path: _of_one(leaf) for path, leaf in made.items()}}, _batch(task)
    output = checks.record("predict", Output, method.predict, leaves, batch.x)
    each = batch.x if task.inputs.each_position else batch.mask
    logits = jax.ShapeDtypeStruct((*each.shape, task.num_classes), jnp.float32)
    checks.alike("predict", "logits", output.logits, logits, "", "return one of each class by example")


def _check_embeddings(checks: "_Checks", task: Task, method: Method, state: State) -> None:
    """How clients' embeddings are computed, or learn."""
    if method.description and EMBEDDING not in state.rows:
        raise checks.error("init", f"state.rows lack {EMBEDDING!r}, which the description is to compute")
    if EMBEDDING not in state.rows:
        return
    embeddings = state.rows[EMBEDDING]
    if method.description:
        phi = {path: leaf for path, leaf in state.generator.items() if path.startswith(DESCRIPTOR)}
        batch = _batch(task)
        parts = checks.trace("description.parts", method.description.parts, phi, batch)
        expected = jax.ShapeDtypeStruct((len(batch.mask), *embeddings.shape[1:]), embeddings.dtype)
        checks.alike("description.parts", "parts", parts, expected, "", "return a row for each example")
        return
    rows = {path: leaf for path, leaf in state.rows.items() if path.startswith((EMBEDDING, OPTIMIZER))}
    stepped = checks.trace("step_embeddings", method.step_embeddings, rows, embeddings)
    checks.alike("step_embeddings", "rows", stepped, rows, "what it is given", "return these")


class _Checks(NamedTuple):
    """Traces a method's functions on shapes, and says what is wrong with what they give."""

    called: str
    clients: int  # K, no other axis is as long

    def error(self, part: str, text: str) -> UserError:
        return UserError(f"method {self.called}: {part} {text}")

    def trace(self, part: str, function: Callable[..., Any], *given: Any) -> Any:
        """Shapes of what `function` returns; what it raises becomes a UserError."""
        try:
            return jax.eval_shape(function, *given)
        except UserError:
            raise
        except Exception as error:  # of the user's own code
            advice = "mend it"
            if isinstance(error, LACKS_A_LEAF):
                advice = "hand the model all of its leaves, those of task.leaf_shapes()"
            raise self.error(part, f"fails ({failure(error)}); {advice}") from error

    def record(
        self, part: str, kinds: type | Sequence[type], function: Callable[..., Any], *given: Any
    ) -> Any:
        """As `trace`, of a function that returns one of this kind, or a tuple of these."""
        found = self.trace(part, function, *given)
        if isinstance(kinds, type):
            fits, expected = isinstance(found, kinds), f"a {kinds.__name__}"
        else:
            fits = isinstance(found, tuple) and [*map(type, found)] == [*kinds]
            expected = f"({', '.join(kind.__name__ for kind in kinds)})"
        if not fits:
            raise self.error(part, f"returns {_kind(found)}, expected {expected}")
        return found

    def leaves(self, part: str, name: str, found: Any, by_client: bool = False) -> None:
        """Raise UserError unless it is {path: array}, or {path: [K, ...]}."""
        rows = "[K, ...]" if by_client else "array"
        if not isinstance(found, Mapping):
            raise self.error(part, f"returns {_kind(found)} as {name}, expected {{path: {rows}}}")
        for path, leaf in found.items():
            if not isinstance(leaf, jax.ShapeDtypeStruct):
                text = f"{_kind(leaf)} as {name}[{path!r}], expected {{path: {rows}}}"
                raise self.error(part, f"returns {text}")
            if by_client and leaf.shape[:1] != (self.clients,):
                text = f"{self._text(leaf)}, expected a row for each of K clients, [K, ...]"
                raise self.error(part, f"returns {name}[{path!r}] as {text}")

    def alike(self, part: str, name: str, found: Any, expected: Any, source: str, advice: str) -> None:
        """Raise UserError unless both have the same leaves, of the same shapes and dtypes.

        `source`: whose leaves the expected ones are.
        """
        if type(found) is not type(expected):
            raise self.error(part, f"returns {_kind(found)} as {name}, expected {_kind(expected)}; {advice}")
        ours, theirs = ({name + at: leaf for at, leaf in _by_place(of)} for of in (found, expected))
        if lacking := [at for at in theirs if at not in ours]:
            raise self.error(part, f"lacks {_some(lacking)} of {source}; {advice}")
        if beyond := [at for at in ours if at not in theirs]:
            meant = nearest(beyond[0], theirs)
            raise self.error(part, f"returns {_some(beyond)}{meant}, which is not in {source}; leave it out")
        for at, leaf in ours.items():
            if (leaf.shape, leaf.dtype) != (theirs[at].shape, theirs[at].dtype):
                differs = f"returns {at} as {self._text(leaf)}, expected {self._text(theirs[at])}"
                raise self.error(part, f"{differs}{f', as in {source}' if source else ''}; {advice}")
        if jax.tree.structure(found) != jax.tree.structure(expected):  # type: ignore[operator]
            raise self.error(part, f"returns {name} in containers of other types than {source}; {advice}")

    def _text(self, leaf: Any) -> str:
        sizes = ("K" if size == self.clients else str(size) for size in leaf.shape)
        return f"{leaf.dtype.name}[{', '.join(sizes)}]"


def _unlike(task: Task) -> int:
    """A number of clients that nothing else has, so that no axis is taken for another."""
    taken = {task.num_clients, task.num_classes, task.training.batch_size, *task.inputs.shape}
    taken |= {size for leaf in task.leaf_shapes().values() for size in leaf.shape}
    return next(count for count in itertools.count(3) if count not in taken)


def _batch(task: Task) -> Batch:
    """Shapes of a local step's examples."""
    size, like = task.training.batch_size, task.inputs.example
    x = jax.ShapeDtypeStruct((size, *task.inputs.shape), like.dtype)
    y = x.shape if task.inputs.each_position else (size, *task.targets.label_shape(task.num_classes))
    kinds = (y, task.targets.dtype), ((), np.int32), ((size,), np.int32)
    labels, step, positions = (jax.ShapeDtypeStruct(*kind) for kind in kinds)
    return Batch(x, labels, jax.ShapeDtypeStruct((size,), np.float32), step, positions)  # type: ignore[arg-type]


def _of_one(leaf: Any) -> Any:
    return jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype)


def _rows_of(leaf: Any, clients: int) -> Any:
    return jax.ShapeDtypeStruct((clients, *leaf.shape), leaf.dtype)


def _by_place(of: Any) -> list[tuple[str, Any]]:
    """Every leaf and where it is, as Python has it: ".shared['params/head/kernel']"."""
    return [(jax.tree_util.keystr(at), leaf) for at, leaf in jax.tree_util.tree_flatten_with_path(of)[0]]


def _kind(value: Any) -> str:
    """ "a dict", "(Carry, Output)"."""
    if type(value) is tuple:
        return f"({', '.join(type(part).__name__ for part in value)})"
    if isinstance(value, jax.ShapeDtypeStruct):
        return f"{value.dtype.name}{list(value.shape)}"
    return f"a {type(value).__name__}"


def _some(places: Sequence[str]) -> str:
    more = len(places) - MOST
    return ", ".join(places[:MOST]) + (f" and {more} more" if more > 0 else "")
