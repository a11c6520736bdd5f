"""The authors' PyTorch code, round by round, at the tolerances that its fixtures' README advises."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from marks import every_day
from parity import LOGITS, LOSSES, load
from parity_runs import RUNS, Fixture

from fedtp_jax import config
from fedtp_jax.engine.lanes import Batch, Facts, Row
from fedtp_jax.learning.task import Output, Task
from fedtp_jax.methods.fedproto import CLIENTS, PROTOTYPES, prototype_distances
from fedtp_jax.methods.fedrod import balanced_objective

WEIGHTED = "fedtp_vit", "fedtp_transformer", "pfedme_vit", "fedbn_cnnb"  # one rule for all methods
EVERY_DAY = "fedtp_vit", "fedtp_transformer"
LAYOUTS = [
    *((name, {}) for name in RUNS),
    ("fedtp_vit", {"devices": 2}),
    ("fedtp_rod_vit", {"lanes": 2}),
    ("fedproto_vit", {"wave_size": 2}),
    ("pfedme_vit", {"devices": 2, "wave_size": 2}),
]


@pytest.mark.parametrize(("name", "layout"), every_day(LAYOUTS, [(name, {}) for name in EVERY_DAY]), ids=str)
def test_parity_run(name, layout):
    run = Fixture(name, **layout)
    npz, n = run.npz, run.n
    state = run.init()
    predict = jax.jit(run.method.predict)
    widest = int(run.simulator.partition.test.sizes.max())  # one shape, one compile
    for round, cohort in enumerate(run.cohorts):
        batches = [run.batches(round, k) for k in cohort]
        state, result = run.simulator.round(state, round, run.waves(cohort, batches))
        run.check_state(state, round)
        np.testing.assert_allclose(
            result.train_loss, mean_loss(run, round, cohort, batches), atol=LOSSES, rtol=0
        )

        shared, rows = run.method.variables(state._replace(rows=run.rows(state)))
        for k in range(n):
            own = {p: leaf[k] for p, leaf in rows.items()}
            x = run.inputs("test", k)
            logits = predict({**shared, **own}, np.resize(x, (widest, *x.shape[1:]))).logits[: len(x)]
            expected = npz[f"expect/test_logits/{k}"][round]
            if run.text:
                expected = expected.swapaxes(-1, -2)
            if name.startswith("fedproto"):
                expected = -expected  # distances, of which the smallest wins
            np.testing.assert_allclose(logits, expected, atol=LOGITS, rtol=0)
        sums = run.simulator.evaluate(state)
        np.testing.assert_allclose(sums.measured, npz["expect/test_correct"][round], atol=1e-5, rtol=0)
        pooled = sums.measured.sum() / sums.examples.sum()
        np.testing.assert_allclose(pooled, npz["expect/test_avg_acc"][round], atol=1e-6, rtol=0)


def mean_loss(run, round, cohort, batches):
    """The fixture's losses of all local steps, by example.

    FedRod types list the model's and the head's loss of each batch, pFedMe those of all inner steps.
    """
    losses = [run.npz[f"expect/train_loss/{round}/{k}"] for k in cohort]
    counts = [part.valid for part in batches]
    if "rod" in run.c["name"]:
        losses = [part[::2] for part in losses]
    if "inner_steps" in run.c:
        losses = [part.reshape(-1, run.c["inner_steps"]).mean(1) for part in losses]
    return np.average(np.concatenate(losses), weights=np.concatenate(counts))


@pytest.mark.parametrize("name", every_day(WEIGHTED, EVERY_DAY))
def test_parity_weights(name):
    run = Fixture(name)
    for round, cohort in enumerate(run.cohorts):
        (prepared,) = run.waves(cohort, [run.batches(round, k) for k in cohort])
        wave = prepared.wave
        weights = np.asarray(wave.facts.weight).tolist()
        weight = dict(zip(np.asarray(wave.ids).tolist(), weights, strict=True))
        np.testing.assert_allclose([weight[k] for k in cohort], run.npz["expect/p"][round], atol=1e-6, rtol=0)


@pytest.mark.parametrize("case", every_day(["official128", "own_dim", "k5", "half"], ["official128", "half"]))
def test_parity_knn(case):
    c = load("fedtp_knn_vit")[1]["cases"][case]
    knn = config.Knn(weight=c["knn_weight"], neighbors=c["k_value"], capacity=c["capacity_ratio"])
    run = Fixture(
        "fedtp_knn_vit",
        method=config.Vanilla(),  # the personalised models are given, not a hypernetwork
        evaluation=config.Evaluation(knn=knn, batch_size=8),
        compat="reference" if case == "official128" else "none",
    )
    evaluator, npz = run.simulator.evaluators.test, run.npz
    if case == "half":
        chosen = {k: np.asarray(npz[f"expect/half/stored/{k}"]) for k in range(run.n)}
        for k, kept in chosen.items():
            assert len(evaluator.stored_positions(k)) == len(kept)
        evaluator.stored_positions = lambda k: run.shards[k][chosen[k]]
    sums = run.simulator.evaluate(run.init())
    for k in range(run.n):
        assert sums.measured[k] == npz[f"expect/{case}/correct/{k}"]
    y = [npz[f"data/{k}/test/y"] for k in range(run.n)]
    outputs = [npz[f"expect/{case}/outputs/{k}"] for k in range(run.n)]
    losses = [-np.log(p[np.arange(len(y_k)), y_k]).sum() for p, y_k in zip(outputs, y, strict=True)]
    np.testing.assert_allclose(sums.loss / sums.examples, losses / sums.examples, atol=LOSSES, rtol=0)


def test_parity_balanced_softmax():
    npz, _ = load("models_forward")
    logits, y = npz["balanced_softmax/logits"], jnp.asarray(npz["balanced_softmax/y"])
    task = Task(None, None, 10, 1, config.Training())
    facts = Facts(*[jnp.zeros(())] * 5, jnp.asarray(npz["balanced_softmax/frequency"]))
    batch = Batch(jnp.asarray(logits), y, jnp.ones(len(y)), jnp.zeros((), int), jnp.arange(len(y)))
    loss = balanced_objective(task, Output(jnp.asarray(logits), None, {}), {}, {}, Row({}, facts), batch)
    np.testing.assert_allclose(loss, npz["balanced_softmax/loss"], atol=LOSSES, rtol=0)


def test_parity_prototype_distances():
    npz, _ = load("models_forward")
    protos = npz["prototypes/protos"]
    known = ~np.isnan(protos).any(1)
    leaves = {PROTOTYPES: jnp.asarray(np.nan_to_num(protos)), CLIENTS: jnp.asarray(known.astype(np.float32))}
    distances = prototype_distances(jnp.asarray(npz["prototypes/features"]), leaves)
    np.testing.assert_allclose(distances, npz["prototypes/distance"], atol=LOGITS, rtol=0)
