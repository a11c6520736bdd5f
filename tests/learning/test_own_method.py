"""A method of the user's own is held to what it owes before anything is trained, with one message each."""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest

from fedtp_jax import UserError, config, from_arrays, simulate
from fedtp_jax.learning.own_method import check_own_method
from fedtp_jax.methods import Mix, Task, local_training, role_method
from fedtp_jax.models.inputs import Inputs

RULES = [("fixed", ("body/bias",)), ("personal", ("head/",)), ("shared", (".",))]
OWN, SHARED = "params/head/bias", "params/body/kernel"


class Net(nn.Module):
    @nn.compact
    def __call__(self, x, train=False):
        return nn.Dense(3, name="head")(nn.relu(nn.Dense(4, name="body")(x)))


TASK = Task(Net(), Inputs("features", (6,)), 3, 2, config.Training(batch_size=4))
METHOD = role_method(TASK, RULES)
STEPS = local_training(TASK, METHOD.roles)


def changed(part, change):
    """The method, of which one function's result is changed."""
    if part.startswith("work."):
        name = part.removeprefix("work.")
        made = getattr(METHOD.work, name)
        return METHOD._replace(work=METHOD.work._replace(**{name: lambda *given: change(made(*given))}))
    made = getattr(METHOD, part)
    return METHOD._replace(**{part: lambda *given: change(made(*given))})


def without(leaves, path):
    return {other: leaf for other, leaf in leaves.items() if other != path}


def of_upload(change):
    return changed("work.finish", lambda both: (both[0]._replace(shared=change(both[0].shared)), both[1]))


def of_kept(**change):
    return changed(
        "work.finish",
        lambda both: (both[0], both[1]._replace(**{name: to(both[1]) for name, to in change.items()})),
    )


def of_state(part, change, field="shared"):
    return changed(part, lambda state: state._replace(**{field: change(getattr(state, field))}))


def fails(*given):
    return {}["rate"]


def headless(shared, row, carry, batch, key):
    TASK.forward(without({**shared, **row.leaves}, OWN), batch.x)
    return carry


