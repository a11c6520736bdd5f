"""The methods that are more than roles as plain loops: FedRod, FedProto, pFedMe, Ditto."""

import jax
import numpy as np
from oracle import Optimizer, cross_entropy
from oracle_network import is_parameter, to_numpy
from oracle_roles import FedAvg, FedTP

from fedtp_jax import config


class FedRod(FedAvg):
    """A shared, class-balanced predictor G and a personal head P beside it (Chen & Chao, 2022)."""

    KERNEL, BIAS = "personal_head/kernel", "personal_head/bias"

    def __init__(self, world, settings):
        super().__init__(world, settings)
        size = self.shapes["params/head/kernel"][0]
        for k in range(world.clients):
            self.own[k][self.KERNEL], self.own[k][self.BIAS] = world.initial_head(k, size)

    def log_prior(self, k):
        counts = np.bincount(self.world.labels(k), minlength=self.world.classes)
        with np.errstate(divide="ignore"):
            return np.log(np.float32(counts / counts.sum()))

    def loss(self, k, logits, features, y):
        """Balanced softmax."""
        return super().loss(k, logits + self.log_prior(k), features, y)

    def local_step(self, weights, k, step, key, optimizer):
        """Beside G's step plain SGD on P alone, on G's logits and the features from before the step."""
        logits, features, _ = to_numpy(self.network.forward(weights, step.x, key))
        both = logits + features @ weights[self.KERNEL] + weights[self.BIAS]
        _, d = cross_entropy(both, step.y, self.world.class_weights)
        own = self.training.role_learning_rates.personal
        rate = self.round_rate * (self.training.learning_rate if own is None else own)
        t, gradient = self.training, {self.KERNEL: features.T @ d, self.BIAS: d.sum(0)}
        sgd = Optimizer(config.Optimizer("sgd", {}), t.weight_decay, t.clip_norm)
        head = sgd.step(weights, gradient, lambda path: rate)
        return {**super().local_step(weights, k, step, key, optimizer), **head}

    def predict(self, k, x):
        logits, features = super().predict(k, x)
        return logits + features @ self.own[k][self.KERNEL] + self.own[k][self.BIAS], features


class FedTPRod(FedRod, FedTP):
    """FedRod on generated attention."""


class FedTPPrior(FedTP):
    """FedTP whose clients add the log of their class shares to what the model says."""

    PRIOR = "prior/log_shares"

    def __init__(self, world, settings):
        super().__init__(world, settings)
        for own in self.own.values():
            own[self.PRIOR] = np.zeros(world.classes, np.float32)  # of who has not taken part yet

    def train(self, weights, k, round):
        held = np.bincount(self.world.labels(k), minlength=self.world.classes) + self.settings.smoothing
        self.told = np.log(np.float32(held / held.sum()))
        return super().train({**weights, self.PRIOR: self.told}, k, round)

    def loss(self, k, logits, features, y):
        return super().loss(k, logits + self.told, features, y)

    def predict(self, k, x):
        logits, features = super().predict(k, x)
        return logits + self.own[k][self.PRIOR], features


class FedProto(FedAvg):
    """Clients keep their models and share the mean features of each class (Tan et al., 2022)."""

    def __init__(self, world, settings):
        super().__init__(world, settings)
        self.prototypes, self.makers = {}, {}  # by class: the mean of clients' means, and of how many

    def stays(self, path):
        return True

    def loss(self, k, logits, features, y):
        """Cross-entropy + lambda * mean squared distance to the prototypes of the examples' classes."""
        loss, d_logits, away = super().loss(k, logits, features, y)
        for i, label in enumerate(y):
            if label in self.prototypes:
                away[i] = features[i] - self.prototypes[label]
        weight = self.settings.weight
        return loss + weight * (away**2).mean(), d_logits, 2 * weight * away / np.float32(away.size)

    def round(self, cohort, round):
        self.seen = {k: {} for k in cohort}
        super().round(cohort, round)

    def local_step(self, weights, k, step, key, optimizer):
        """The features of the last pass, each as it was when its batch was trained on."""
        if step.in_last_pass:
            features = to_numpy(self.network.forward(weights, step.x, key)[1])
            for f, label in zip(features, step.y, strict=True):
                self.seen[k].setdefault(label, []).append(f)
        return super().local_step(weights, k, step, key, optimizer)

    def aggregate(self, p, sent, trained):
        """A class that nobody of the cohort holds keeps its prototype."""
        super().aggregate(p, sent, trained)
        for label in range(self.world.classes):
            means = [np.mean(self.seen[k][label], 0) for k in p if label in self.seen[k]]
            if means:
                self.prototypes[label], self.makers[label] = np.mean(means, 0), len(means)

    def predict(self, k, x):
        """The nearest prototype."""
        logits, features = super().predict(k, x)
        distances = np.full(logits.shape, np.inf, np.float32)
        for label, prototype in self.prototypes.items():
            distances[:, label] = ((features - prototype) ** 2).mean(-1)
        without = [label for label in range(distances.shape[1]) if label not in self.prototypes]
        known = np.delete(distances, without, axis=1)
        distances[:, without] = known.max(-1, keepdims=True, initial=0.0) + 1  # never the nearest
        return -distances, features


