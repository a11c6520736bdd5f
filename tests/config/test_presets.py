"""The presets in configs/: their headers, and that each fits its data and runs on data of the same shape."""

import dataclasses
import functools
import itertools
import math
import re
import shlex

import jax
import numpy as np
import pytest
from paths import ROOT

from fedtp_jax import config as cfg
from fedtp_jax import load_config, simulate
from fedtp_jax.data.dataset import Dataset, Examples
from fedtp_jax.data.image_sets import IMAGE_SETS
from fedtp_jax.data.plays import Role
from fedtp_jax.data.sources import load
from fedtp_jax.data.text import from_roles
from fedtp_jax.evaluation.novel_steps import Adaptation
from fedtp_jax.partitions.make import make_partition
from fedtp_jax.runs import run
from fedtp_jax.simulation import plan
from fedtp_jax.simulation.data_spec import DataSpec
from fedtp_jax.sweeps.combinations import read_sweep

FILES = sorted((ROOT / "configs").rglob("*.yaml"))
each_file = pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)

# side in pixels, published train and test examples
PUBLISHED = {
    "fashion_mnist": (28, 60_000, 10_000),
    "cifar10": (32, 50_000, 10_000),
    "cifar100": (32, 50_000, 10_000),
}
SMALL_MODEL = {"dim": 8, "depth": 1, "heads": 2, "dim_head": 4, "mlp_dim": 8, "kernels": 2}
SMALL_HYPERNETWORK = {"embedding": 4, "hidden": 6, "layers": 1}


def header(file):
    """The comment at the file's top, line by line, without the signs."""
    return re.match(r"(#.*\n)+", file.read_text(encoding="utf-8")).group().replace("#", "").splitlines()


def is_sweep(file):
    return "\nbase:" in file.read_text(encoding="utf-8")


@functools.cache
def configurations(file):
    """All that a file asks for, checked as `fedtp run` and `fedtp sweep` do before they look at the data."""
    return tuple(read_sweep(file)[0]) if is_sweep(file) else (load_config(file),)


# ------------------------------------------------------------------------------- what the headers say


@each_file
def test_the_header_has_the_command(file):
    commands = [shlex.split(line) for line in header(file) if re.match("   fedtp (run|sweep) ", line)]
    own = file.relative_to(ROOT).as_posix()
    assert ["fedtp", "sweep" if is_sweep(file) else "run", own] in commands
    for _, verb, path, *overrides in commands:
        if verb == "run":
            load_config(ROOT / path, overrides)
        else:
            read_sweep(ROOT / path)
            assert not overrides


@each_file
def test_the_header_has_the_time_and_the_figure(file):
    prose = " ".join(line.strip() for line in header(file) if not line.startswith("   "))
    assert re.search(r"About [\d.,]+ (second|minute|hour|day)s? [^.]*on 2 CPU cores", prose), prose
    assert re.search(r"[^\d]\.\d{2}|\d\d\.\d", prose) or "no figure of ours yet" in prose, prose
    for path in re.findall(r"(?:configs|benchmarks)/[\w/]+\.\w+", prose):
        assert (ROOT / path).exists(), path


@each_file
def test_the_readme_lists_it(file):
    assert f"`{file.relative_to(ROOT / 'configs').as_posix()}`" in (ROOT / "docs" / "presets.md").read_text(
        "utf-8"
    )


# ------------------------------------------------------------------- whether they fit data of full size


def labels_like(data):
    """As many labels as are published, of all classes alike; the images are one."""
    side, *counts = PUBLISHED[cfg.name_of(data)]
    return images(data, counts, np.zeros((1, side, side, 3), np.uint8))


def images(data, counts, x):
    """A data set with the facts of `data`, `counts` train and test labels in random order, and inputs `x`."""
    name = cfg.name_of(data)
    about, random = IMAGE_SETS[name], np.random.default_rng(0)
    x = x[..., : len(about.mean)]
    train, test = (
        Examples(
            np.broadcast_to(x, (count, *x.shape[1:])),
            random.permutation(np.arange(count, dtype=np.int32) % about.num_classes),
        )
        for count in counts
    )
    return Dataset(name, train, test, about.num_classes, about.mean, about.std, "made up")


def partitions():
    """Each partition of images once, by the first file that has it."""
    seen = set()
    for file in FILES:
        for one in configurations(file):
            pair = one.data, one.partition
            if cfg.name_of(one.data) in PUBLISHED and pair not in seen:
                seen.add(pair)
                yield pytest.param(*pair, id=f"{file.stem}-{cfg.name_of(one.partition)}")


@pytest.mark.parametrize(("data", "partition"), [*partitions()])
def test_every_client_gets_examples(data, partition):
    made = make_partition(partition, labels_like(data), seed=0)
    assert made.num_clients == partition.clients
    assert made.train.sizes.min() > 0
    assert made.test.sizes.min() > 0


