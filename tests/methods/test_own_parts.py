"""Parts of the user's own: what they do, how a folder names them, what is said where they do not fit."""

import flax.linen as nn
import jax
import numpy as np
import optax
import pytest
from flax import nnx
from tiny_run import TINY, Stopped, same_files, same_state, stop_after

from fedtp_jax import Partition, Result, SimulationConfig, UserError, config, from_nnx, simulate
from fedtp_jax.config import Own, name_of
from fedtp_jax.config.load import checked, replaced
from fedtp_jax.config.plain import to_dict
from fedtp_jax.core.identity import identity
from fedtp_jax.data.sources import load
from fedtp_jax.methods import role_method

FEW = {"rounds": 2, "cohort_size": 2}
LISTS = Partition.from_lists([range(0, 40), range(40, 90), range(90, 120)], [[0, 1], [2], [3, 4]])


class Tiny(nn.Module):
    @nn.compact
    def __call__(self, x, train=False):
        return nn.Dense(10, name="head")(x.reshape(len(x), -1))


class TinyNnx(nnx.Module):
    def __init__(self, rngs):
        self.head = nnx.Linear(64, 10, rngs=rngs)

    def __call__(self, x):
        return self.head(x.reshape(len(x), -1))


def heads_stay(task):
    return role_method(task, [("personal", ("kernel",)), ("shared", (".",))])


def plain_sgd(learning_rate):
    return optax.sgd(learning_rate, momentum=0.9)


def test_own_parts_that_say_the_same_give_the_same():
    """The built-in method, partition and optimizer, written by hand: the same bits."""
    own = simulate(
        model=Tiny(),
        method=heads_stay,
        partition=LISTS,
        training={**FEW, "optimizer": plain_sgd},
        checkpoint=config.Checkpoint(every=1),
    )
    theirs = simulate(model=Tiny(), method=config.FedPer(personal=("kernel",)), partition=LISTS, training=FEW)
    same_state(own.state, theirs.state)
    assert own.clients["train_examples"].tolist() == [40, 50, 30]


def test_nnx_and_linen_agree():
    linen, module = Tiny(), from_nnx(TinyNnx)
    x = load(config.Digits()).test.x[:5] / np.float32(255)
    variables = module.init(jax.random.key(0), x)
    np.testing.assert_allclose(module.apply(variables, x), linen.apply(variables, x), rtol=1e-6)
    result = simulate(model=module, method="fedper", partition=LISTS, training=FEW)
    variables = result.variables(1)
    assert variables["params"]["head"]["kernel"].shape == (64, 10)


def test_a_run_of_own_parts_resumes_from_python_alone(tmp_path):
    parts = {"model": Tiny(), "method": heads_stay, "partition": LISTS}
    training = {"training": {**FEW, "rounds": 4}, "checkpoint": {"every": 2}}
    whole = simulate(**parts, **training, out=tmp_path / "whole")
    with pytest.raises(Stopped):
        simulate(**parts, **training, out=tmp_path / "run", on_round=stop_after(2))
    file = tmp_path / "run" / "config.yaml"
    with pytest.raises(UserError, match=r"method: .*heads_stay was given from Python"):
        simulate(file, model=Tiny(), partition=LISTS, out=tmp_path / "run", resume=True)
    with pytest.raises(UserError, match=r"method\.name: 'heads_stay' there, 'fedavg' here"):
        simulate(file, **{**parts, "method": "fedavg"}, out=tmp_path / "run", resume=True)
    simulate(file, **parts, out=tmp_path / "run", resume=True)
    same_files(tmp_path / "whole", tmp_path / "run")
    same_state(Result.load(tmp_path / "run", **parts).state, whole.state)


def halved(round):
    return 0.5**round


def test_a_schedule_of_the_users_own_is_what_it_gives_and_resumes_from_python(tmp_path):
    training = {"rounds": 4, "cohort_size": 2, "warmup_rounds": 2}
    settings = {"model": Tiny(), "method": "fedper", "partition": LISTS, "checkpoint": {"every": 1}}

    def run(schedule, **options):
        return simulate(**settings, training={**training, "schedule": schedule}, **options)

    whole = run(halved, out=tmp_path / "whole")
    same_state(whole.state, run(config.Exponential(0.5)).state)
    with pytest.raises(Stopped):
        run(halved, out=tmp_path / "run", on_round=stop_after(2))
    file, parts = tmp_path / "run" / "config.yaml", {"model": Tiny(), "partition": LISTS}
    with pytest.raises(
        UserError, match=r"training\.schedule: halved was given from Python.*\{'schedule': \.\.\.\}"
    ):
        simulate(file, **parts, out=tmp_path / "run", resume=True)
    with pytest.raises(UserError, match=r"training\.schedule\.name: 'halved' there, 'constant' here"):
        simulate(file, **parts, training={"schedule": "constant"}, out=tmp_path / "run", resume=True)
    own = {**parts, "training": {"schedule": halved}}
    simulate(file, **own, out=tmp_path / "run", resume=True)
    same_files(tmp_path / "whole", tmp_path / "run")
    same_state(Result.load(tmp_path / "run", **own).state, whole.state)
    assert checked(SimulationConfig(training=config.Training(schedule=halved))).training.schedule == Own.part(
        halved
    )


