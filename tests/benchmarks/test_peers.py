"""What other simulators are given is what `simulate` does, and what they answer becomes a table."""

import dataclasses
import json
import os
import sys

import jax
import numpy as np
import pytest

from benchmarks import peers
from benchmarks.simulators import memory
from benchmarks.simulators.environments import PEERS, NotInstalled, Peer, command_of, install
from benchmarks.simulators.jax_vit import vit
from benchmarks.simulators.make_work import make_work, settings
from benchmarks.simulators.work import TEST, Work
from benchmarks.workloads import random_images
from fedtp_jax import config, simulate
from fedtp_jax.export.torch_names import vit_leaves

VIT = config.Vit(patch_size=14, dim=8, depth=2, heads=2, dim_head=4, mlp_dim=8, dropout=0.0)
SETTINGS = dataclasses.replace(
    settings("fedavg", rounds=2),
    data=config.Arrays(),
    partition=config.Dirichlet(clients=5, alpha=1.0, min_size=3),
    model=VIT,
    training=dataclasses.replace(settings("fedavg", rounds=2).training, cohort_size=2),
    engine=config.Engine(devices=1),
)
DATA = dataclasses.replace(random_images(120), mean=(0.3,), std=(0.4,))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("work")
    make_work(SETTINGS, DATA, made)
    return made


@pytest.fixture(scope="module")
def result():
    """Of so small steps that the parameters stay what they were."""
    return simulate(SETTINGS, training={"learning_rate": 1e-30}, data=DATA)


def test_shards_are_those_of_simulate(folder, result):
    work = Work(folder, "fedavg", 2)
    assert work.sizes.tolist() == result.partition.train.sizes.tolist()
    partition = result.partition
    for part, shards, examples in (("train", partition.train, DATA.train), (TEST, partition.test, DATA.test)):
        for client in range(work.clients):
            x, y = work.shard(client, part)
            np.testing.assert_array_equal(y, examples.y[shards[client]])
            np.testing.assert_allclose(x, (examples.x[shards[client]] / 255 - 0.3) / 0.4, rtol=1e-5)
    assert work.test_examples == len(DATA.test.y)


def test_cohorts_are_those_of_simulate(folder, result):
    cohorts = Work(folder, "fedavg", 2).cohorts
    trained = np.bincount(cohorts.ravel(), minlength=5)
    assert result.clients["trained_rounds"].tolist() == trained.tolist()
    examples = result.partition.train.sizes[cohorts].sum(axis=1)
    assert result.history["examples"].tolist() == examples.tolist()


def test_parameters_are_those_that_simulate_begins_with(folder, result):
    work = Work(folder, "fedper", 2)
    assert work.personal == ["mlp_head.1.weight", "mlp_head.1.bias"]
    for path, leaf in vit_leaves(work.parameters).items():
        np.testing.assert_allclose(leaf, np.asarray(result.state.shared[path]), atol=1e-6, err_msg=path)
    logits = jax.jit(lambda parameters, x: vit(parameters, x, work.model))(
        work.parameters, work.shard(0, TEST)[0]
    )
    x = DATA.test.x[result.partition.test[0]]
    np.testing.assert_allclose(logits, result.predict(0, x), atol=1e-5)


def test_pytorch_s_vit_is_the_same(folder):
    pytest.importorskip("torch", reason="PyTorch comes with the extra `benchmarks` alone")
    import torch

    from benchmarks.simulators.torch_clients import initial_model

    work = Work(folder, "fedavg", 2)
    x = work.shard(0)[0]
    theirs = initial_model(work)(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(theirs, vit(work.parameters, x, work.model), atol=1e-5)


def test_who_cannot_be_installed_is_told(tmp_path):
    absent = Peer("Absent", "absent", ("absent==1",), pythons=("python0.1",))
    without = Peer("Without", "without", ("without==1",), command=("no-such-launcher", "{python}"))
    pythons, missing = peers.install_all([Peer("ours", "fedtp"), absent, without], tmp_path)
    assert pythons == {"ours": peers.Path(sys.executable)}
    assert missing == {
        "Absent": "it needs python0.1, which is not on this machine",
        "Without": "it needs no-such-launcher, which is not on this machine",
    }


def test_what_an_installer_says_last_is_told(tmp_path):
    said = (
        "print('Looking'); print('ERROR: No matching distribution'); print('[notice] x'); raise SystemExit(1)"
    )
    fails = Peer("Fails", "fails", ("fails==1",), pythons=("fails",))
    (tmp_path / "fails").write_text(f"#!{sys.executable}\n{said}\n")
    (tmp_path / "fails").chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
        with pytest.raises(NotInstalled, match="could not be installed: ERROR: No matching distribution"):
            install(fails, tmp_path / "kept")
    assert not (tmp_path / "kept" / "fails" / "requirements.txt").exists()


def test_a_script_s_answer_becomes_a_row(tmp_path):
    said = {"version": "1.0", "setting": "2 threads", "seconds": [9.0, 2.0, 4.0], "accuracy": 0.5}
    (tmp_path / "said.json").write_text(json.dumps(said))
    script = "import shutil, sys; shutil.copy(sys.argv[1] + '/said.json', sys.argv[2])"
    other = Peer("Other", "other", command=(sys.executable, "-c", script))
    broken = Peer("Broken", "broken", command=(sys.executable, "-c", "raise ValueError('no cores')"))
    python = peers.Path(sys.executable)
    runs = [("ours", {**said, "seconds": [5.0, 1.0, 1.0], "peak": 7})]
    runs += [(peer.name, peers.run(peer, python, tmp_path, "fedavg", tmp_path)) for peer in (broken, other)]
    table = peers.table_of(runs)
    assert table["simulator"].tolist() == ["ours", "Other", "Broken"]
    assert table["s a round"].tolist() == [1.0, 3.0, ""]
    assert table["times ours"].tolist() == [1.0, 3.0, ""]
    assert table["accuracy"].tolist() == [0.5, 0.5, ""]
    assert table["setting"].tolist() == ["2 threads", "2 threads", "ended with code 1: ValueError: no cores"]
    assert len(peers.picture({"FedAvg": table, "FedPer": table}).axes) == 3


@pytest.mark.skipif(sys.platform != "linux", reason="memory of descendants is read from /proc")
def test_memory_of_all_processes_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "EVERY", 0.05)
    child = "import time; held = bytearray(60_000_000); time.sleep(0.8)"
    script = f"""
import subprocess, sys
for one in [subprocess.Popen([sys.executable, "-c", {child!r}]) for _ in range(2)]:
    one.wait()
"""
    with (tmp_path / "log").open("w") as log:
        code, peak = memory.run_with_peak([sys.executable, "-c", script], os.environ, log)
    assert code == 0
    assert 120 < peak < 250


def test_every_simulator_has_its_script_and_command():
    for peer in PEERS:
        assert (peers.Path(peers.__file__).parent / "simulators" / f"{peer.module}.py").exists()
        command = command_of(peer, peers.Path("python"), 2)
        assert f"benchmarks.simulators.{peer.module}" in command
        assert not any("{" in part for part in command)
    assert "--nproc-per-node=2" in command_of(PEERS[1], peers.Path("python"), 2)