def branches(shared, row, carry, batch, key):
    if batch.step > 3:
        return carry
    return carry


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (METHOD._replace(work=STEPS), "work is a LocalTraining, expected a ClientWork; give .*work"),
        (METHOD._replace(mix=("head/",)), r"mix is \(str\), expected a Mix"),
        (METHOD._replace(prelude=3), "prelude is a int, expected a Prelude"),
        (METHOD._replace(only_training="head/"), "only_training is 'head/', expected a tuple"),
        (METHOD._replace(mix=Mix(fails, ["head/"], ())), r"mix.up is \['head/'\], expected a tuple"),
        (
            METHOD._replace(only_training=("params/haed/",)),
            r"only_training 'params/haed/' begins the path of no shared leaf and no row.*params/head/kernel",
        ),
        (
            METHOD._replace(roles={**METHOD.roles, OWN: "persnal"}),
            r"roles give 'params/head/bias' 'persnal' \(did you mean 'personal'\?\)",
        ),
        (changed("init", tuple), r"init returns \(dict, dict, .*\), expected a State"),
        (
            of_state("init", lambda leaves: [*leaves.values()]),
            "init returns a list as state.shared, expected {path: array}",
        ),
        (of_state("init", lambda leaves: {"w": leaves}), r"init returns a dict as state.shared\['w'\]"),
        (
            of_state("init", lambda rows: {path: row[0] for path, row in rows.items()}, "rows"),
            r"init returns state.rows\['params/head/bias'\] as float32\[3\], expected a row for each of K",
        ),
        (changed("send", lambda sent: sent[0]), r"send returns a dict, expected \(dict, dict\)"),
        (changed("work.start", fails), r"work.start fails \(KeyError: 'rate', test_own_method.py line \d+\)"),
        (
            METHOD._replace(work=METHOD.work._replace(step=STEPS.step)),
            r"work.step returns \(Carry, Output\) as carry, expected a Carry; .* return the first of the two",
        ),
        (
            changed("work.step", lambda carry: carry.leaves),
            "work.step returns a dict as carry, expected a Carry",
        ),
        (
            changed("work.step", lambda carry: carry._replace(leaves=without(carry.leaves, OWN))),
            r"work.step lacks carry.leaves\['params/head/bias'\] of what work.start gives",
        ),
        (
            changed("work.step", lambda carry: carry._replace(loss=carry.loss.astype(jnp.bfloat16))),
            r"work.step returns carry.loss as bfloat16\[\], expected float32\[\], as in what work.start",
        ),
        (
            METHOD._replace(work=METHOD.work._replace(step=headless)),
            r"work.step fails \(ScopeParamNotFoundError: .* line \d+\); hand the model all of its leaves",
        ),
        (
            METHOD._replace(work=METHOD.work._replace(step=branches)),
            r"work.step fails \(TracerBoolConversionError: .*, test_own_method.py line \d+\); mend it",
        ),
        (
            changed("work.finish", lambda both: both[::-1]),
            r"returns \(Kept, Upload\), expected \(Upload, Kept\)",
        ),
        (
            of_upload(lambda leaves: {}),
            r"work.finish lacks upload.shared\['params/body/kernel'\] of state.shared of init; upload all",
        ),
        (
            of_upload(lambda leaves: {**leaves, "server_h/kernel": leaves[SHARED]}),
            r"work.finish returns upload.shared\['server_h/kernel'\].*, which is not in state.shared of init",
        ),
        (
            of_upload(lambda leaves: {**leaves, SHARED: leaves[SHARED].sum(0)}),
            r"upload.shared\['params/body/kernel'\] as float32\[4\], expected float32\[6, 4\]",
        ),
        (
            of_kept(personal=lambda kept: {}),
            r"lacks kept.personal\['params/head/bias'\], kept.personal\['params/head/kernel'\] of state.rows",
        ),
        (
            of_kept(personal=lambda kept: {**kept.personal, "own": kept.loss}),
            r"work.finish returns kept.personal\['own'\].*, which is not in state.rows of init; leave it out",
        ),
        (
            of_kept(personal=lambda kept: {path: leaf[:1] for path, leaf in kept.personal.items()}),
            r"work.finish returns kept.personal\['params/head/bias'\] as float32\[1\], expected float32\[3\]",
        ),
        (
            of_kept(cotangent=lambda kept: kept.personal),
            r"returns kept.cotangent\[.*, which is not in what is sent",
        ),
        (of_kept(loss=lambda kept: jnp.zeros(4)), r"returns kept.loss as float32\[4\], expected float32\[\]"),
        (
            of_kept(excluded=lambda kept: kept.loss > 0),
            r"returns kept.excluded as bool\[\], expected float32",
        ),
        (changed("receive", lambda received: received.rows), "receive returns a dict, expected a Received"),
        (
            changed("receive", lambda received: received._replace(rows=without(received.rows, OWN))),
            r"receive lacks rows\['params/head/bias'\] of state.rows of init",
        ),
        (changed("aggregate", lambda state: state.shared), "aggregate returns a dict, expected a State"),
        (
            of_state("aggregate", lambda leaves: without(leaves, SHARED)),
            r"aggregate lacks state.shared\['params/body/kernel'\] of the state that it is given",
        ),
        (
            of_state("aggregate", lambda leaves: {path: leaf[None] for path, leaf in leaves.items()}),
            r"aggregate returns state.shared\['params/body/bias'\] as float32\[1, 4\], expected float32\[4\]",
        ),
        (changed("realize", lambda rows: None), "realize returns a NoneType as leaves"),
        (
            changed("realize", lambda rows: without(rows, OWN)),
            r"predict fails \(ScopeParamNotFoundError: .*hand the model all of its leaves",
        ),
        (
            changed("predict", lambda output: output.logits),
            r"predict returns float32\[4, 3\], expected a Output",
        ),
    ],
)
def test_what_a_method_owes_is_said_before_it_trains(method, message):
    with pytest.raises(UserError, match=f"^method mine: .*{message}"):
        check_own_method(TASK, method, "mine")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"objective": lambda task, output, *_: output.logits.sum(-1)},
            r"the objective <lambda> returns float32\[4\], expected one number",
        ),
        ({"objective": lambda *_: None}, "the objective <lambda> returns a NoneType, expected one number"),
        (
            {"phase": lambda row, batch: batch.step > 0},
            r"the phase <lambda> returns a .*, expected {role: bool}",
        ),
        (
            {"phase": lambda row, batch: {"personal": batch.step > 0}},
            r"the phase <lambda> returns {personal: bool\[\]}, expected {role: bool} of personal and shared",
        ),
    ],
)
def test_what_a_loss_and_a_phase_give_is_looked_at(given, message):
    with pytest.raises(UserError, match=f"^method: {message}"):
        check_own_method(TASK, role_method(TASK, RULES, **given), "mine")


def test_of_learnt_embeddings():
    hyper = config.Hypernetwork(embedding=2, hidden=3, layers=1)
    method = role_method(TASK, [("generated", ("body/kernel",)), ("shared", (".",))], hyper)
    check_own_method(TASK, method, "mine")
    for wrong, message in (
        (method._replace(step_embeddings=lambda rows, _: {}), "step_embeddings lacks rows"),
        (
            method._replace(receive=lambda *given: method.receive(*given)._replace(embeddings={})),
            r"receive lacks embeddings\['client/embedding'\]",
        ),
        (method._replace(work=STEPS.work), "work.finish"),
    ):
        with pytest.raises(UserError, match=f"^method mine: {message}"):
            check_own_method(TASK, wrong, "mine")


@pytest.mark.parametrize(
    ("combine", "message"),
    [
        (fails, r"method.mix: combine fails \(KeyError: 'rate', test_own_method.py line \d+\)"),
        (lambda *_: [], "method.mix.combine: gives a list, expected {'params/head/bias'"),
    ],
)
def test_what_a_mix_does_is_said_with_its_place(combine, message):
    data = from_arrays(np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32), np.arange(40) % 3)
    few = {"partition": {"name": "iid", "clients": 2}, "training": {"rounds": 1, "cohort_size": 2}}

    def mixed(task):
        return role_method(task, RULES)._replace(mix=Mix(combine, (OWN,), (OWN,)))

    with pytest.raises(UserError, match=message):
        simulate(model=Net(), data=data, method=mixed, **few)


def test_a_row_may_be_left_to_what_the_server_combines():
    kept = of_kept(personal=lambda kept: without(kept.personal, OWN))
    check_own_method(TASK, METHOD, "mine")
    check_own_method(TASK, kept._replace(mix=Mix(lambda *_: {}, (OWN,), (OWN,))), "mine")
    with pytest.raises(UserError, match=r"lacks kept.personal\['params/head/bias'\]"):
        check_own_method(TASK, kept, "mine")
