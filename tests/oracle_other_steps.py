"""The methods whose local steps are others as plain loops: SCAFFOLD, APFL, Per-FedAvg, FedALA."""

import re

import jax
import numpy as np
from oracle import Optimizer, cross_entropy
from oracle_network import is_parameter, to_numpy
from oracle_roles import FedAvg


class Scaffold(FedAvg):
    """Steps along g + c - c_k, and c_k by option II (Karimireddy et al., 2020); eta_g the server's."""

    OWN = "client/control/"

    def __init__(self, world, settings):
        super().__init__(world, settings)
        zeros = {path: np.zeros_like(w) for path, w in self.w.items() if is_parameter(path)}
        self.c = dict(zeros)
        self.own = {k: {self.OWN + path: zero for path, zero in zeros.items()} for k in range(world.clients)}

    @property
    def beside(self):
        """What the server sends beside the model."""
        return {"control/" + path: c for path, c in self.c.items()}

    def train(self, x, k, round):
        """c_k <- c_k - c + (x - y) / (K eta), K the client's own steps."""
        y, control = super().train(x, k, round), {}
        way = self.world.steps_done(k, round) * self.round_rate * self.training.learning_rate
        for path, c in self.c.items():
            control[self.OWN + path] = self.own[k][self.OWN + path] - c + (x[path] - y[path]) / way
        return {**y, **control}

    def local_step(self, weights, k, step, key, optimizer):
        """y <- y - eta (g + c - c_k); clipping is of the client's own gradient g."""
        y = super().local_step(weights, k, step, key, optimizer)
        for path, c in self.c.items():
            y[path] = y[path] - self.learning_rate(path) * (c - self.own[k][self.OWN + path])
        return y

    def aggregate(self, p, sent, trained):
        """c <- c + sum of (c_k' - c_k) / N, whatever the clients' weights."""
        super().aggregate(p, sent, trained)
        for path, c in self.c.items():
            changes = [trained[k][self.OWN + path] - sent[k][self.OWN + path] for k in p]
            self.c[path] = c + sum(changes) / self.world.clients


class APFL(FedAvg):
    """A model v of the client's own, mixed into the shared w's logits (Deng et al., 2020, and their code)."""

    V, ALPHA = "personal/", "mixing/alpha"

    def __init__(self, world, settings):
        super().__init__(world, settings)
        for own in self.own.values():
            own.update({self.V + path: w for path, w in self.w.items()})
            if settings.adaptive:
                own[self.ALPHA] = np.float32(settings.alpha)

    def alpha(self, k):
        return self.own[k].get(self.ALPHA, np.float32(self.settings.alpha))

    def personal(self, k):
        return {path: self.own[k][self.V + path] for path in self.w}

    def train(self, weights, k, round):
        """w on its own loss, v on that of the mixture with the new w; alpha once, before the second batch."""
        t, alpha = self.training, self.alpha(k)
        w, v = {path: weights[path] for path in self.w}, self.personal(k)
        of_w, of_v = (Optimizer(t.optimizer, t.weight_decay, t.clip_norm) for _ in range(2))
        own = t.role_learning_rates.personal
        rate = self.round_rate * (t.learning_rate if own is None else own)
        for number, step in enumerate(self.world.local_steps(k, round)):
            w = self.local_step(w, k, step, step.key, of_w)
            by_w, _, _ = to_numpy(self.network.forward(w, step.x, step.key))
            by_v, features, statistics = to_numpy(self.network.forward(v, step.x, step.key))
            mixed = alpha * by_v + (1 - alpha) * by_w
            loss, d = cross_entropy(mixed, step.y, self.world.class_weights)
            self.losses[-1] = (loss, len(step.y))  # the mixture's in place of w's
            nothing = np.zeros_like(features)
            g_v = to_numpy(self.network.backward(v, step.x, step.key, alpha * d, nothing))
            g_w = to_numpy(self.network.backward(w, step.x, step.key, (1 - alpha) * d, nothing))
            v = {**v, **of_v.step(v, g_v, lambda path: rate), **statistics}
            if self.settings.adaptive and number == 0:
                along = {path: alpha * g_v[path] + (1 - alpha) * g_w[path] for path in g_v}
                slope = sum(((v[path] - w[path]) * along[path]).sum() for path in along)
                alpha = np.clip(np.float32(alpha - rate * (slope + 0.02 * alpha)), 0, 1)
        learnt = {self.ALPHA: alpha} if self.settings.adaptive else {}
        return {**w, **{self.V + path: leaf for path, leaf in v.items()}, **learnt}

    def predict(self, k, x):
        """The mixture; neighbours are by v's features."""
        by_w, _ = self.network.predict(self.w, x)
        by_v, features = self.network.predict(self.personal(k), x)
        return self.alpha(k) * by_v + (1 - self.alpha(k)) * by_w, features


