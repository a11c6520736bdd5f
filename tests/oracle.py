"""What the plain loops of all methods stand on: network, clients' examples, optimizers in NumPy.

Nothing here knows lanes, waves, vmap or a batch of clients. Shared with the package are only the Flax modules
and the random streams.
"""

import math
import zlib
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from oracle_network import hyper, network, to_numpy
from oracle_rounds import draws_of, factor_of

from fedtp_jax.core import rng, tree
from fedtp_jax.data.dataset import Windows
from fedtp_jax.engine.lanes import NOISE
from fedtp_jax.models.layers import uniform_fan_in


class Step(NamedTuple):
    """A local step: its examples, the key of its dropout, whether it is of the last pass over the shard."""

    x: np.ndarray
    y: np.ndarray
    key: jax.Array
    in_last_pass: bool


class World:
    """All that every method is given: model, examples, who holds them, settings, random streams."""

    def __init__(self, settings, task, data, partition):
        self.settings, self.training, self.seed = settings, settings.training, settings.seed
        self.data, self.partition = data, partition
        self.clients, self.classes = partition.num_clients, data.num_classes
        self.class_weights = np.float32(data.class_weights or [1.0] * data.num_classes)
        self.network, self._example = network(task.model), task.inputs.example

    # ------------------------------------------------------------------------------- initial values

    def initial_model(self):
        x = jnp.zeros(self._example.shape, self._example.dtype)
        return to_numpy(tree.flatten(self.network.init(rng.key(self.seed, rng.Purpose.MODEL), x)))

    def initial_head(self, k, features):
        """Client k's personal head (kernel, bias), drawn for itself like any linear layer's."""
        key, draw = jax.random.fold_in(rng.key(self.seed, rng.Purpose.MODEL), k), uniform_fan_in(features)
        shapes = {"personal_head/kernel": (features, self.classes), "personal_head/bias": (self.classes,)}
        own = {path: jax.random.fold_in(key, zlib.crc32(path.encode())) for path in shapes}
        return to_numpy(tuple(draw(own[path], shape) for path, shape in shapes.items()))

    def hypernetwork(self, shapes, settings):
        """(hypernetwork for leaves of these shapes, its initial weights)."""
        about = settings.embedding, settings.hidden, settings.layers, settings.rank, settings.spectral_norm
        made = hyper(tuple(shapes.items()), *about)
        return made, to_numpy(made.init(rng.key(self.seed, rng.Purpose.HYPERNETWORK)))

    def initial_embedding(self, k, size):
        """Client k's embedding, standard normal."""
        key = jax.random.fold_in(rng.key(self.seed, rng.Purpose.HYPERNETWORK), k)
        return np.asarray(jax.random.normal(key, (size,)))

    # ------------------------------------------------------------------------------------- examples

    def cohort(self, round):
        """The draws of a round: a client that was drawn several times is there as often."""
        return draws_of(self, round)

    def counts(self, k):
        """What client k counts for in a mean, for each time that it was drawn."""
        return self.size(k) if self.settings.server.weighting == "examples" else 1

    def size(self, k):
        return len(self.partition.train[k])

    def labels(self, k):
        return self.data.train.y[self.partition.train[k]]

    def examples(self, split, positions):
        """(inputs as the model takes them, labels); windows of a text are cut out one by one."""
        if isinstance(split, Windows):
            cut = [split.text[s : s + split.length + 1].astype(np.int32) for s in split.start[positions]]
            return np.stack([c[:-1] for c in cut]), np.stack([c[1:] for c in cut])
        x = split.x[positions]
        x = x.astype(np.float32) / np.float32(255) if x.dtype == np.uint8 else x
        return (x - np.float32(self.data.mean)) / np.float32(self.data.std), split.y[positions]

    def noisy(self, k, x, key):
        """`x` with client k's Gaussian noise, if the partition gives it any."""
        if self.partition.noise is None:
            return x
        draw = jax.random.normal(jax.random.fold_in(key, NOISE), x.shape)
        return x + self.partition.noise[k] * np.asarray(draw)

    def steadily_noisy(self, k, x, key, positions):
        """`x` with noise that each example has for itself, by its position among train and test examples."""
        if self.partition.noise is None:
            return x
        key = jax.random.fold_in(key, NOISE)
        draws = [jax.random.normal(jax.random.fold_in(key, int(p)), x.shape[1:]) for p in positions]
        return x + self.partition.noise[k] * np.stack(draws)

    def all_steps(self, k):
        """How many local steps client k does in a round, if it does all."""
        t = self.training
        return (
            t.local_epochs * math.ceil(self.size(k) / t.batch_size)
            if t.local_steps is None
            else t.local_steps
        )

    def steps_done(self, k, round):
        return self.all_steps(k)

    def order(self, k, round):
        """What the order of client k's examples is drawn by."""
        return rng.generator(self.seed, rng.Purpose.BATCHES, round, k)

    def steps_before(self, k, round, order, share, passes):
        """Passes over a random share of client k's shard, before its local steps; numbered up to -1."""
        some = order.permutation(self.partition.train[k])[: math.ceil(share * self.size(k) - 1e-9)]
        size, batches = self.training.batch_size, []
        for _ in range(passes):
            shuffled = order.permutation(some)
            batches += [shuffled[first : first + size] for first in range(0, len(some), size)]
        key = jax.random.fold_in(rng.key(self.seed, rng.Purpose.CLIENT, round), k)
        for number, batch in enumerate(batches, start=-len(batches)):
            x, y = self.examples(self.data.train, batch)
            own = jax.random.fold_in(key, np.uint32(2**32 + number))
            yield Step(self.noisy(k, x, own), y, own, False)

    def local_steps(self, k, round, order=None):
        """Client k's local steps: shuffled passes over its shard, the last batch of each may be smaller."""
        t, steps = self.training, self.steps_done(k, round)
        in_pass = math.ceil(self.size(k) / t.batch_size)
        order = order or self.order(k, round)
        key = jax.random.fold_in(rng.key(self.seed, rng.Purpose.CLIENT, round), k)
        for step in range(steps):
            first = step % in_pass * t.batch_size
            if first == 0:
                shuffled = order.permutation(self.partition.train[k])
            x, y = self.examples(self.data.train, shuffled[first : first + t.batch_size])
            own = jax.random.fold_in(key, step)
            yield Step(self.noisy(k, x, own), y, own, step >= steps - in_pass)

    def rate(self, round):
        """The round's factor on the clients' learning rate."""
        return factor_of(self.training, round)

    # ----------------------------------------------------------------------------------- evaluation

    def evaluate(self, k, predict):
        """(right, summed loss) over client k's test shard; `predict` maps inputs to (logits, features)."""
        knn, shard = self.settings.evaluation.knn, self.partition.test[k]
        key = jax.random.fold_in(rng.key(self.seed, rng.Purpose.EVALUATION), k)
        kept = self.stored(k) if knn.weight else np.zeros(0, int)
        x, y = self.examples(self.data.test, shard)
        logits, features = predict(self.steadily_noisy(k, x, key, shard + len(self.data.train)))
        log_p = log_softmax(logits)
        if len(kept):
            stored_x, stored_y = self.examples(self.data.train, kept)
            _, memory = predict(self.steadily_noisy(k, stored_x, key, kept))
            log_p = self.mixed_with_neighbors(np.exp(log_p), features, memory, stored_y)
        right = loss = 0.0
        for rows, labels in zip(log_p, y, strict=True):  # one row an image, one a position of a text
            rows = list(zip(np.atleast_2d(rows), np.atleast_1d(labels), strict=True))
            right += np.mean([row.argmax() == label and not np.isnan(row).any() for row, label in rows])
            loss -= np.mean([row[label] for row, label in rows])
        return right, loss

    def stored(self, k):
        """Positions of the train examples that client k keeps for its neighbours."""
        knn, shard = self.settings.evaluation.knn, self.partition.train[k]
        kept = max(int(len(shard) * knn.capacity), 1)
        if kept == len(shard):
            return shard
        draw = rng.generator(self.seed, rng.Purpose.NEIGHBORS, k)
        return shard[np.sort(draw.choice(len(shard), kept, replace=False))]

    def mixed_with_neighbors(self, model_p, features, memory, labels):
        """log(weight * p_knn + (1 - weight) * p_model); each neighbour counts exp(-d^2 / F)."""
        knn, mixed = self.settings.evaluation.knn, []
        for p, f in zip(model_p, features, strict=True):
            squared = np.array([((f - m) ** 2).sum() for m in memory])
            near = np.argsort(squared, kind="stable")[: knn.neighbors]
            p_knn, total = np.zeros_like(p), 0.0
            for i in near:
                weight = math.exp(-squared[i] / len(f))
                p_knn[labels[i]] += weight
                total += weight
            mixed.append(knn.weight * p_knn / total + (1 - knn.weight) * p)
        with np.errstate(divide="ignore"):
            return np.log(np.array(mixed))