def test_a_schedule_that_cannot_be_is_refused_before_anything_runs(tmp_path):
    def ends(round):
        return 1.0 - round

    for method, message in (
        ("fedavg", r"schedule: test_.*ends gives -1.0 for round 2, expected a finite number, at least 0"),
        ("scaffold", r"schedule: gives 0 for round 1 \(from 0\), but scaffold divides by the learning rate"),
    ):
        rounds, plain = 2 + (method == "fedavg"), config.Optimizer("sgd")
        training = config.Training(rounds=rounds, cohort_size=2, schedule=ends, optimizer=plain)
        with pytest.raises(UserError, match=f"training.{message}"):
            simulate(method=method, partition=LISTS, training=training, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_leaves_beside_the_model_train_and_have_keys_of_their_own():
    """Two scalars of each client, drawn at random, that shift and scale the logits."""

    def scaled(task):
        def objective(task, output, leaves, shared, row, batch):
            return task.loss(leaves["own/scale"] * output.logits + leaves["own/shift"], batch)

        draw = {"own/scale": jax.random.normal, "own/shift": jax.random.normal}
        return role_method(task, [("shared", (".",))], objective=objective, extra=draw)

    result = simulate(TINY, method=scaled, training={"rounds": 2, "cohort_size": 3})
    rows, trained = result.state.rows, result.state.rows.trained > 0
    initial = simulate(TINY, method=scaled, training={"rounds": 1, "cohort_size": 1}).state.rows
    ids = np.arange(6)
    scale, shift = (initial.take(ids)[path] for path in ("own/scale", "own/shift"))
    assert len({*scale.tolist(), *shift.tolist()}) == 12, "a key for each client and leaf"
    moved = rows.take(ids)["own/scale"] != scale
    assert moved[trained].all() and not moved[~trained & (initial.trained == 0)].any()


def test_a_wrong_role_is_named():
    rules = [("persnal", ("head/",)), ("shared", (".",))]
    with pytest.raises(UserError, match=r"rules: got the role 'persnal' \(did you mean 'personal'\?\)"):
        simulate(method=lambda task: role_method(task, rules), partition=LISTS, training=FEW)


def test_the_text_of_a_part():
    assert Own.part(heads_stay).of == "heads_stay"
    assert Own.part(Tiny()).of == "Tiny()"
    assert Own.part(LISTS).of == "Partition"
    assert Own.part(from_nnx(TinyNnx)).of == "from_nnx(test_own_parts.TinyNnx)"
    assert to_dict(replaced(None, {"method": heads_stay}))["method"] == {
        "name": "heads_stay",
        "of": "heads_stay",
        "identity": identity(heads_stay),
    }
    assert [name_of(Own.part(part)) for part in (heads_stay, Tiny())] == ["heads_stay", "Tiny"]
    assert checked(SimulationConfig(model=Tiny())) == replaced(None, {"model": Tiny()})


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"method": lambda task: "fedavg"}, "returned a str, expected a Method"),
        ({"training": {"optimizer": lambda lr: optax.sgd}}, "training.optimizer: .* cannot be used"),
        ({"model": 3}, "model: got 3; choose one of vit"),
        ({"partition": [[0, 1]]}, r"partition: got \[\[0, 1\]\]; choose one of iid"),
        (
            {"partition": Partition.from_lists([[0, 1], [5]], [[0], [9999]])},
            "test indices run from 0 to 9999",
        ),
    ],
)
def test_what_does_not_fit_is_said(keywords, message):
    with pytest.raises(UserError, match=message):
        simulate(**{"training": FEW, **keywords})


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        ([[0, 1]], [[0], [1]], "test: 2 lists, but train has 1"),
        ([[0.5]], [[0]], r"train: client 0 has \[0\.5\] \(float64"),
        ([[[0], [1]]], [[0]], r"train: client 0 has .*\(int64, shape \[2, 1\]\)"),
    ],
)
def test_lists_that_are_no_partition(train, test, message):
    with pytest.raises(UserError, match=message):
        Partition.from_lists(train, test)


def test_early_stopping_is_an_evaluation_that_returns_true(tmp_path):
    heard = []

    def enough(progress):
        heard.append((progress.round, progress.row["test_accuracy"]))
        return progress.round >= 4

    settings = {"training": {**FEW, "rounds": 9}, "evaluation": {"every": 2}, "partition": LISTS}
    result = simulate(model=Tiny(), method="fedavg", **settings, out=tmp_path / "run", on_evaluation=enough)
    assert [round for round, _ in heard] == [2, 4]
    assert result.history["round"].max() == 4
    assert result.history["test_accuracy"].dropna().tolist() == [accuracy for _, accuracy in heard]
    assert (tmp_path / "run" / "report.html").is_file()
    written = {"model": Tiny(), "partition": LISTS, "out": tmp_path / "run"}
    again = simulate(tmp_path / "run" / "config.yaml", **written, resume=True)
    assert again.history["round"].max() == 4  # it is finished: the stop is part of the run
    again = simulate(tmp_path / "run" / "config.yaml", **written, resume="further")
    assert again.history["round"].max() == 9  # and somebody else may go on
