"""FedJAX: its federated averaging on the pmap backend, a device for each core.

https://fedjax.readthedocs.io/en/latest/fedjax.html#fedjax.for_each_client_backend
Devices that train side by side need batches of one size, so the last one of a client is padded and masked,
which `model_grad` heeds. FedPer is an algorithm of one's own by `for_each_client`, as in FedJAX's tutorial
on custom algorithms; the head enters as a client's input and comes back with its output.
"""

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import fedjax
import jax
import jax.numpy as jnp
import numpy as np
from fedjax.algorithms import fed_avg
from fedjax.core.client_datasets import EXAMPLE_MASK_KEY

from benchmarks.simulators.jax_vit import Parameters, vit
from benchmarks.simulators.work import TEST, Laps, Work, answer, from_command_line

Client = tuple[int, "Shuffled", jax.Array]  # id, examples, key
Round = Callable[[Parameters, list[Client]], Parameters]


class Shuffled(fedjax.ClientDataset):
    """Shuffled batches of which the last is padded."""

    def shuffle_repeat_batch(self, hparams: Any = None, **settings: Any) -> Iterator[Mapping[str, Any]]:
        batch_size, epochs = hparams.batch_size, hparams.num_epochs
        for _ in range(epochs):
            order = np.random.permutation(len(self))
            shuffled = {name: array[order] for name, array in self.raw_examples.items()}
            yield from fedjax.ClientDataset(shuffled).padded_batch(batch_size=batch_size)


def make_model(work: Work) -> fedjax.Model:
    """The ViT as FedJAX takes a model."""

    def apply(parameters: Parameters, batch: Mapping[str, jax.Array], rng: Any = None) -> jax.Array:
        return vit(parameters, batch["x"], work.model)

    def loss(batch: Mapping[str, jax.Array], logits: jax.Array) -> jax.Array:
        return fedjax.metrics.unreduced_cross_entropy_loss(batch["y"], logits)

    def initial(rng: jax.Array) -> Parameters:
        return {name: jnp.asarray(value) for name, value in work.parameters.items()}

    return fedjax.Model(initial, apply, apply, loss, {"accuracy": fedjax.metrics.Accuracy()})


def fedavg(model: fedjax.Model, work: Work, batches: Any) -> Round:
    """FedJAX's own."""
    optimizer = fedjax.optimizers.sgd(work.learning_rate, work.momentum)
    server = fedjax.optimizers.sgd(1.0)
    algorithm = fed_avg.federated_averaging(fedjax.model_grad(model), optimizer, server, batches)

    def round(parameters: Parameters, clients: list[Client]) -> Parameters:
        state, _ = algorithm.apply(fed_avg.ServerState(parameters, server.init(parameters)), clients)
        return state.params

    return round


def fedper(model: fedjax.Model, work: Work, batches: Any, heads: dict[int, Parameters]) -> Round:
    """The clients' heads are kept in `heads`, the rest is averaged by examples."""
    optimizer, gradient = fedjax.optimizers.sgd(work.learning_rate, work.momentum), fedjax.model_grad(model)

    def begin(shared: Parameters, own: Mapping[str, Any]) -> tuple[Any, ...]:
        parameters = {**shared, **own["head"]}
        return parameters, optimizer.init(parameters), own["rng"]

    def step(state: tuple[Any, ...], batch: Any) -> tuple[Any, ...]:
        parameters, moments, rng = state
        rng, key = jax.random.split(rng)
        moments, parameters = optimizer.apply(gradient(parameters, batch, key), moments, parameters)
        return parameters, moments, rng

    train = fedjax.for_each_client(begin, step, lambda shared, state: state[0])

    def round(parameters: Parameters, clients: list[Client]) -> Parameters:
        initial = {name: parameters[name] for name in work.personal}
        prepared = [
            (k, examples.shuffle_repeat_batch(batches), {"head": heads.get(k, initial), "rng": key})
            for k, examples, key in clients
        ]
        trained = []
        for k, new in train(parameters, prepared):
            heads[k] = {name: new[name] for name in work.personal}
            trained.append((new, float(work.sizes[k])))
        return {**fedjax.tree_util.tree_mean(trained), **initial}

    return round


def accuracy(model: fedjax.Model, work: Work, parameters: Parameters, heads: dict[int, Parameters]) -> float:
    """Pooled over the clients' test examples, each with its own head."""

    @jax.jit
    def right(parameters: Parameters, batch: Mapping[str, jax.Array]) -> jax.Array:
        answers = model.apply_for_eval(parameters, batch).argmax(-1) == batch["y"]
        return jnp.sum(answers & batch[EXAMPLE_MASK_KEY])

    total = 0
    for client in range(work.clients):
        examples = fedjax.ClientDataset(dict(zip("xy", work.shard(client, TEST), strict=True)))
        own = {**parameters, **heads.get(client, {})}
        total += sum(int(right(own, batch)) for batch in examples.padded_batch(batch_size=256))
    return total / work.test_examples


def main() -> None:
    """Rounds of the work's cohorts."""
    work, file = from_command_line()
    jax.config.update("jax_pmap_no_rank_reduction", False)  # the backend takes a shard as it was before it
    model = make_model(work)
    heads: dict[int, Parameters] = {}
    batches = fedjax.ShuffleRepeatBatchHParams(work.batch_size, num_epochs=work.epochs)
    fedjax.set_for_each_client_backend("pmap")
    method = functools.partial(fedper, heads=heads) if work.personal else fedavg
    round = method(model, work, batches)
    parameters, laps = model.init(jax.random.key(0)), Laps()
    shards = [Shuffled(dict(zip("xy", work.shard(k), strict=True))) for k in range(work.clients)]
    for number, cohort in enumerate(work.cohorts.tolist()):
        keys = jax.random.split(jax.random.PRNGKey(number), len(cohort))
        clients = [(k, shards[k], key) for k, key in zip(cohort, keys, strict=True)]
        parameters = jax.block_until_ready(round(parameters, clients))
        laps.lap()
    setting = f"pmap, {work.processes} devices in one process"
    answer(file, "fedjax", setting, laps.seconds, accuracy(model, work, parameters, heads))


if __name__ == "__main__":
    main()
