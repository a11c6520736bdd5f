"""The methods whose local steps are others as plain loops: SCAFFOLD."""

import numpy as np
from oracle import is_parameter
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
