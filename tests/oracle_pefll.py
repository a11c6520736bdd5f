"""PeFLL as a plain loop, beside the paper (Scott et al., 2024, algorithms 1 and 2)."""

import jax
import jax.numpy as jnp
import numpy as np
from oracle_network import to_numpy
from oracle_roles import FedAvg, PFedHN

from fedtp_jax.core import rng, tree
from fedtp_jax.models.descriptor import Descriptor
from fedtp_jax.models.inputs import Inputs


class PeFLL(PFedHN):
    """theta_k = h(v_k; phi), v_k the mean of f(x, y; psi) over some examples of client k."""

    PSI = "descriptor/"

    def __init__(self, world, settings):
        super().__init__(world, settings)
        del self.z  # nobody keeps an embedding
        inputs = Inputs("image", world.data.input_shape)
        self.f = Descriptor(settings.hypernetwork.embedding, world.classes, inputs, settings.kernels)
        key = jax.random.fold_in(rng.key(world.seed, rng.Purpose.HYPERNETWORK), rng.Purpose.DESCRIPTION)
        x, y = world.examples(world.data.train, np.arange(1))
        psi = tree.flatten(self.f.init(key, jnp.asarray(x), jnp.asarray(y)))
        self.psi = {self.PSI + path: np.asarray(leaf) for path, leaf in psi.items()}
        self.described = None  # round of which the examples are, outside of rounds all
        self.one, self.one_backwards = jax.jit(self._one), jax.jit(self._one_backwards)

    def _one(self, psi, x, y):
        """f(x, y; psi) of one example."""
        leaves = {path.removeprefix(self.PSI): leaf for path, leaf in psi.items()}
        return self.f.apply(tree.unflatten(leaves), x[None], y[None])[0]

    def _one_backwards(self, psi, x, y, of_v):
        return jax.vjp(lambda psi: self._one(psi, x, y), psi)[1](of_v)[0]

    def examples(self, k):
        """Those of which v_k is the mean: in a round the first batches of an order of their own."""
        shard, batches = self.world.partition.train[k], self.settings.batches
        if self.described is not None:
            order = rng.generator(self.world.seed, rng.Purpose.DESCRIPTION, self.described, k)
            shard = order.permutation(shard)
            shard = shard[: batches * self.training.batch_size] if batches else shard
        return list(zip(*self.world.examples(self.world.data.train, shard), strict=True))

    def embedding(self, k):
        if not self.world.size(k):
            return np.zeros(self.settings.hypernetwork.embedding, np.float32)
        return np.mean([self.one(self.psi, x, y) for x, y in self.examples(k)], axis=0)

    @staticmethod
    def standardised(v):
        return (v - v.mean()) / jnp.sqrt(v.var() + 1e-5)

    def weights(self, k):
        made = self.hyper.generate(self.phi, np.asarray(self.standardised(self.embedding(k))))
        return {**FedAvg.weights(self, k), **to_numpy(made)}

    def round(self, cohort, round):
        self.described = round
        super().round(cohort, round)
        self.described = None

    def aggregate(self, p, sent, trained):
        """phi and psi step along sum_k p_k (d theta_k / d .)^T (theta_k as sent - as returned)."""
        FedAvg.aggregate(self, p, sent, trained)
        gradient = dict.fromkeys({**self.phi, **self.psi}, 0.0)
        for k in p:
            delta = {path: sent[k][path] - trained[k][path] for path in self.shapes if self.generated(path)}
            z, back = jax.vjp(self.standardised, self.embedding(k))
            of_phi, of_z = to_numpy(self.hyper.gradient(self.phi, z, delta))
            (of_v,) = back(of_z)
            examples = self.examples(k)
            of_psi = [
                jax.vjp(lambda psi, x=x, y=y: self.one(psi, x, y), self.psi)[1](of_v) for x, y in examples
            ]
            of_psi = {path: sum(one[path] for (one,) in of_psi) / len(examples) for path in self.psi}
            for path, g in {**of_phi, **to_numpy(of_psi)}.items():
                gradient[path] = gradient[path] + p[k] * g
        rate = self.settings.hypernetwork.learning_rate or self.training.learning_rate
        new = self.phi_optimizer.step({**self.phi, **self.psi}, gradient, lambda path: rate)
        self.phi, self.psi = ({path: new[path] for path in part} for part in (self.phi, self.psi))
