"""Wrong things to go on from: variables and files to start from, rounds that a run cannot have."""

import dataclasses
import sys
from pathlib import Path
from unittest import mock

import numpy as np
from flax.serialization import to_bytes
from wrong_runs import SETTINGS, after, finished, load, shell, take
from wrong_settings import write

from fedtp_jax import load_config, simulate
from fedtp_jax.core import tree

FEDAVG = {"training": {"rounds": 1}}


def leaves():
    """Variables of the tiny model, {path: leaf}."""
    from fedtp_jax import Result

    return tree.flatten(Result.load(f"{finished().name}/run").variables(0))


def start(init, files=None):
    """A run from `init`, or from what it makes of the model's own leaves."""

    def case():
        write({"tiny.yaml": SETTINGS, **(files or {})})
        given = init(leaves()) if callable(init) else init
        return lambda: simulate("tiny.yaml", out="run", init=given)

    return case


def without(*paths):
    return lambda given: {path: leaf for path, leaf in given.items() if path not in paths}


def with_leaf(path, leaf):
    return lambda given: {**given, path: leaf}


def not_installed(package, file):
    """A run from a file that this package would read."""

    def case():
        write({"tiny.yaml": SETTINGS, file: b""})

        def run():
            with mock.patch.dict(sys.modules, {package: None, f"{package}.numpy": None}):
                simulate("tiny.yaml", out="run", init=file)

        return run

    return case


def lost():
    """A run whose init.npz is gone."""
    write({"tiny.yaml": SETTINGS})
    simulate("tiny.yaml", out="run", init=leaves(), **FEDAVG)
    Path("run/init.npz").unlink()
    return load


def resumed_with_another():
    write({"tiny.yaml": SETTINGS})
    given = leaves()
    simulate("tiny.yaml", out="run", init=given, **FEDAVG)
    other = {**given, "params/head/bias": np.ones(10)}
    return lambda: simulate("tiny.yaml", out="run", init=other, resume=True, **FEDAVG)


def falling():
    """A finished run whose learning rate has come to its end."""
    write({"tiny.yaml": SETTINGS})
    settings = load_config("tiny.yaml", ["training.schedule=cosine"])
    simulate(settings, out="run")
    longer = dataclasses.replace(settings.training, rounds=4)
    return lambda: simulate(dataclasses.replace(settings, training=longer), out="run", resume=True)


INIT = {
    "`simulate(init=3)`": start(3),
    "`simulate(init='none.msgpack')`": start("none.msgpack"),
    "`simulate(init='tiny.yaml')`": start("tiny.yaml"),
    "`simulate(init='sub')`, a folder without a run": start("sub", {"sub/x": b""}),
    "`simulate(init='x.safetensors')`, damaged": start("x.safetensors", {"x.safetensors": b"{}"}),
    "`simulate(init='x.msgpack')` of a number": start("x.msgpack", {"x.msgpack": lambda: to_bytes(3)}),
    "`simulate(init='x.safetensors')` without safetensors": not_installed("safetensors", "x.safetensors"),
    "`simulate(init='vit.pt')` without PyTorch": not_installed("torch", "vit.pt"),
    "`simulate(init=...)` without the head": start(without("params/head/kernel", "params/head/bias")),
    "`simulate(init=variables['params'])`": start(lambda given: tree.unflatten(given)["params"]),
    "`simulate(init=...)` of more blocks": start(with_leaf("params/block_1/mlp/up/bias", np.zeros(8))),
    "`simulate(init=...)` of other classes": start(with_leaf("params/head/bias", np.zeros(7))),
    "`simulate(init=...)` with NaN": start(with_leaf("params/head/bias", np.full(10, np.nan))),
    "`simulate(init=...)` of texts": start(with_leaf("params/head/bias", np.array(["a"] * 10))),
    "`simulate(init={1: ...})`": start({"params": {1: np.zeros(3)}}),
    "`simulate(init=..., resume=True)` of a run that started elsewhere": resumed_with_another,
    "`Result.load` of a run whose init.npz is lost": lost,
    "`fedtp run tiny.yaml --init none.msgpack`": shell("fedtp run tiny.yaml --init none.msgpack --out run"),
}

ROUNDS = {
    "`fedtp resume run training.rounds=1`, after 2": after(None, "fedtp resume run training.rounds=1"),
    "`fedtp resume run training.rounds=4`, whose checkpoint of round 1 is gone": after(
        take("checkpoints/1"), "fedtp resume run training.rounds=4"
    ),
    "`fedtp resume run training.rounds=many`": after(None, "fedtp resume run training.rounds=many"),
    "`fedtp resume run training.rounds=4 model.dim=16`": after(
        None, "fedtp resume run training.rounds=4 model.dim=16"
    ),
    "more rounds on a run with `training.schedule=cosine`": falling,
}

KINDS = {"To start from": INIT, "More rounds": ROUNDS}