@functools.cache
def task_shape(data):
    made = stand_in(data)
    partition = cfg.Natural() if made.is_text else cfg.Iid()
    return DataSpec.of(made, make_partition(partition, made, seed=0))


@pytest.mark.parametrize(
    "file",
    [
        pytest.param(
            file, id=file.stem, marks=() if file.stem in ("cifar10", "million") else pytest.mark.slow
        )
        for file in FILES
    ],
)
def test_the_method_fits_the_model_in_its_full_size(file):
    """Shapes alone: one of the paper's hypernetworks takes 1.2 GB."""
    parts = {(one.model, one.method): one for one in configurations(file)}
    for one in parts.values():
        _, method = task_shape(one.data).build(one)
        jax.eval_shape(method.init, jax.random.key(0), jax.ShapeDtypeStruct((1,), "int32"))
        assert ("generated" in method.roles.values()) == hasattr(one.method, "hypernetwork")


# ------------------------------------------------------------------------------ whether they run


@functools.cache
def stand_in(data):
    """A few thousand examples of `data`'s shape: the true ones of digits, else made up."""
    name = cfg.name_of(data)
    if name == "digits":
        return load(data)
    if name == "shakespeare":
        verse = "Now is the winter of our discontent made glorious summer by this sun of York"
        lines = tuple(verse[k:] for k in range(12))
        return from_roles(data, [Role("Play", f"Role {k}", lines) for k in range(130)], "made up")
    # as many test as train examples: noniid-labeldir wants 10 of both at each of 100 clients
    side = PUBLISHED[name][0]
    noise = np.random.default_rng(1).integers(0, 256, (6_000, side, side, 3), np.uint8)
    return images(data, (6_000, 6_000), noise)


def small(one):
    """The same partition, method and kind of model, cut to what compiles and runs in a second."""
    model = {
        name: min(getattr(one.model, name), size)
        for name, size in SMALL_MODEL.items()
        if hasattr(one.model, name)
    }
    method = {}
    if hasattr(one.method, "hypernetwork"):
        method = {"hypernetwork": dataclasses.replace(one.method.hypernetwork, **SMALL_HYPERNETWORK)}
    partition = {"clients": 1_000} if isinstance(one.partition, cfg.Sampled) else {}
    passes = 2 if isinstance(one.method, cfg.FedRep | cfg.FedPAC) else 1  # one for the head, one for the body
    length = {"local_steps": 1} if one.training.local_steps else {"local_epochs": passes}
    return dataclasses.replace(
        one,
        partition=dataclasses.replace(one.partition, **partition),
        model=dataclasses.replace(one.model, **model),
        method=dataclasses.replace(one.method, **method),
        training=dataclasses.replace(
            one.training, rounds=2, cohort_size=2, schedule=cfg.Constant(), **length
        ),
        evaluation=dataclasses.replace(one.evaluation, every=1, last=2, clients=3),
        engine=cfg.Engine(devices=1),
        checkpoint=cfg.Checkpoint(),
    )


def runs():
    """The first configuration of each file, and of the rest those with a part that no other had before.

    A partition does not ask which method trains on it, nor a method which model it is (test_contract.py has
    every pair).
    """
    seen, count = set(), itertools.count()
    for file in FILES:
        for k, one in enumerate(configurations(file)):
            cut = small(one)
            settings = one.compat, one.evaluation.knn, one.training.held_out
            news = {type(one.model), cut.method, settings, (one.data, one.partition)} - seen
            seen |= news
            if k == 0 or news:
                number = next(count)
                rare = [pytest.mark.rare] if number % 3 else []
                yield pytest.param(cut, id=f"{file.stem}-{k}-{cfg.name_of(one.method)}", marks=rare)


@pytest.mark.slow
@pytest.mark.parametrize("one", [*runs()])
def test_it_plans_and_runs_two_rounds(one, monkeypatch):
    data = stand_in(one.data)
    monkeypatch.setattr(plan, "load", lambda asked, task="classification": data)
    monkeypatch.setattr(plan, "LONG", 0.001)
    monkeypatch.setattr(plan, "set_up", run.set_up)  # which lets the run have the plan's programs
    planned = plan.plan_run(one)
    result = simulate(one, data=data)
    assert (planned.rounds, planned.evaluations) == (2, 2)
    assert planned.num_clients == len(result.clients)
    assert 0 < planned.seconds < math.inf
    assert np.isfinite(result.history["train_loss"]).tolist() == [True, True]
    assert result.history["clients_tested"].tolist() == [3, 3]
    assert result.history["test_accuracy"].between(0, 1).all()
    if one.training.held_out:
        reached = result.personalize_held_out(data, settings=Adaptation(epochs=1))
        assert list(reached.reached) == ["zero_shot", "fit", "fine_tune", "local"]
