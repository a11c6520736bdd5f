"""A method of the user's own, held to what every method owes before anything is trained with it."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fedtp_jax.core import tree
from fedtp_jax.core.errors import nearest
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
from fedtp_jax.learning.own_checks import Checks, kind_of
from fedtp_jax.learning.roles import ROLES
from fedtp_jax.learning.task import Output, Task

NUMBER = jax.ShapeDtypeStruct((), jnp.float32)


def check_own_method(task: Task, method: Method, called: str) -> None:
    """Raise UserError unless the functions of a method fit together, called as a round calls them.

    They are traced: nothing is computed or compiled. What it mixes is looked at where the size of a cohort is
    known. `called`: what it is in messages, such as "mylab:ditto".
    """
    checks = Checks(called, _unlike(task))
    _check_record(checks, method)
    state = _initial(checks, method)
    _check_training(checks, task, method, state)
    _check_use(checks, task, method, state)
    _check_counted(checks, task, method, state)
    _check_embeddings(checks, task, method, state)


def _check_record(checks: Checks, method: Method) -> None:
    """Raise UserError for parts of another kind."""
    maybe = {"description": Description, "mix": Mix, "counted": Counted}
    kinds: dict[str, Any] = {"work": ClientWork, "prelude": Prelude}
    kinds |= {part: (kind, type(None)) for part, kind in maybe.items()}
    for part, kind in kinds.items():
        if not isinstance(value := getattr(method, part), kind):
            expected = kind if isinstance(kind, type) else kind[0]
            more = "; give local_training(...).work" if part == "work" else ""
            raise checks.error(part, f"is {kind_of(value)}, expected a {expected.__name__}{more}")
    for path, role in method.roles.items():
        if role not in ROLES:
            raise checks.error(
                "roles", f"give {path!r} {role!r}{nearest(str(role), ROLES)}; choose {', '.join(ROLES)}"
            )
    mix = method.mix or Mix(lambda *_: {}, (), ())
    tuples = {"only_training": method.only_training, "mix.up": mix.up, "mix.down": mix.down}
    for part, begins in (tuples | {"counted.paths": (method.counted or Counted((), dict)).paths}).items():
        if not isinstance(begins, tuple):
            raise checks.error(part, f"is {begins!r}, expected a tuple of beginnings of paths")


def _initial(checks: Checks, method: Method) -> State:
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


def _check_training(checks: Checks, task: Task, method: Method, state: State) -> None:
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


def _check_rows(checks: Checks, method: Method, state: State, kept: Kept, new: Any) -> None:
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


def _check_use(checks: Checks, task: Task, method: Method, state: State) -> None:
    """What clients run in every test."""
    shared, rows = method.run_by_clients(state.shared), method.run_by_clients(own(state.rows))
    made = checks.trace("realize", method.realize, shared, state.generator, rows)
    checks.leaves("realize", "leaves", made, by_client=True)
    leaves, batch = {**shared, **{path: _of_one(leaf) for path, leaf in made.items()}}, _batch(task)
    output = checks.record("predict", Output, method.predict, leaves, batch.x)
    each = batch.x if task.inputs.each_position else batch.mask
    logits = jax.ShapeDtypeStruct((*each.shape, task.num_classes), jnp.float32)
    checks.alike("predict", "logits", output.logits, logits, "", "return one of each class by example")


def _check_embeddings(checks: Checks, task: Task, method: Method, state: State) -> None:
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


def _check_counted(checks: Checks, task: Task, method: Method, state: State) -> None:
    """What clients know by how many examples of each class they hold."""
    if not method.counted:
        return
    rows = {path: leaf for path, leaf in own(state.rows).items() if path != EMBEDDING}
    if unknown := [path for path in method.counted.paths if path not in rows]:
        hint = nearest(unknown[0], rows)
        raise checks.error("counted.paths", f"name {unknown[0]!r}{hint}, which is no own leaf of init")
    counts = jax.ShapeDtypeStruct((checks.clients, task.num_classes), np.float32)
    expected = {path: rows[path] for path in method.counted.paths}
    found = checks.trace("counted.of", method.counted.of, counts)
    checks.alike("counted.of", "leaves", found, expected, "counted.paths", "return these")


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
