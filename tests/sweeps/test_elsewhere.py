"""Sweeps on a SLURM cluster of one machine and on a Ray cluster of two nodes, a worker killed on each."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import fedtp
from sweep_files import BASE, placed

from fedtp_jax.sweeps.child import Work

METHODS = {"method.name": ["fedavg", "local"]}
ROUNDS = 400
WAIT = 600  # seconds; a cluster of one busy machine takes its time
DAEMONS = "munged", "slurmctld", "slurmd"
no_slurm = not all(map(shutil.which, DAEMONS)) or os.getuid() != 0 or not find_spec("submitit")
SLURM_CONF = """\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmdPort={next_port}
SlurmUser=root
SlurmdUser=root
AuthInfo=cred_expire=5
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""

CLUSTER = """
import sys
from ray.cluster_utils import Cluster

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
cluster.add_node(num_cpus=1)
print(cluster.address, flush=True)
sys.stdin.read()
cluster.shutdown()
"""


def begun(*words, **environment):
    """The command in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "fedtp_jax", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


def waited(found, process=None):
    """What `found` gives once it gives anything."""
    until = time.monotonic() + WAIT
    while not (value := found()):
        assert process is None or process.poll() is None, process.communicate()
        assert time.monotonic() < until, "nothing came"
        time.sleep(0.1)
    return value


def run_folder(method):
    return Path(f"runs/tiny/method={method}/seed-0")


def rounds_of(method):
    """How many are done."""
    table = run_folder(method) / "metrics.csv"
    return table.read_text().count("\n") - 1 if table.exists() else 0


def parent_of(method):
    """The process that is at work for the scheduler: the parent of the one that has the run."""
    try:
        pid = json.loads((run_folder(method).parent / "held.json").read_text())["pid"]
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, ValueError):  # not yet, or no longer
        return None


def check_all_is_there_once(capsys):
    """Each run as a plain one gives it: nothing is lost, no round done twice."""
    for method in METHODS["method.name"]:
        assert rounds_of(method) == ROUNDS
        table = pd.read_csv(run_folder(method) / "metrics.csv")
        np.testing.assert_array_equal(table["round"], np.arange(1, ROUNDS + 1))
        given = ["run", "base.yaml", "seed=0", f"method.name={method}", "--out", f"plain/{method}"]
        assert fedtp(capsys, *given)[0] == 0
        plain = Path(f"plain/{method}/metrics.csv").read_text()
        assert (run_folder(method) / "metrics.csv").read_text() == plain


@pytest.fixture
def name(file):
    """Of a sweep's file, two runs long enough to be interrupted."""
    made = BASE.replace("rounds: 3", f"rounds: {ROUNDS}").replace(
        "checkpoint: {every: 1}", "checkpoint: {every: 20}"
    )
    Path("base.yaml").write_text(made.replace("every: 1, last", "every: 50, last"))
    return file(grid=METHODS, seeds=[0])


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """A cluster of this machine alone."""
    folder = tmp_path / "slurm"
    for inner in ("state", "spool"):
        (folder / inner).mkdir(parents=True)
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
    host = socket.gethostname().partition(".")[0]
    conf = SLURM_CONF.format(host=host, port=port, next_port=port + 1, folder=folder)
    (folder / "slurm.conf").write_text(conf)
    monkeypatch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
    if subprocess.run(["munge", "-n"], capture_output=True, check=False).returncode:
        Path("/run/munge").mkdir(exist_ok=True)
        shutil.chown("/run/munge", "munge", "munge")
        subprocess.run(["su", "-s", "/bin/sh", "munge", "-c", "munged --force"], check=True)
    for daemon in DAEMONS[1:]:
        subprocess.run([daemon], check=True)
    try:
        waited(lambda: "idle" in subprocess.run(["sinfo", "-h"], capture_output=True, text=True).stdout)
        yield folder
    finally:
        subprocess.run(["scancel", "--me"], check=False)
        for daemon in DAEMONS[:0:-1]:
            os.kill(int((folder / f"{daemon}.pid").read_text()), signal.SIGTERM)


