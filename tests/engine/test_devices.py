"""How many devices a run has: decided in one place, kept in its folder, restored."""

import dataclasses
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import jax
import pytest
from commands import fedtp
from paths import ROOT
from tiny_run import TINY

from fedtp_jax import Result, UserError, config, load_config, simulate
from fedtp_jax.config.plain import to_yaml
from fedtp_jax.core import hosts
from fedtp_jax.data.sources import load
from fedtp_jax.engine.mesh import decide_devices

RUN = dataclasses.replace(TINY, training=dataclasses.replace(TINY.training, rounds=2))


@pytest.fixture
def started(monkeypatch):
    """As if JAX had been started, with so many devices, before anybody could say how many."""

    every = jax.devices()

    def start(devices, cores):
        monkeypatch.setattr(hosts, "cores", lambda: cores)
        monkeypatch.setattr(hosts, "cpu_is_chosen", lambda: False)
        monkeypatch.setattr(hosts, "split_cpu", lambda devices: None)
        monkeypatch.setattr(jax, "devices", lambda: every[:devices])

    return start


def test_auto_is_all_and_a_number_is_that_number():
    assert [decide_devices(n) for n in ("auto", 1, 3)] == [4, 1, 3]
    assert [decide_devices("auto", before=2), decide_devices(2, before=2)] == [2, 2]


def test_more_than_there_are_are_refused_with_the_way_to_get_them():
    with pytest.raises(
        UserError, match="got 64, but JAX sees 4; use at most 4, or auto, or start Python anew"
    ):
        decide_devices(64)


def test_fewer_than_the_cores_are_told(started):
    started(devices=1, cores=2)
    with pytest.warns(UserWarning, match="engine.devices: 1 here, 2 if nothing had used JAX yet.*DEVICES=2"):
        assert decide_devices("auto") == 1
    started(devices=2, cores=2)
    assert decide_devices("auto") == 2, "without a word"


def test_the_users_own_number_stays(monkeypatch):
    monkeypatch.setattr(jax.config, "update", lambda *words: pytest.fail(f"set {words}"))
    hosts.split_cpu(64)  # by jax_num_cpu_devices
    monkeypatch.setattr(hosts, "_cpu_devices", lambda: -1)
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=4")
    hosts.split_cpu(64)


@pytest.mark.parametrize("asked", ["auto", 8])
def test_those_that_a_run_had_and_that_are_gone_are_told(asked):
    with pytest.warns(
        UserWarning, match="4 here, 8 before.* to have as many: .*JAX_NUM_CPU_DEVICES=8 before"
    ):
        assert decide_devices(asked, before=8) == 4


def test_another_number_for_a_resumed_run_is_told():
    with pytest.warns(UserWarning, match="3 here, 2 before: sums are made in another order") as told:
        assert decide_devices(3, before=2) == 3
    assert "to have as many" not in str(told[0].message)


def test_a_folder_keeps_them_and_resume_restores_them(tmp_path, capsys):
    result = simulate(RUN, out=tmp_path / "auto")
    assert result.config.engine.devices == load_config(tmp_path / "auto/config.yaml").engine.devices == 4
    two = dataclasses.replace(RUN, engine=config.Engine(devices=2))
    simulate(two, out=tmp_path / "two")
    assert len(json.loads((tmp_path / "two/environment.json").read_text())["devices"]) == 2
    again = simulate(RUN, out=tmp_path / "two", resume=True)  # auto: what it had
    assert again.config.engine.devices == 2
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        code, _, err = fedtp(capsys, "resume", str(tmp_path / "two"), "engine.devices=1")
    assert code == 0 and "engine.devices: 1 here, 2 before" in err


def test_a_folder_of_0_1_0_tells_its_devices_by_the_environment(tmp_path):
    simulate(dataclasses.replace(RUN, engine=config.Engine(devices=2)), out=tmp_path / "run")
    settings = tmp_path / "run/config.yaml"
    settings.write_text(settings.read_text().replace("devices: 2", "devices: auto"))
    assert simulate(RUN, out=tmp_path / "run", resume=True).config.engine.devices == 2


def test_of_several_seeds_the_first_ones_are_restored(tmp_path):
    simulate(dataclasses.replace(RUN, engine=config.Engine(devices=2)), out=tmp_path / "runs", seeds=[0])
    again = simulate(RUN, out=tmp_path / "runs", seeds=[0, 1], resume=True)
    assert [one.config.engine.devices for one in again] == [2, 2]


def test_a_result_of_more_devices_is_used_on_fewer():
    elsewhere = dataclasses.replace(RUN, engine=config.Engine(devices=8))
    result = dataclasses.replace(simulate(RUN), config=elsewhere)
    with pytest.warns(UserWarning, match="4 here, 8 before"):
        result.personalize(load(RUN.data), modes=["zero_shot"])


NOTEBOOK = """
from fedtp_jax import Result, simulate
result = Result.load("{run}")
result.variables(0)  # uses JAX before the run does
simulate("{config}", out="{out}")
"""


@pytest.mark.slow
def test_run_sweep_notebook_and_resume_are_one_result(tmp_path, monkeypatch):
    """Byte for byte, with nothing said of devices, on a machine of more than one core or of one."""
    monkeypatch.chdir(tmp_path)
    environment = {name: value for name, value in os.environ.items() if name != "JAX_NUM_CPU_DEVICES"}
    environment["PYTHONPATH"] = str(ROOT)
    Path("tiny.yaml").write_text(to_yaml(TINY))
    Path("sweep.yaml").write_text("base: tiny.yaml\nseeds: [0]\ngrid: {method.name: [fedtp, fedavg]}\n")

    def python(*arguments):
        command = [sys.executable, *arguments]
        subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=300)

    def cli(*arguments):
        python("-m", "fedtp_jax", *arguments, "--quiet")

    cli("run", "tiny.yaml", "--out", "run")
    cli("sweep", "sweep.yaml", "--out", "one")
    cli("sweep", "sweep.yaml", "--out", "two", "--processes", "2")
    python("-c", NOTEBOOK.format(run="run", config="tiny.yaml", out="notebook"))
    stop = "import fedtp_jax\ndef f(p):\n  if p.round == 3: raise KeyboardInterrupt\n"
    stop += "try: fedtp_jax.simulate('tiny.yaml', out='stopped', on_round=f)\nexcept KeyboardInterrupt: pass"
    python("-c", stop)
    cli("resume", "stopped")
    folders = ["one/method=fedtp/seed-0", "two/method=fedtp/seed-0", "notebook", "stopped"]
    for name in ("metrics.csv", "clients.csv", "config.yaml"):
        for folder in folders:
            assert Path(folder, name).read_bytes() == Path("run", name).read_bytes(), (folder, name)
    for folder in folders:
        with warnings.catch_warnings():  # this process has other devices
            warnings.simplefilter("ignore")
            mine, theirs = Result.load(folder).variables(1), Result.load("run").variables(1)
        assert jax.tree.all(jax.tree.map(lambda a, b: (a == b).all(), mine, theirs)), folder
