"""Every method that is a rule of roles as a plain Python loop over clients, to be read beside its paper.

FedAvg is the frame; every other method says what it does differently.
"""

import collections
import math

import numpy as np
from oracle import Optimizer, cross_entropy
from oracle_network import is_parameter, to_numpy

from fedtp_jax import config


def is_qkv(path):
    """W^Q, W^K, W^V of self-attention."""
    return path.endswith(("/query/kernel", "/key/kernel", "/value/kernel"))


def is_head(path):
    """The classifier."""
    return path.startswith("params/head/")


def is_norm(path):
    """A normalisation layer's own parameters or running statistics."""
    return "norm" in path.split("/")[-2]


def is_adapter(path):
    """Down or Up of an adapter beside attention."""
    return "/attention/adapter/" in path


def is_kernel(path):
    """The matrix of a layer."""
    return path.endswith("/kernel")


class FedAvg:
    """w <- sum_k n_k / n w_k (McMahan et al., 2017)."""

    def __init__(self, world, settings):
        self.world, self.settings, self.training = world, settings, world.training
        self.network = world.network
        w = world.initial_model()
        self.shapes = {path: leaf.shape for path, leaf in w.items()}
        self.own = {k: {path: w[path] for path in w if self.stays(path)} for k in range(world.clients)}
        self.w = {path: w[path] for path in w if not self.stays(path) and not self.generated(path)}
        self.server_optimizer = Optimizer(world.settings.server.optimizer)

    def stays(self, path):
        """Whether a leaf stays with the client."""
        return False

    def generated(self, path):
        """Whether the server's hypernetwork makes a leaf."""
        return False

    def weights(self, k):
        """What client k starts a round from, and is evaluated with."""
        return {**self.w, **self.own[k]}

    def round(self, cohort, round):
        """One round of these draws; who returns what is not finite is as if it had never been asked.

        A client that was drawn several times trains once, and counts as often.
        """
        self.round_rate, losses = self.world.rate(round), []
        sent, trained = {k: self.weights(k) for k in cohort}, {}
        times = collections.Counter(cohort)
        for k in times:
            self.losses = []
            returned = self.train(sent[k], k, round)
            if all(np.isfinite(leaf).all() for leaf in returned.values()):
                trained[k] = returned
                losses += self.losses
        self.losses = losses
        counts = {k: times[k] * self.world.counts(k) for k in trained}
        self.aggregate({k: counts[k] / sum(counts.values()) for k in trained}, sent, trained)

    def aggregate(self, p, sent, trained):
        for k in p:
            self.own[k] = {path: trained[k][path] for path in self.own[k]}
        mean = {path: sum(p[k] * trained[k][path] for k in p) for path in self.w}
        change = {path: self.w[path] - mean[path] for path in self.w if is_parameter(path)}
        rate = self.world.settings.server.learning_rate
        self.w = {**mean, **self.server_optimizer.step(self.w, change, lambda path: rate)}

    # ---------------------------------------------------------------------------- at the client

    def train(self, weights, k, round):
        """All local steps, from a fresh optimizer."""
        t = self.training
        optimizer = Optimizer(t.optimizer, t.weight_decay, t.clip_norm)
        for step in self.world.local_steps(k, round):
            weights = self.local_step(weights, k, step, step.key, optimizer)
        return weights

    def local_step(self, weights, k, step, key, optimizer):
        logits, features, statistics = to_numpy(self.network.forward(weights, step.x, key))
        loss, d_logits, d_features = self.loss(k, logits, features, step.y)
        gradient = to_numpy(self.network.backward(weights, step.x, key, d_logits, d_features))
        penalty, pull = self.penalty(weights)
        gradient = {path: g + pull.get(path, 0.0) for path, g in gradient.items() if self.trains(path)}
        self.losses.append((loss + penalty, len(step.y)))
        new = optimizer.step(weights, gradient, self.learning_rate)
        return {**weights, **new, **statistics}

    def trains(self, path):
        """Whether the step at hand trains a leaf."""
        return True

    def loss(self, k, logits, features, y):
        """(loss of a batch, its derivatives in logits and in features)."""
        return *cross_entropy(logits, y, self.world.class_weights), np.zeros_like(features)

    def penalty(self, weights):
        """(what is added to the loss, {path: its gradient})."""
        return 0.0, {}

    def learning_rate(self, path):
        role = "generated" if self.generated(path) else "personal" if self.stays(path) else "shared"
        own = getattr(self.training.role_learning_rates, role)
        return self.round_rate * (self.training.learning_rate if own is None else own)

    # ---------------------------------------------------------------------------- what it is worth

    @property
    def train_loss(self):
        """Mean over all examples of all local steps of the round."""
        return sum(loss * count for loss, count in self.losses) / sum(count for _, count in self.losses)

    def predict(self, k, x):
        """(logits, features) of client k for inputs x."""
        return self.network.predict(self.weights(k), x)


class FedProx(FedAvg):
    """The local loss + mu/2 |w - w_round|^2 (Li et al., 2020)."""

    def penalty(self, weights):
        away = {path: weights[path] - self.w[path] for path in self.w if is_parameter(path)}
        squared = sum((d**2).sum() for d in away.values())
        return self.settings.mu / 2 * squared, {path: self.settings.mu * d for path, d in away.items()}


