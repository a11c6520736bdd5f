"""`fedtp plan --target`: programs compiled for accelerators that are not there."""

import dataclasses
import json
import os
import re
import subprocess
import sys
from importlib import metadata

import pytest
from commands import fedtp
from paths import ROOT

from fedtp_jax import UserError
from fedtp_jax.cli.target_table import target_table
from fedtp_jax.engine import described, targets
from fedtp_jax.simulation.plan_target import Bound, Compiled, TargetPlan

TINY = """\
partition: {name: pathological, clients: 6, classes_per_client: 2}
model: {name: vit, patch_size: 4, dim: 8, depth: 1, heads: 2, dim_head: 4, mlp_dim: 8}
method: {name: fedtp, hypernetwork: {embedding: 4, hidden: 6, layers: 1}}
training: {rounds: 2, cohort_size: 6}
"""
# as many lanes as clients, each with 128 MiB of parameters and as much again of gradients and of optimizer
LARGE = """\
partition: {name: iid, clients: 64}
model: {name: vit, patch_size: 4, dim: 512, depth: 1, heads: 2, dim_head: 4, mlp_dim: 32768}
method: {name: fedavg}
training: {rounds: 1, cohort_size: 64}
"""
SIX = ["aggregate", "embeddings", "evaluate", "init", "train", "zeros"]


def is_installed(wheel):
    try:
        return bool(metadata.version(wheel))
    except metadata.PackageNotFoundError:
        return False


tpu = pytest.mark.skipif(not is_installed("libtpu"), reason="needs libtpu: pip install '.[targets]'")
gpu = pytest.mark.skipif(
    not is_installed("jax-cuda13-plugin"), reason="needs the wheels that `fedtp plan --target h200` names"
)


def plan(tmp_path, text, target, *settings, first="pass"):
    """The numbers of the plan, by a process of its own: nothing else may have started JAX."""
    (tmp_path / "run.yaml").write_text(text)
    arguments = ["plan", "run.yaml", "--json", "--target", target, *settings]
    code = f"{first}; from fedtp_jax.cli import main; main({arguments})"
    command = [sys.executable, "-c", code]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout, parse_constant=pytest.fail)


@tpu
@pytest.mark.slow
def test_a_run_compiled_for_three_chips_of_a_tpu(tmp_path):
    figures = plan(tmp_path, TINY, "tpu-v5e", "engine.devices=3")
    assert figures["works"]
    assert sorted(program["name"] for program in figures["programs"]) == SIX
    assert all(program["program_bytes"] > 0 for program in figures["programs"])
    training = figures["training"]
    assert figures["devices"] == 3
    assert training["tick_bytes"] > 0 < training["tick_products"]
    assert 0 < training["tick_seconds"] <= training["seconds"] <= figures["not_faster_than_seconds"] < 1e-3


@tpu
@pytest.mark.slow
def test_lanes_are_halved_where_libtpu_says_that_a_program_does_not_fit(tmp_path):
    never_full = "from fedtp_jax.engine import workbench; workbench.FULL_TPU = 2**40"
    figures = plan(tmp_path, LARGE, "tpu-v5e", first=never_full)
    assert figures["works"]
    assert 1 < figures["training"]["lanes"] < 64
    train = next(program for program in figures["programs"] if program["name"] == "train")
    assert figures["memory"] / 4 < train["program_bytes"] <= figures["memory"]


@gpu
@pytest.mark.slow
@pytest.mark.parametrize("lanes", [1, 3])
def test_a_run_compiled_for_a_gpu(tmp_path, lanes):
    figures = plan(tmp_path, TINY, "h200", f"engine.lanes={lanes}")
    assert figures["works"]
    assert sorted(program["name"] for program in figures["programs"]) == SIX
    assert figures["training"]["lanes"] == lanes


TRAIN = f"""
import functools
import numpy as np
from fedtp_jax import from_arrays, load_config
from fedtp_jax.engine import described, targets
from fedtp_jax.simulation.setup import set_up

described.prepare_process("h200")
data = from_arrays(np.zeros((6000, 32, 32, 3), np.uint8), np.arange(6000) % 10)
settings = ["engine.precision=bfloat16", "engine.lanes=5", "model.depth=2"]
config = load_config("{ROOT}/configs/paper/cifar10.yaml", settings)
make_bench = functools.partial(described.DescribedBench, target=targets.TARGETS["h200"])
_, simulator = set_up(config, data, None, described.open_target("h200", 1), make_bench)
simulator.compile()
print(simulator.bench.programs.by_name["train"].compiled.result().as_text())
"""


