"""A run with every measure, on clients that have no test example, one class, or none of a class."""

import dataclasses

import numpy as np
from tiny_run import TINY

from fedtp_jax import Partition, config, load_data
from fedtp_jax.evaluation.measures import MEASURES

CLASSES = np.arange(10)
NEVER, ALONE = 9, 3  # a class that no test example is of; the only class of a client's test examples


def brier(labels, scores):
    return np.mean(np.sum((scores - np.eye(scores.shape[1])[labels]) ** 2, axis=1))


brier.higher_is_better = False


def rare(labels, scores):
    return scores[:, 2].mean() if (labels == 2).any() else float("nan")


ASKED = ("accuracy", *MEASURES, brier, rare)
NAMES = [*MEASURES, "brier", "rare"]
LOWER = ("ece", "brier")


def lists():
    """Client 0 tests nothing, client 1 one class, the others all but one, the last a single example."""
    data = load_data("digits")
    random = np.random.default_rng(0)
    train = np.split(random.permutation(300), [40, 90, 160, 240, 290])
    left = np.flatnonzero(data.test.y != NEVER)
    one = np.flatnonzero(data.test.y == ALONE)[:7]
    test = [[], one, left[:60], left[60:95], left[95:99], left[99:100]]
    held = [range(300 + 10 * k, 310 + 10 * k) for k in range(len(train))]
    return Partition.from_lists(train, test, validation=held)


SETTINGS = {
    "config": dataclasses.replace(TINY, training=config.Training(rounds=4, cohort_size=3, learning_rate=0.2)),
    "partition": lists(),
    "evaluation": {"metrics": list(ASKED), "adapt": {"steps": 2}, "clients_history": True, "every": 2},
}

OWN = {"partition": SETTINGS["partition"], "evaluation": {"metrics": list(ASKED)}}
