"""Wrong measures: functions that are none, names that are taken, what data or a run do not have."""

import numpy as np
from wrong_runs import DIGITS, OWN, after, load, python

from fedtp_jax import Result, compare, config, from_arrays, simulate


def loss(labels, scores):
    return 1.0


def f1_macro_client_mean(labels, scores):
    return 1.0


def fails(labels, scores):
    return np.linalg.inv(scores[:2])[0, 0]


def gives_two(labels, scores):
    return labels[:2]


def gives_none(labels, scores):
    return None


def measured(*metrics, data=None):
    """A run with these measures."""

    def case():
        settings = config.SimulationConfig(
            partition=config.Iid(clients=2),
            training=config.Training(rounds=1, cohort_size=2),
            model=config.Vit(patch_size=4, dim=8, depth=1, heads=2, dim_head=4, mlp_dim=8),
        )
        return lambda: simulate(settings, evaluation={"metrics": list(metrics)}, data=data, out="run")

    return case


FIVE = from_arrays(DIGITS, np.arange(200) % 5)

MEASURES = {
    "`evaluation={'metrics': [lambda labels, scores: 1.0]}`": measured(lambda labels, scores: 1.0),
    "`evaluation={'metrics': [loss]}`, a function": measured(loss),
    "`evaluation={'metrics': ['f1_macro', f1_macro_client_mean]}`": measured(
        "f1_macro", f1_macro_client_mean
    ),
    "`evaluation={'metrics': [np.float64]}`": measured(np.float64),
    "`evaluation={'metrics': [fails]}`, which raises": measured(fails),
    "`evaluation={'metrics': [gives_two]}`": measured(gives_two),
    "`evaluation={'metrics': [gives_none]}`": measured(gives_none),
    "`evaluation={'metrics': ['top5']}` of five classes": measured("top5", data=FIVE),
    "`result.confusion(6)`": python(Result.confusion, client=6),
    "`result.confusion(data=data)` of other data": python(Result.confusion, data=OWN),
    "`result.classes('north')`": python(Result.classes, client="north"),
    "`compare(result, 'f1')`": after(None, lambda: compare(load(), "f1")),
    "`compare(result, 'f1_macro')`, which it did not measure": after(
        None, lambda: compare(load(), "f1_macro")
    ),
    "`fedtp compare run --metric adapted_ece`, but nobody adapted": after(
        None, "fedtp compare run --metric adapted_ece"
    ),
}

KINDS = {"Measures": MEASURES}