def log_softmax(logits):
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def cross_entropy(logits, y, class_weights):
    """(mean loss, its derivative in the logits); weighted losses are not divided by the weights."""
    log_p, right = log_softmax(logits), np.eye(logits.shape[-1], dtype=np.float32)[y]
    weight = class_weights[y]
    loss = -(weight * (right * np.where(right > 0, log_p, 0)).sum(-1)).mean()
    return loss, weight[..., None] * (np.exp(log_p) - right) / np.float32(y.size)


class Optimizer:
    """SGD with momentum, or Adam (Kingma & Ba, 2015), after clipping and L2 decay as PyTorch adds it."""

    def __init__(self, settings, weight_decay=0.0, clip_norm=None):
        self.name, self.arguments = settings.name, settings.arguments
        self.weight_decay, self.clip_norm = weight_decay, clip_norm
        self.first, self.second, self.count = {}, {}, 0

    def step(self, weights, gradient, rate):
        """New values of the leaves in `gradient`; `rate` maps a path to its learning rate."""
        self.count += 1
        norm = math.sqrt(sum(float((g**2).sum()) for g in gradient.values()))
        if self.clip_norm and norm:
            gradient = {path: g * min(1.0, self.clip_norm / norm) for path, g in gradient.items()}
        return {
            path: weights[path] - rate(path) * self.direction(path, g + self.weight_decay * weights[path])
            for path, g in gradient.items()
        }

    def direction(self, path, g):
        if self.name == "sgd":
            self.first[path] = self.arguments.get("momentum", 0.0) * self.first.get(path, 0.0) + g
            return self.first[path]
        assert self.name == "adam"
        self.first[path] = 0.9 * self.first.get(path, 0.0) + 0.1 * g
        self.second[path] = 0.999 * self.second.get(path, 0.0) + 0.001 * g**2
        mean = self.first[path] / (1 - 0.9**self.count)
        square = self.second[path] / (1 - 0.999**self.count)
        return mean / (np.sqrt(square) + self.arguments.get("eps", 1e-8))
