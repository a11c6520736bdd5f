"""A tiny sweep's files."""

from pathlib import Path

from fedtp_jax.sweeps.combinations import place, read_sweep

BASE = """\
seed: 4
partition: {name: pathological, clients: 6, classes_per_client: 2}
model: {name: vit, patch_size: 4, dim: 8, depth: 1, heads: 2, dim_head: 4, mlp_dim: 8}
method: {name: fedavg}
training: {rounds: 3, cohort_size: 3, batch_size: 64}
evaluation: {every: 1, last: 2}
checkpoint: {every: 1}
engine: {devices: 1}
"""
GRID = {"method.name": ["fedavg", "local"], "training.learning_rate": [0.05, 0.1]}


def placed(file, out="runs/tiny"):
    return place(Path(file), read_sweep(Path(file)), Path(out))


def snapshot(folder):
    """Every file below with the time of its last change."""
    return {path: path.stat().st_mtime_ns for path in Path(folder).rglob("*") if path.is_file()}
