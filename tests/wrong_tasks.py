"""Wrong tasks: labels of another kind than the settings say, and what has no meaning for them."""

import json

import numpy as np
from wrong_settings import given

from fedtp_jax import compare, from_arrays, load_data, simulate

X = np.random.default_rng(3).normal(size=(40, 4)).astype(np.float32)
NUMBERS, SEVERAL = X[:, :2] * 3, X[:, :3] > 0
WITH_NAN = np.where(np.arange(40) % 20 == 7, np.nan, X[:, 0])


def data(y, task, **options):
    return lambda: lambda: from_arrays(X, y, task=task, **options)


def run(task, y=NUMBERS, made=None, **settings):
    """A run on numbers, or on what `made` says they are."""

    def case():
        groups = None if "partition" in settings else np.arange(40) % 3
        own = from_arrays(X, y, task=made or task["kind"], groups=groups)
        model, training = {"name": "mlp", "layers": 0}, {"rounds": 1, "cohort_size": 3}
        told = {"partition": "natural", "model": model, "training": training, "method": "fedavg", **settings}
        return lambda out="run": simulate(data=own, task=task, out=out, **told)

    return case


def compared(metric=None):
    def case():
        runs = [
            run({"kind": kind}, y=y)()(None) for kind, y in (("regression", NUMBERS), ("multilabel", SEVERAL))
        ]
        return lambda: compare(runs[:1] if metric else runs, metric)

    return case


def table(label, kind, **settings):
    """A CSV file with two columns of numbers."""
    text = "age,days,cost,ill\n" + "".join(f"{k},{k / 3},{k * 2},{k % 2}\n" for k in range(20))
    section = {"name": "table", "file": "stays.csv", "label": label, **settings}
    overrides = f"'data={json.dumps(section)}' task.kind={kind} partition=iid"
    return given(overrides, {"stays.csv": text})


REGRESSION, MULTILABEL = {"kind": "regression"}, {"kind": "multilabel"}
LABELS = {
    "`from_arrays(x, y, task='ranking')`": data(NUMBERS, "ranking"),
    "`load_data('digits', task='ranking')`": lambda: lambda: load_data("digits", task="ranking"),
    "`task='regression'`, texts": data(np.repeat(["a", "b"], 20), "regression"),
    "`task='regression'`, booleans": data(SEVERAL, "regression"),
    "`task='regression'`, NaN in two rows": data(WITH_NAN, "regression"),
    "`task='regression'`, three axes": data(np.zeros((40, 2, 2)), "regression"),
    "`task='regression'`, too few numbers": data(NUMBERS[:30], "regression"),
    "`task='regression'` and `num_classes=3`": data(NUMBERS, "regression", num_classes=3),
    "`task='regression'`, `y_test` of another width": data(NUMBERS, "regression", x_test=X, y_test=X[:, :1]),
    "`task='multilabel'`, one column": data(SEVERAL[:, 0], "multilabel"),
    "`task='multilabel'`, numbers": data(NUMBERS, "multilabel"),
    "numbers as labels": data(X[:, 0], "classification"),
    "rows of several ones as labels": data(SEVERAL, "classification"),
    "`label: [days, cost]`, but classes": table(["days", "cost"], "classification"),
    "`label: [days, days]`": table(["days", "days"], "regression"),
    "`label: []`": table([], "regression"),
    "`label: [days, coast]`": table(["days", "coast"], "regression"),
    "`label: [ill, age]`, multilabel": table(["ill", "age"], "multilabel"),
}
SETTINGS = {
    "`task.kind=ranking`": given("task.kind=ranking"),
    "`task.loss=absolute_error` of classes": given("task.loss=absolute_error"),
    "`task.kind=regression task.loss=cross_entropy`": given("task.kind=regression task.loss=cross_entropy"),
    "`task.kind=regression` of digits": given("task.kind=regression"),
    "`task.kind=regression`, class weights": given("task.kind=regression task.class_weights=balanced"),
    "`task.kind=multilabel`, smoothing": given("task.kind=multilabel task.label_smoothing=0.1"),
    "`task.kind=regression`, neighbours": given("task.kind=regression evaluation.knn.weight=0.5"),
    "`evaluation.metrics=[r2]` of classes": given("'evaluation.metrics=[r2]'"),
    "`task.kind=regression evaluation.metrics=[accuracy]`": given(
        "task.kind=regression 'evaluation.metrics=[accuracy]'"
    ),
    "`task.kind=regression checkpoint.best=val_accuracy`": given(
        "task.kind=regression checkpoint.best=val_accuracy"
    ),
    "`task.kind=regression training.stop.patience=2`": given("task.kind=regression training.stop.patience=2"),
    "`checkpoint.best=val_mae` of classes": given("checkpoint.best=val_mae"),
}
RUNS = {
    "data of numbers, `task` unset": run({}, made="regression"),
    "data of numbers, `kind: multilabel`": run(MULTILABEL, made="regression"),
    "regression, `partition: dirichlet`": run(REGRESSION, partition={"name": "dirichlet", "clients": 3}),
    "regression by `fedproto`": run(REGRESSION, method="fedproto"),
    "regression by `fedrod`": run(REGRESSION, method="fedrod"),
    "regression by `fedtp_rod`": run(
        REGRESSION, method="fedtp_rod", model={"name": "transformer", "dim": 4, "heads": 1, "dim_head": 4}
    ),
    "several labels by `fedpac`": run(
        MULTILABEL, y=SEVERAL, method="fedpac", training={"rounds": 1, "cohort_size": 3, "local_epochs": 2}
    ),
    "`compare` of a regression and of several labels": compared(),
    "`compare(regression, 'accuracy')`": compared("accuracy"),
    "`compare(regression, 'adapted_mae')`": compared("adapted_mae"),
}

KINDS = {"Labels of another task": LABELS, "Settings of a task": SETTINGS, "Runs of other tasks": RUNS}