@gpu
@pytest.mark.slow
def test_the_papers_transformer_attends_by_one_kernel_of_cudnn():
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", TRAIN], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for kernel in ("__cudnn$fmhaSoftmax", "__cudnn$fmhaSoftmaxBackward"):
        assert done.stdout.count(f'custom_call_target="{kernel}"') == 2  # blocks
    assert not re.search(r"\[(\d+,)+6[56],6[56]\]", done.stdout)  # scores of tokens for tokens


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--target", "tpu-v5e"],
            "the compiler for it is not installed: libtpu; pip install 'fedtp_jax[targets]'",
        ),
        (["--target", "h200"], "pip install --no-deps jax-cuda13-plugin=="),
        (
            ["--target", "v5e"],
            "--target: got 'v5e' (did you mean 'tpu-v5e'?), expected one of tpu-v5e, tpu-v5p",
        ),
        (["--target", "h200", "--picture", "x.png"], "--picture: shows the lanes of this machine's devices"),
    ],
)
def test_what_is_missing_or_mistaken_is_one_line(monkeypatch, tmp_path, capsys, arguments, message):
    monkeypatch.setattr(targets, "_is_installed", lambda *wheel: False)
    (tmp_path / "run.yaml").write_text(TINY)
    code, out, err = fedtp(capsys, "plan", str(tmp_path / "run.yaml"), *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ") and err.count("\n") == 1
    assert message in err


def test_more_devices_than_are_described(monkeypatch):
    monkeypatch.setattr(targets, "_is_installed", lambda *wheel: True)
    with pytest.raises(UserError, match=r"engine\.devices: got 9, but --target describes at most 8"):
        described.open_target("h200", 9)


PLAN = TargetPlan(
    target="h200",
    devices=1,
    simulations=1,
    precision="bfloat16",
    memory=9e10,
    data_bytes=10**8,
    programs=(Compiled("train", 3 * 2**30, ""), Compiled("evaluate", 2**30, "")),
    training=Bound(lanes=5, ticks=100.0, tick_bytes=4.8e9, tick_products=10**11, tick_seconds=1e-3),
    evaluation=Bound(lanes=5, ticks=10.0, tick_bytes=4.8e9, tick_products=10**11, tick_seconds=1e-3),
    rounds=20,
    evaluations=2,
    leaves=(),
)


def words(plan):
    """The table in one line."""
    return " ".join(str(cell) for column in target_table(plan).columns for cell in column.cells)


def test_the_table_names_the_bound_a_bound():
    assert PLAN.works
    said = words(PLAN)
    assert "a tick 1 ms, a round 100 ms, an evaluation 10 ms, the run 2 s" in said
    assert "bytes take 1 ms at 4.8 TB/s" in said and "products 101 µs at 989 TFLOP/s" in said
    assert "a bound and no estimate" in said
    assert "worth trying" not in said
    assert "engine.precision=bfloat16" in words(dataclasses.replace(PLAN, precision="float32"))


def test_several_runs_side_by_side_are_named():
    said = words(dataclasses.replace(PLAN, simulations=4))
    assert "a round of 4 runs" in said
    assert "an evaluation 10 ms, all 4 runs 2.1 s" in said


def test_a_program_that_fails_is_named():
    failed = Compiled("train", None, "does not compile (INTERNAL: no such tile); try other engine.lanes")
    some = dataclasses.replace(PLAN, programs=(failed, *PLAN.programs[1:]), training=None)
    assert not some.works and some.seconds is None
    said = words(some)
    assert "program train" in said and "no such tile" in said
    assert "nothing can be said before all programs compile" in said


@pytest.mark.parametrize("name", targets.TARGETS)
def test_every_target_is_described_in_full(name):
    target = targets.TARGETS[name]
    assert sorted(target.products) == ["bfloat16", "float32"]
    assert 1e10 < target.memory < 2e11 < target.bandwidth < 1e13 < min(target.products.values())
    assert bool(target.topology) != bool(target.spec)