@pytest.mark.slow
@pytest.mark.skipif(no_slurm, reason="needs Debian's slurm-wlm, root, who starts its daemons, submitit")
def test_jobs_of_slurm_go_on_when_the_sweep_is_left_and_are_taken_up_again(name, slurm, capsys):
    process = begun("sweep", name, "--on", "slurm", "--time", "10")
    waited(lambda: rounds_of("local"), process)
    job = json.loads(Path("runs/tiny/slurm/jobs.json").read_text())["jobs"]["method=local"]
    subprocess.run(["scancel", "--signal=USR2", job], check=True)  # as before its time limit
    logs = Path("runs/tiny/slurm")
    waited(lambda: any("Requeued" in log.read_text() for log in logs.glob(f"{job}_0_log.*")), process)
    worker = waited(lambda: rounds_of("fedavg") and parent_of("fedavg"), process)
    os.kill(worker, signal.SIGKILL)
    assert waited(lambda: process.stderr.readline().partition("taken up again")[1], process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=WAIT)
    assert process.returncode == 130
    command = f"fedtp sweep {name} --out runs/tiny --on slurm --time 10"
    assert err.splitlines()[-1] == f"left; what is submitted goes on; see it end with: {command}"
    process = begun(*command.split()[1:])
    out, err = process.communicate(timeout=WAIT)
    assert process.returncode == 0, err
    assert "submitted before" in err or "finished already" in err
    assert "fedavg" in out and "local" in out
    check_all_is_there_once(capsys)


@pytest.fixture
def ray_address():
    """A cluster of two nodes, in a process of its own, for it forks."""
    command = [sys.executable, "-W", "ignore", "-c", CLUSTER]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    yield waited(process.stdout.readline, process).strip()
    process.communicate(timeout=WAIT)


@pytest.mark.slow
@pytest.mark.skipif(not find_spec("ray"), reason="needs ray")
def test_tasks_of_ray_are_taken_up_again(name, ray_address, capsys):
    process = begun("sweep", name, "--on", "ray", RAY_ADDRESS=ray_address)
    worker = waited(lambda: rounds_of("local") and parent_of("local"), process)
    os.kill(worker, signal.SIGKILL)
    out, err = process.communicate(timeout=WAIT)
    assert process.returncode == 0, err
    assert "taken up again" in err and "Traceback" not in err
    assert "fedavg" in out and "local" in out
    check_all_is_there_once(capsys)


@pytest.mark.slow
@pytest.mark.skipif(not find_spec("submitit"), reason="needs submitit")
def test_work_stops_after_its_round_and_what_goes_on_ends_it(name, monkeypatch):
    # submitit sets up logging where it is imported, which would close the streams that pytest holds
    monkeypatch.setattr("logging.config.dictConfig", lambda given: None)
    combination, _ = placed(name)
    combination.begin()
    work, ended = Work(combination.folder, 1, 0), []
    at_work = threading.Thread(target=lambda: ended.append(work()))
    at_work.start()
    waited(lambda: rounds_of("fedavg"))
    further = work.checkpoint()
    at_work.join(WAIT)
    assert ended == [(None, ["it was told to stop"])] and 0 < rounds_of("fedavg") < ROUNDS
    assert further.result().code == 0
    assert rounds_of("fedavg") == ROUNDS and combination.is_done(0)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--gpus", "1"], "--gpus: is for --on slurm or --on ray; leave it out, or say where"),
        (["--on", "ray", "--time", "5"], "--time: is for --on slurm; leave it out, or say where"),
        (["--processes", "0"], "--processes: got 0, expected a whole number of at least 1"),
        (["--on", "slurm"], "--on slurm: there is no sbatch here; sweep where jobs are submitted"),
        (["--on", "slurm", "--time", "3"], "--time: got 3, expected at least 5 minutes"),
    ],
)
def test_flags_that_do_not_fit_are_told(flags, message, file, capsys, monkeypatch):
    monkeypatch.setenv("PATH", "")
    code, out, err = fedtp(capsys, "sweep", file(grid=METHODS), *flags)
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {message}")
    assert not Path("runs").exists()
