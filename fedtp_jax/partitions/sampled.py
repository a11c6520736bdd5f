"""The recipe for large populations: every client draws its examples from all, whoever else holds them.

Clients are drawn in blocks: a million cost no loop over clients, and little memory beside their lists.
"""

import numpy as np

from fedtp_jax import config as cfg
from fedtp_jax.core.errors import UserError
from fedtp_jax.core.rng import Purpose, generator
from fedtp_jax.data.dataset import Dataset
from fedtp_jax.partitions.partition import Partition, Shards
from fedtp_jax.partitions.recipes import draw, log_dirichlet

BLOCK = 2**20  # numbers in an array of one block of clients; every draw depends on it: never change


def sampled(config: cfg.Sampled, data: Dataset, seed: int) -> Partition:
    """Lists of train_examples and test_examples, each example once at most in a list; indices ascend.

    A client's class proportions are p ~ Dirichlet(alpha * 1_C) times the classes' numbers of train examples,
    renormalised: what a client of `dirichlet` comes to among ever more clients. What a class cannot give is
    drawn from the others by the same proportions. Raises UserError where a client wants more than there are.
    """
    rng = generator(seed, Purpose.PARTITION)
    trained = np.bincount(data.train.y, minlength=data.num_classes)
    pools, lists = [], []
    for name, split, wanted in (
        ("train", data.train, config.train_examples),
        ("test", data.test, config.test_examples),
    ):
        sizes = np.bincount(split.y, minlength=data.num_classes)
        pools.append(
            _Pool(split.y, np.where(trained > 0, sizes, 0))
        )  # nobody is tested on an untrained class
        if wanted > (there := int(pools[-1].sizes.sum())):
            raise UserError(
                f"partition.{name}_examples: {wanted} for each client, but {data.name} has only {there} "
                f"{name} examples to draw from; set partition.{name}_examples to {there} or less"
            )
        lists.append(np.empty((config.clients, wanted), np.int64))
    with np.errstate(divide="ignore"):  # a class without examples has no weight
        prior = np.log(trained)
    block = max(1, BLOCK // max(data.num_classes, config.train_examples, config.test_examples))
    for begin in range(0, config.clients, block):
        rows = min(block, config.clients - begin)
        weights = prior + log_dirichlet(rng, "alpha", config.alpha, (rows, data.num_classes))
        for pool, drawn in zip(pools, lists, strict=True):
            drawn[begin : begin + rows] = pool.draw(rng, drawn.shape[1], weights)
    train, test = (Shards(drawn.ravel(), np.arange(len(drawn) + 1) * drawn.shape[1]) for drawn in lists)
    return Partition(train, test)


class _Pool:
    """The examples of one split, by class. sizes: [C] how many of each class may be drawn."""

    def __init__(self, labels: np.ndarray, sizes: np.ndarray) -> None:
        self.members = np.argsort(labels, kind="stable")
        self.starts = np.searchsorted(labels[self.members], np.arange(len(sizes)))
        self.sizes = sizes

    def draw(self, rng: np.random.Generator, wanted: int, log_weights: np.ndarray) -> np.ndarray:
        """[R, wanted] ascending indices, distinct within a row, by class weights [R, C].

        Within a class this is Floyd's algorithm, in all rows at once: the i-th of n from m examples is drawn
        from the first m - n + i and, if it is in the list already, is the last of these instead.
        """
        rows, classes = log_weights.shape
        counts = draw(rng, np.full(rows, wanted), log_weights, np.tile(self.sizes, (rows, 1)))
        label = np.repeat(np.tile(np.arange(classes), rows), counts.ravel()).reshape(rows, wanted)
        before = np.take_along_axis(np.cumsum(counts, axis=1), label, axis=1)  # and in the class itself
        last = (self.starts + self.sizes)[label] - before + np.arange(wanted)
        picks = rng.integers(self.starts[label], last, endpoint=True)
        picks, last = np.ascontiguousarray(picks.T), last.T  # [wanted, R]: a column is a client
        for i in range(1, wanted):
            taken = (picks[:i] == picks[i]).any(axis=0)
            picks[i, taken] = last[i, taken]
        return np.sort(self.members[picks.T], axis=1)
