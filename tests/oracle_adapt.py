"""Adaptation before a test as a plain loop: copy, train on the own train shard, test, forget."""

import math
import re

import jax
import numpy as np
from oracle import Optimizer, cross_entropy
from oracle_network import to_numpy

from fedtp_jax.core import rng

HEAD = "personal_head/kernel", "personal_head/bias"  # FedRod's second head


def evaluate_adapted(world, k, weights):
    """(right, summed loss) over client k's test shard, of a copy of `weights` trained on its train shard."""
    weights = adapted(world, k, weights)

    def predict(x):
        logits, features = world.network.predict(weights, x)
        return with_second_head(weights, logits, features), features

    return world.evaluate(k, predict)


def adapted(world, k, weights):
    """What becomes of `weights`: SGD with one learning rate, from a fresh optimizer, on some leaves."""
    adapt, t = world.settings.evaluation.adapt, world.training
    optimizer, rate = Optimizer(t.optimizer, t.weight_decay, t.clip_norm), adapt.learning_rate
    trains = [path for path in weights if any(re.search(pattern, path) for pattern in adapt.leaves)]
    for x, y, key in local_steps(world, k):
        logits, features, statistics = to_numpy(world.network.forward(weights, x, key))
        _, d = cross_entropy(with_second_head(weights, logits, features), y, world.class_weights)
        second, d_features = {}, np.zeros_like(features)
        if HEAD[0] in weights:
            second = {HEAD[0]: features.T @ d, HEAD[1]: d.sum(0)}
            d_features = d @ weights[HEAD[0]].T
        gradient = {**to_numpy(world.network.backward(weights, x, key, d, d_features)), **second}
        gradient = {path: g for path, g in gradient.items() if path in trains}
        new = optimizer.step(weights, gradient, lambda path: rate or t.learning_rate)
        followed = {path: leaf for path, leaf in statistics.items() if path in trains}
        weights = {**weights, **new, **followed}
    return weights


def with_second_head(weights, logits, features):
    return logits + features @ weights[HEAD[0]] + weights[HEAD[1]] if HEAD[0] in weights else logits


def local_steps(world, k):
    """(inputs, labels, key of the dropout) of each step; they are the same in every evaluation."""
    adapt, size, shard = world.settings.evaluation.adapt, world.training.batch_size, world.partition.train[k]
    in_pass = math.ceil(len(shard) / size)
    order = rng.generator(world.seed, rng.Purpose.ADAPTATION, k)
    key = jax.random.fold_in(rng.key(world.seed, rng.Purpose.EVALUATION), k)
    for step in range(adapt.steps or adapt.epochs * in_pass):
        first = step % in_pass * size
        if first == 0:
            shuffled = order.permutation(shard)
        positions = shuffled[first : first + size]
        x, y = world.examples(world.data.train, positions)
        yield world.steadily_noisy(k, x, key, positions), y, jax.random.fold_in(key, step)
