"""Wrong partitions and traces in files: damaged, of other data, or of clients that cannot be."""

import io
import json
import os
import pickle
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from wrong_arrays import Attack, arrays_in, npy, zipped
from wrong_settings import given

from fedtp_jax import config, from_flwr
from fedtp_jax.data.sources import load
from fedtp_jax.partitions.files import save_partition
from fedtp_jax.partitions.make import make_partition


def lists(content, overrides=""):
    """A partition as JSON, for digits."""
    text = content if isinstance(content, str | bytes) else json.dumps(content)
    return given(f"'partition={{name: file, file: own.json}}' {overrides}", {"own.json": text})


def both(lists, **fields):
    """The same with validation lists."""
    content = {"train": {"0": [1], "1": [2], "2": [3]}, "test": {"0": [1], "1": [], "2": []}}
    words = "".join(f", {name}: {value}" for name, value in fields.items())
    text = json.dumps({**content, "validation": lists})
    return given(f"'partition={{name: file, file: own.json{words}}}'", {"own.json": text})


def npz(change):
    """A partition of digits that fedtp_jax saved, its bytes changed."""

    def content():
        save_partition(make_partition(config.Iid(clients=5), load(config.Digits()), seed=0), Path("own.npz"))
        return change(Path("own.npz").read_bytes())

    return given("'partition={name: file, file: own.npz}'", {"own.npz": content})


def arrays(**changed):
    """The same with other arrays; None takes one away."""

    def change(content):
        with np.load(io.BytesIO(content)) as file:
            made = {**file, **changed}
        return arrays_in(**{name: array for name, array in made.items() if array is not None})

    return npz(change)


def trace(text):
    return given("training.participation.trace=trace.csv", {"trace.csv": text})


def flwr(name, *arguments, again=False, **more):
    """A partitioner of flwr-datasets for digits, with arguments; `again`: for train and test alike."""

    def case():
        flower = pytest.importorskip("flwr_datasets.partitioner", reason="it comes with the extra `flwr`")
        made = getattr(flower, name)(*arguments)
        tests = {split: getattr(flower, name)(*others) for split, others in more.items()}
        data = load(config.Digits())
        return lambda: from_flwr(made, data, **({"test": made} if again else tests))

    return case


def ours():
    pytest.importorskip("datasets", reason="datasets comes with the extra `flwr`")
    return lambda: from_flwr(config.Iid(), load(config.Digits()))


def without_the_package():
    def run():
        with mock.patch.dict(sys.modules, {"datasets": None}):
            from_flwr(None, load(config.Digits()))

    return run


HEAD = "client,first_round,last_round\n"

KINDS = {
    "`partition.file`, JSON": {
        "no such JSON file": given("'partition={name: file, file: own.json}'"),
        "a folder in place of JSON": given("'partition={name: file, file: raw}'", {"raw/x": b""}),
        "JSON that is cut off": lists('{"train": '),
        "JSON in Latin-1": lists('"ø"'.encode("latin-1")),
        "JSON brackets 100,000 deep": lists("[" * 100_000),
        "a JSON list": lists([1, 2]),
        "train alone": lists({"train": {"0": [1]}}),
        "a client twice": lists('{"train": {"0": [1], "0": [2]}, "test": {"0": [1]}}'),
        "a client left out": lists({"train": {"0": [1], "2": [2]}, "test": {}}),
        "a client with a name": lists({"train": {"ann": [1]}, "test": {}}),
        "a fraction as a position": lists({"train": {"0": [1.5]}, "test": {"0": []}}),
        "a position of 5,000 digits": lists('{"train": {"0": [%s]}, "test": {"0": []}}' % ("9" * 5000)),
        "two clients that train, one that tests": lists({"train": {"0": [1], "1": [2]}, "test": {"0": [1]}}),
        "a position beyond the data": lists({"train": {"0": [1438]}, "test": {"0": [1]}}),
        "a position below zero": lists({"train": {"0": [-1]}, "test": {"0": [1]}}),
        "a position twice": lists({"train": {"0": [1, 1]}, "test": {"0": [1]}}),
        "an example to train and to validate on": both({"0": [], "1": [2], "2": []}),
        "validation lists that are empty": both({"0": [], "1": [], "2": []}),
        "validation lists of two clients": both({"0": [5], "1": []}),
        "validation lists, and a share": both({"0": [5], "1": [], "2": []}, validation=0.1),
        "nobody has train examples": lists({"train": {"0": []}, "test": {"0": [1]}}),
        "nobody has test examples": lists(
            {s: {"0": p, "1": p, "2": p} for s, p in (("train", [1]), ("test", []))}
        ),
        "a client that is to adapt to nothing": lists(
            {
                "train": {"0": [1], "1": [2], "2": [3], "3": []},
                "test": {"0": [1], "1": [], "2": [], "3": [4]},
            },
            "evaluation.adapt.epochs=1",
        ),
        "an empty client in a cohort of all": lists(
            {"train": {"0": [1], "1": [2], "2": []}, "test": {"0": [1], "1": [], "2": []}}
        ),
    },
    "`partition.file`, .npz": {
        "no such .npz": given("'partition={name: file, file: own.npz}'"),
        "a .npz of no bytes": npz(lambda content: b""),
        "half a .npz": npz(lambda content: content[: len(content) // 2]),
        "a .npz of data": npz(lambda content: arrays_in(x=np.zeros(3), y=np.zeros(3, int))),
        "indices exchanged": arrays(train_indices=np.arange(1438)[::-1]),
        "offsets beyond the indices": arrays(train_offsets=np.array([0, 5000])),
        "no fingerprint": arrays(fingerprint=None),
        "indices that are pickled": arrays(train_indices=np.array([os.mkdir], object)),
        "a pickle in place of the .npz": npz(lambda content: pickle.dumps(Attack())),
        "indices that announce 1 TB": npz(lambda content: zipped(train_indices=npy((2**40,)))),
    },
    "`from_flwr(...)`": {
        "the package is not installed": without_the_package,
        "a configuration of ours": ours,
        "`IidPartitioner(5)`, for train and test": flwr("IidPartitioner", 5, again=True),
        "`NaturalIdPartitioner('group')`, without groups": flwr("NaturalIdPartitioner", "group"),
        "`IidPartitioner(5)`, and `IidPartitioner(4)` for test": flwr("IidPartitioner", 5, test=[4]),
    },
    "`training.participation.trace=trace.csv`": {
        "no trace": given("training.participation.trace=trace.csv"),
        "an empty trace": trace(""),
        "a trace with another head": trace("client,from,to\n"),
        "two numbers": trace(HEAD + "1,2\n"),
        "a word": trace(HEAD + "1,2,always\n"),
        "a client that is none": trace(HEAD + "6,1,2\n"),
        "round 0": trace(HEAD + "1,0,2\n"),
        "the last round before the first": trace(HEAD + "1,3,2\n"),
        "a trace in UTF-16": trace(HEAD.encode("utf-16")),
        "a name of a client that has none": trace(HEAD + "north,1,2\n"),
        "cohorts that name nobody": given("training.participation.cohorts=who.csv", {"who.csv": HEAD}),
        "a cell of 200,000 characters": trace(HEAD + "1" * 200_000),
    },
}
