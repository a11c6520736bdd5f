"""Four sites with numbers, or several labels, to predict; and runs on them."""

import numpy as np

from fedtp_jax import from_arrays, simulate

RNG = np.random.default_rng(5)
SITES = np.repeat(np.arange(4), [30, 22, 26, 18])
X = RNG.normal(size=(96, 5)).astype(np.float32)
SCORES = X @ RNG.normal(size=(5, 3)) + RNG.normal(size=(4, 3))[SITES]
Y = {"regression": 1000 + 20 * SCORES[:, :2] + RNG.normal(size=(96, 2)), "multilabel": SCORES > 0.3}
FURTHER = {"regression": ["r2", "rmse"], "multilabel": ["f1_macro", "auroc", "exact_match"]}
DATA = {
    task: from_arrays(X, y, task=task, groups=[f"site {k}" for k in SITES], standardize="none")
    for task, y in Y.items()
}
TRAINING = {"rounds": 4, "cohort_size": 4, "batch_size": 64, "learning_rate": 0.3, "optimizer": "sgd"}


def run(kind, loss=None, data=None, **settings):
    given = {
        "data": DATA[kind] if data is None else data,
        "task": {"kind": kind, "loss": loss},
        "partition": "natural",
        "model": {"name": "mlp", "layers": 0},
        "method": "fedavg",
        "training": TRAINING,
        "evaluation": {"every": 2, "metrics": FURTHER[kind]},
    }
    return simulate(**{**given, **settings})


def of_clients(split):
    return [(split.x[split.group == k], split.y[split.group == k]) for k in range(4)]
