"""Who is compared, from which packages, started how; and an environment of its own for each."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

TORCH = "torch==2.13.0"
TORCH_VISION = ("torch==2.14.1", "torchvision==0.29.1")  # it needs the torch it was built for
PYTHON = ("{python}", "-m", "{module}")
TORCHRUN = (
    "{python}",
    "-m",
    "torch.distributed.run",
    "--standalone",
    "--nproc-per-node={cores}",
    "-m",
    "{module}",
)
MPI = ("mpiexec", "--oversubscribe", "--bind-to", "none", "-n", "{cores_and_one}", *PYTHON)


class Peer(NamedTuple):
    """A simulator.

    Attributes:
      name: as it is called.
      module: benchmarks/simulators/MODULE.py trains with it.
      requirements: what pip installs; none: this very environment, and the checkout, are used.
      command: what starts it; {python}, {module}, {cores} and {cores_and_one} are filled in.
      pythons: interpreters that the environment may be made from, the best first; default: this one.
      variables: of the process environment, filled in alike.
    """

    name: str
    module: str
    requirements: tuple[str, ...] = ()
    command: tuple[str, ...] = PYTHON
    pythons: tuple[str, ...] = ()
    variables: Mapping[str, str] = {}


# of each process; the processes, or threads of clients, are as many as cores
ONE_THREAD = {"OMP_NUM_THREADS": "1"}
PEERS = (
    Peer("fedtp_jax", "fedtp"),
    Peer("pfl-research", "pfl_research", ("pfl[pytorch]==0.6.0", TORCH), TORCHRUN, variables=ONE_THREAD),
    Peer(
        "Flower",
        "flower",
        ("flwr[simulation]==1.42.0", TORCH),
        variables={**ONE_THREAD, "FLWR_TELEMETRY_ENABLED": "0", "RAY_USAGE_STATS_ENABLED": "0"},
    ),
    Peer(
        "BlazeFL",
        "blazefl",
        ("blazefl[contrib,reproducibility]==3.0.0", "torch==2.14.1"),
        pythons=("python3.14t", "python3.14"),
        variables=ONE_THREAD,
    ),
    Peer(
        "FedJAX",
        "fedjax",
        ("fedjax==0.0.17", "jax==0.4.38", "jaxlib==0.4.38"),  # what it calls is gone from later JAX
        variables={"XLA_FLAGS": "--xla_force_host_platform_device_count={cores}"},
    ),
    Peer("fluke", "fluke", ("fluke-fl==0.8.1", *TORCH_VISION), variables=ONE_THREAD),
    Peer("APPFL", "appfl", ("appfl[mpi]==1.12.0", *TORCH_VISION), MPI, variables=ONE_THREAD),
)


class NotInstalled(Exception):
    """Why a simulator's environment could not be made, in one line."""


def environments_folder() -> Path:
    """Where environments are kept: FEDTP_PEERS, or the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("FEDTP_PEERS") or cache / "fedtp_jax" / "peers")


def install(peer: Peer, folder: Path) -> Path:
    """The interpreter of the peer's environment, which is made unless it is there with these requirements."""
    if not peer.requirements:
        return Path(sys.executable)
    home = folder / peer.module
    python, done = home / "bin" / "python", home / "requirements.txt"
    wanted = "\n".join(peer.requirements) + "\n"
    if done.exists() and done.read_text() == wanted:
        return python
    base = _interpreter(peer)
    for tool in peer.command[:1]:
        if "{" not in tool and not shutil.which(tool):
            raise NotInstalled(f"it needs {tool}, which is not on this machine")
    print(f"{peer.name}: installing {', '.join(peer.requirements)} into {home}", flush=True)
    shutil.rmtree(home, ignore_errors=True)
    _call([base, "-m", "venv", str(home)])
    _call([str(python), "-m", "pip", "install", "--quiet", *peer.requirements])
    done.write_text(wanted)
    return python


def _interpreter(peer: Peer) -> str:
    if not peer.pythons:
        return sys.executable
    found = next((path for name in peer.pythons if (path := shutil.which(name))), None)
    if found is None:
        raise NotInstalled(f"it needs {' or '.join(peer.pythons)}, which is not on this machine")
    return found


def command_of(peer: Peer, python: Path, cores: int) -> list[str]:
    """What starts the peer's script, but for the script's arguments."""
    values = {
        "python": str(python),
        "module": f"benchmarks.simulators.{peer.module}",
        "cores": cores,
        "cores_and_one": cores + 1,
    }
    return [part.format(**values) for part in peer.command]


def variables_of(peer: Peer, cores: int) -> dict[str, str]:
    """The process environment of the peer's script: this one, the checkout first on the path, and its own."""
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join(part for part in (root, os.environ.get("PYTHONPATH")) if part)
    own = {name: value.format(cores=cores) for name, value in peer.variables.items()}
    as_root = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    return {**os.environ, "PYTHONPATH": path, **(as_root if peer.command is MPI else {}), **own}


def _call(command: list[str]) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        lines = [line for line in done.stdout.splitlines() if line.strip()] or ["no word"]
        last = next((line for line in reversed(lines) if "ERROR" in line), lines[-1])
        raise NotInstalled(f"it could not be installed: {last.strip()}")