class Local(FedAvg):
    """Nothing is shared."""

    def stays(self, path):
        return True


class FedPer(FedAvg):
    """The classifier stays with the client (Arivazhagan et al., 2019)."""

    def stays(self, path):
        return is_head(path)


class FedPerfix(FedPer):
    """The adapters beside attention stay too (Sun et al., 2023)."""

    def stays(self, path):
        return is_head(path) or is_adapter(path)


class LGFedAvg(FedAvg):
    """All but the classifier stays with the client (Liang et al., 2020)."""

    def stays(self, path):
        return not is_head(path)


class FedRep(FedPer):
    """All passes but the last train the client's own head, those the shared body (Collins et al., 2021)."""

    def train(self, weights, k, round):
        t = self.training
        head, body = (Optimizer(t.optimizer, t.weight_decay, t.clip_norm) for _ in range(2))
        batches = math.ceil(self.world.size(k) / t.batch_size)
        for number, step in enumerate(self.world.local_steps(k, round)):
            self.at_head = number // batches < t.local_epochs - self.settings.body_epochs
            weights = self.local_step(weights, k, step, step.key, head if self.at_head else body)
        return weights

    def trains(self, path):
        return is_head(path) == self.at_head


class FedBABU(FedAvg):
    """Nobody ever trains the classifier (Oh et al., 2022)."""

    def trains(self, path):
        return not is_head(path)


class FedBN(FedAvg):
    """Normalisation layers stay with the client (Li et al., 2021), running statistics as configured."""

    def stays(self, path):
        return is_norm(path) and (is_parameter(path) or self.settings.statistics == "local")


class Vanilla(FedAvg):
    """Queries, keys and values stay with the client (Li et al., 2023: vanilla personalisation)."""

    def stays(self, path):
        return is_qkv(path)


class FedTP(FedAvg):
    """W_k = h(z_k; phi) for the client's queries, keys and values (Li et al., 2023)."""

    def __init__(self, world, settings):
        super().__init__(world, settings)
        shapes = {path: shape for path, shape in self.shapes.items() if self.generated(path)}
        self.hyper, self.phi = world.hypernetwork(shapes, settings.hypernetwork)
        hyper, clients = settings.hypernetwork, range(world.clients)
        self.base = list(shapes) if hyper.base else []
        if hyper.base:  # to which nothing is added at first
            w = world.initial_model()
            self.w |= {path: w[path] for path in shapes}
            heads = [f"params/head:{path.replace('/', '.')}/" for path in shapes]
            self.phi = {p: 0 * leaf if p.startswith(tuple(heads)) else leaf for p, leaf in self.phi.items()}
        self.z = {k: world.initial_embedding(k, hyper.embedding) for k in clients}
        self.phi_optimizer = Optimizer(hyper.optimizer, hyper.weight_decay)
        self.z_optimizer = {k: Optimizer(hyper.optimizer, hyper.weight_decay) for k in clients}

    def generated(self, path):
        """Or, as configured, the adapters beside them, or all kernels."""
        others = {config.ADAPTER: is_adapter, config.KERNELS: is_kernel}
        return others.get(self.settings.generated, is_qkv)(path)

    def weights(self, k):
        made = to_numpy(self.hyper.generate(self.phi, self.z[k]))
        based = {path: self.w[path] + made[path] for path in self.base}
        return {**super().weights(k), **made, **based}

    def aggregate(self, p, sent, trained):
        """The gradient is sum_k p_k J_k^T (W_k - W_k'), without any division by steps or learning rate.

        Embeddings of clients that were not there step too, along 0 and their decay, unless steps are sparse.
        """
        moved = {k: {path: self.w[path] + trained[k][path] - sent[k][path] for path in self.base} for k in p}
        super().aggregate(p, sent, {k: {**trained[k], **moved[k]} for k in p})
        gradient = dict.fromkeys(self.phi, 0.0)
        of_z = {k: np.zeros_like(z) for k, z in self.z.items()}
        for k in p:
            delta = {path: sent[k][path] - trained[k][path] for path in self.shapes if self.generated(path)}
            by_client, of_embedding = to_numpy(self.hyper.gradient(self.phi, self.z[k], delta))
            gradient = {name: g + p[k] * by_client[name] for name, g in gradient.items()}
            of_z[k] = p[k] * of_embedding
        rate = self.settings.hypernetwork.learning_rate or self.training.learning_rate
        self.phi = self.phi_optimizer.step(self.phi, gradient, lambda name: rate)
        for k in p if self.settings.hypernetwork.embedding_update == "sparse" else self.z:
            self.z[k] = self.z_optimizer[k].step({"z": self.z[k]}, {"z": of_z[k]}, lambda name: rate)["z"]


class FedTPPer(FedTP):
    """FedTP whose classifier stays with the client."""

    def stays(self, path):
        return is_head(path)


class PFedHN(FedTP):
    """The hypernetwork makes the whole model (Shamsian et al., 2021)."""

    def generated(self, path):
        return is_parameter(path)