class PerFedAvg(FedAvg):
    """w <- w - beta grad F(w - alpha grad F(w; B1); B2), without second derivatives (Fallah et al., 2020)."""

    def local_step(self, weights, k, step, key, optimizer):
        """B1 and B2 are the halves of a batch; the greater one is B2."""
        half = len(step.y) // 2
        alpha, u = self.settings.inner_learning_rate or self.training.learning_rate, weights
        if half:
            _, g, _ = self.gradient(weights, step.x[:half], step.y[:half], jax.random.fold_in(key, 2))
            u = {**weights, **{path: weights[path] - alpha * g[path] for path in g}}
        loss, g, statistics = self.gradient(u, step.x[half:], step.y[half:], key)
        self.losses.append((loss, len(step.y)))
        return {**weights, **optimizer.step(weights, g, self.learning_rate), **statistics}

    def gradient(self, weights, x, y, key):
        """(loss, its gradient, running statistics after the batch)."""
        logits, features, statistics = to_numpy(self.network.forward(weights, x, key))
        loss, d = cross_entropy(logits, y, self.world.class_weights)
        return loss, to_numpy(self.network.backward(weights, x, key, d, np.zeros_like(features))), statistics


class FedALA(FedAvg):
    """A start from u = theta + (w - theta) W, whose W is learned first (Zhang et al., 2023, algorithm 1)."""

    THETA, W = "local/", "mixing/"

    def __init__(self, world, settings):
        super().__init__(world, settings)
        found = [p for p in self.w if any(re.search(pattern, p) for pattern in settings.personal)]
        self.mixed = [path for path in found if is_parameter(path)]
        for own in self.own.values():
            own.update({self.THETA + path: self.w[path] for path in self.mixed})
            own.update({self.W + path: np.ones_like(self.w[path]) for path in self.mixed})

    def mixture(self, own):
        """Equation 4."""
        return {
            p: own[self.THETA + p] + (self.w[p] - own[self.THETA + p]) * own[self.W + p] for p in self.mixed
        }

    def train(self, weights, k, round):
        """Adaptive local aggregation, equation 5, on a share of the examples; then local steps on all."""
        t, s, own, order = self.training, self.settings, dict(self.own[k]), self.world.order(k, round)
        u = {**self.w, **self.mixture(own)}
        for step in self.world.steps_before(k, round, order, s.share, s.passes):
            logits, features, _ = to_numpy(self.network.forward(u, step.x, step.key))
            _, d = cross_entropy(logits, step.y, self.world.class_weights)
            g = to_numpy(self.network.backward(u, step.x, step.key, d, np.zeros_like(features)))
            for p in self.mixed:
                slope = g[p] * (self.w[p] - own[self.THETA + p])
                own[self.W + p] = np.clip(own[self.W + p] - s.mixing_learning_rate * slope, 0, 1)
            u = {**u, **self.mixture(own)}
        optimizer = Optimizer(t.optimizer, t.weight_decay, t.clip_norm)
        for step in self.world.local_steps(k, round, order):
            u = self.local_step(u, k, step, step.key, optimizer)
        return {**u, **own, **{self.THETA + path: u[path] for path in self.mixed}}

    def predict(self, k, x):
        """As it would start now, before it learns W anew."""
        return self.network.predict({**self.w, **self.mixture(self.own[k])}, x)
