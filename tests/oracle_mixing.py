"""The methods whose server combines what clients send of their own as plain loops: FedAMP, FedPAC."""

import itertools
import math

import numpy as np
from oracle import Optimizer
from oracle_network import is_parameter, to_numpy
from oracle_roles import FedAvg, FedPer, is_head


class FedAMP(FedAvg):
    """w_k near u_k, which the server makes of the models that are like w_k (Huang et al., 2021)."""

    U = "cloud/"

    def __init__(self, world, settings):
        super().__init__(world, settings)
        self.parameters = [path for path in self.shapes if is_parameter(path)]
        for own in self.own.values():
            own.update({self.U + path: own[path] for path in self.parameters})

    def stays(self, path):
        return True

    def train(self, weights, k, round):
        self.u = {path: weights[self.U + path] for path in self.parameters}
        return super().train({**weights, **self.u}, k, round)

    def penalty(self, weights):
        """The gradient of lambda / (2 alpha) |w - u_k|^2; the reported loss is the model's alone."""
        pull = self.settings.penalty / self.settings.alpha
        return 0.0, {path: pull * (weights[path] - u) for path, u in self.u.items()}

    def aggregate(self, p, sent, trained):
        """u_i = sum_j xi_ij w_j, with xi_ij = alpha A'(|w_i - w_j|^2) and A(x) = 1 - exp(-x / sigma)."""
        super().aggregate(p, sent, trained)
        for i in p:
            xi = {j: self.settings.alpha * self.slope(trained[i], trained[j]) for j in p if j != i}
            xi[i] = 1 - sum(xi.values())
            for path in self.parameters:
                self.own[i][self.U + path] = sum(xi[j] * trained[j][path] for j in p)

    def slope(self, a, b):
        squared = sum(((a[path] - b[path]) ** 2).sum() for path in self.parameters)
        return math.exp(-squared / self.settings.sigma) / self.settings.sigma


class FedPAC(FedPer):
    """Features near the classes' centroids, heads combined for each client (Xu et al., 2023)."""

    MEANS, VARIANCE = "client/told/means", "client/told/variance"

    def __init__(self, world, settings):
        super().__init__(world, settings)
        self.nothing = np.zeros((world.classes, self.shapes["params/head/kernel"][0]), np.float32)
        self.centroids, self.examples = {}, {}  # by class: the mean, and of how many
        for own in self.own.values():
            own.update({self.MEANS: self.nothing, self.VARIANCE: np.float32(0)})

    @property
    def beside(self):
        """What the server sends beside the model."""
        mean, examples = self.nothing.copy(), np.zeros(self.world.classes)
        for label, centroid in self.centroids.items():
            mean[label], examples[label] = centroid, self.examples[label]
        return {"centroids/mean": mean, "centroids/examples": examples}

    def learning_rate(self, path):
        return (
            self.round_rate * self.settings.head_learning_rate
            if is_head(path)
            else super().learning_rate(path)
        )

    def round(self, cohort, round):
        self.seen = {k: {} for k in cohort}  # {label: features} in the last pass
        super().round(cohort, round)

    def train(self, weights, k, round):
        """A pass for the head, whose features tell h_k and v_k; then passes for the body."""
        t, first, self.seen[k] = self.training, {}, {}
        head, body = (Optimizer(t.optimizer, t.weight_decay, t.clip_norm) for _ in range(2))
        batches = math.ceil(self.world.size(k) / t.batch_size)
        for number, step in enumerate(self.world.local_steps(k, round)):
            self.at_head = number < batches
            features = to_numpy(self.network.forward(weights, step.x, step.key)[1])
            for f, label in zip(features, step.y, strict=True):
                if self.at_head:
                    first.setdefault(label, []).append(f)
                if step.in_last_pass:
                    self.seen[k].setdefault(label, []).append(f)
            weights = self.local_step(weights, k, step, step.key, head if self.at_head else body)
        h, v = self.statistics(first)
        return {**weights, self.MEANS: h, self.VARIANCE: v}

    def trains(self, path):
        return is_head(path) == self.at_head

    def statistics(self, features):
        """h[c] = P(c) E[f | c], and v = (sum_c P(c) E[|f|^2 | c] - |h[c]|^2) / n."""
        n, h, v = sum(map(len, features.values())), self.nothing.copy(), 0.0
        for label, of_class in features.items():
            share = len(of_class) / n
            h[label] = share * np.mean(of_class, 0)
            v += share * np.mean([(f**2).sum() for f in of_class]) - (h[label] ** 2).sum()
        return h, np.float32(v / n)

    def loss(self, k, logits, features, y):
        """Of the body: cross-entropy + lambda * mean squared distance to the centroids of the labels."""
        loss, d_logits, away = super().loss(k, logits, features, y)
        for i, label in enumerate(y):
            if label in self.centroids and not self.at_head:
                away[i] = features[i] - self.centroids[label]
        weight = self.settings.weight
        return loss + weight * (away**2).mean(), d_logits, 2 * weight * away / np.float32(away.size)

    def aggregate(self, p, sent, trained):
        super().aggregate(p, sent, trained)
        for label in range(self.world.classes):
            shown = [f for k in p for f in self.seen[k].get(label, [])]
            if shown:
                self.centroids[label], self.examples[label] = np.mean(shown, 0), len(shown)
        v = np.diag(
            [max(float(trained[k][self.VARIANCE]), 0.0) for k in p]
        )  # 0 but for rounding: one example
        h = {k: np.float64(trained[k][self.MEANS]) for k in p}
        for k in p:
            distances = np.array([[((h[k] - h[i]) * (h[k] - h[j])).sum() for j in p] for i in p])
            a = least_on_simplex(v + distances)
            for path in filter(is_head, self.own[k]):
                self.own[k][path] = sum(a_j * trained[j][path] for a_j, j in zip(a, p, strict=True))


def least_on_simplex(q):
    """The a that is not negative, sums to 1 and has the least a' Q a: the best of those with any zeros."""
    best, least = None, math.inf
    for count in range(1, len(q) + 1):
        for some in map(list, itertools.combinations(range(len(q)), count)):
            # 2 Q a = multiplier, sum a = 1
            system = np.block([[2 * q[np.ix_(some, some)], np.ones((count, 1))], [np.ones((1, count)), 0]])
            a = np.zeros(len(q))
            a[some] = np.linalg.lstsq(system, np.array([0.0] * count + [1.0]), rcond=None)[0][:-1]
            if (a >= 0).all() and a @ q @ a < least:
                best, least = a, a @ q @ a
    return best
