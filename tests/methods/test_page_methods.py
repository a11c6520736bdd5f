"""Methods of docs/own_parts.md, as a user would copy them, beside the built-in Ditto and a plain FedDyn."""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from flax import linen as nn
from method_cases import MODELS, TRAINING, federation
from pages import blocks
from paths import ROOT
from tiny_run import same_state

from fedtp_jax import Partition, from_arrays, simulate

SIZES, COHORTS = (8, 16, 12, 20), [[0, 1], [1, 2, 3], [0, 3], [0, 1, 2, 3], [2, 3]]
RATE, ALPHA, STEPS = 0.2, 0.3, 5


@pytest.fixture(autouse=True)
def copied(tmp_path, monkeypatch):
    """The page's files lie in the working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("mylab", "mydyn"):
        page = blocks(ROOT / "docs" / "own_parts.md", "bash")
        (block,) = [text for _, text in page if text.startswith(f"cat > {name}.py")]
        Path(f"{name}.py").write_text(block.partition("\n")[2].partition("END_OF_FILE")[0])
        sys.modules.pop(name, None)


def test_ditto_is_the_built_in_one():
    data, partition = federation("cnn_bn")
    settings = {"data": data, "partition": partition, "model": MODELS["cnn_bn"], "training": TRAINING}
    own, built_in = (
        simulate(**settings, method={"name": name, "penalty": 0.5}) for name in ("mylab:ditto", "ditto")
    )
    same_state(own.state, built_in.state)
    pd.testing.assert_frame_equal(own.history, built_in.history)
    pd.testing.assert_frame_equal(own.clients, built_in.clients)


class Linear(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(3, name="layer")(x)


def test_feddyn_is_its_algorithm():
    random = np.random.default_rng(0)
    y = random.integers(0, 3, 64)
    x = (random.normal(size=(64, 4)) + y[:, None]).astype(np.float32)
    ends = np.cumsum(SIZES)
    shards = [np.arange(end - size, end) for end, size in zip(ends, SIZES, strict=True)]
    settings = {
        "data": from_arrays(x[:56], y[:56], x[56:], y[56:], standardize="none"),
        "partition": Partition.from_lists(shards, [[2 * k, 2 * k + 1] for k in range(4)]),
        "model": Linear(),
        "training": {
            **{"learning_rate": RATE, "local_steps": STEPS, "batch_size": 64, "weight_decay": 0.0},
            **{"optimizer": "sgd", "participation": {"cohorts": COHORTS}},
        },
    }
    result = simulate(
        **{**settings, "training": {**settings["training"], "rounds": len(COHORTS)}},
        method={"name": "mydyn:feddyn", "alpha": ALPHA},
    )
    still = {**settings["training"], "rounds": 1, "learning_rate": 1e-30}
    first = simulate(**{**settings, "training": still}, method="fedavg").state.shared
    w, h_server, h = plain_feddyn(first, [(x[shard], y[shard]) for shard in shards])
    rows = result.state.rows.take(np.arange(4))
    for path, leaf in w.items():
        np.testing.assert_allclose(result.state.shared[path], leaf, atol=2e-6)
        np.testing.assert_allclose(result.state.shared[f"h/{path}"], h_server[path], atol=2e-6)
        for client in range(4):
            np.testing.assert_allclose(rows[f"h/{path}"][client], h[client][path], atol=2e-6)
    assert set(result.variables(0)["params"]) == {"layer"}


def plain_feddyn(w, clients):
    """Algorithm 1 of Acar et al., 2021, with a mean by the clients' examples, as the server takes it here."""

    def loss(w, x, y):
        log_p = jax.nn.log_softmax(x @ w["params/layer/kernel"] + w["params/layer/bias"])
        return -jnp.take_along_axis(log_p, y[:, None], 1).mean()

    gradient, w = jax.grad(loss), {path: np.asarray(leaf, np.float64) for path, leaf in w.items()}
    h = [{path: np.zeros_like(leaf) for path, leaf in w.items()} for _ in clients]
    h_server = {path: np.zeros_like(leaf) for path, leaf in w.items()}
    for cohort in COHORTS:
        returned, share = [], np.array([SIZES[k] for k in cohort]) / sum(SIZES[k] for k in cohort)
        for k in cohort:
            v = dict(w)
            for _ in range(STEPS):
                slope = gradient(
                    {path: jnp.asarray(leaf, jnp.float32) for path, leaf in v.items()}, *clients[k]
                )
                v = {p: v[p] - RATE * (np.asarray(slope[p]) - h[k][p] + ALPHA * (v[p] - w[p])) for p in v}
            h[k] = {p: h[k][p] - ALPHA * (v[p] - w[p]) for p in v}
            returned.append(v)
        h_server = {p: h_server[p] - ALPHA / len(clients) * sum(v[p] - w[p] for v in returned) for p in w}
        mean = {p: sum(s * v[p] for s, v in zip(share, returned, strict=True)) for p in w}
        w = {p: mean[p] - h_server[p] / ALPHA for p in w}
    return w, h_server, h