class PFedMe(FedAvg):
    """A personal theta near the shared w, by a Moreau envelope (Dinh et al., 2020)."""

    def __init__(self, world, settings):
        super().__init__(world, settings)
        self.theta, self.initial = {}, self.w  # theta of those that have trained

    def train(self, weights, k, round):
        """K steps of theta on each batch, then w <- w - eta lambda (w - theta)."""
        t, lam = self.training, self.settings.penalty
        eta = self.round_rate * (self.settings.outer_learning_rate or t.learning_rate)
        optimizer = Optimizer(t.optimizer, t.weight_decay, t.clip_norm)
        theta, self.anchor = weights, weights
        for step in self.world.local_steps(k, round):
            for i in range(self.settings.inner_steps):
                theta = self.local_step(theta, k, step, jax.random.fold_in(step.key, i), optimizer)
            self.anchor = {
                path: w - eta * lam * (w - theta[path]) if is_parameter(path) else theta[path]
                for path, w in self.anchor.items()
            }
        if all(np.isfinite(w).all() for w in self.anchor.values()):
            self.theta[k] = theta
        return self.anchor

    def penalty(self, weights):
        """The gradient of lambda/2 |theta - w|^2; the training loss that is reported is the model's alone."""
        lam = self.settings.penalty
        return 0.0, {path: lam * (weights[path] - w) for path, w in self.anchor.items() if is_parameter(path)}

    def predict(self, k, x):
        return self.network.predict(self.theta.get(k, self.w), x)


class Ditto(FedAvg):
    """FedAvg's w, and a personal v near it, each stepped on every batch (Li et al., 2021)."""

    def __init__(self, world, settings):
        super().__init__(world, settings)
        self.v = dict.fromkeys(range(world.clients), self.w)

    def round(self, cohort, round):
        self.sent, self.stepped = self.w, {}
        super().round(cohort, round)

    def train(self, weights, k, round):
        """v <- v - eta (g(v) + lambda (v - w as sent)); w <- w - eta g(w)."""
        t = self.training
        of_w, of_v = (Optimizer(t.optimizer, t.weight_decay, t.clip_norm) for _ in range(2))
        w, v = weights, self.v[k]
        for step in self.world.local_steps(k, round):
            self.lam = self.settings.penalty
            v = self.local_step(v, k, step, step.key, of_v)
            self.lam, reported = 0.0, list(self.losses)  # those of v
            w = self.local_step(w, k, step, step.key, of_w)
            self.losses = reported
        self.stepped[k] = v
        finite = all(np.isfinite(leaf).all() for leaf in v.values())
        return w if finite else v  # who has one model that is not finite is out with both

    def penalty(self, weights):
        """The gradient of lambda/2 |v - w|^2; the training loss that is reported is the model's alone."""
        return 0.0, {p: self.lam * (weights[p] - w) for p, w in self.sent.items() if is_parameter(p)}

    def aggregate(self, p, sent, trained):
        super().aggregate(p, sent, trained)
        self.v |= {k: self.stepped[k] for k in p}

    def predict(self, k, x):
        return self.network.predict(self.v[k], x)
