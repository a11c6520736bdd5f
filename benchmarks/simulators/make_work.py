"""Write the folder that every simulator is given: the very work that `simulate` does with `settings`."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks.workloads import SMALL_VIT
from fedtp_jax import config
from fedtp_jax.config import SimulationConfig
from fedtp_jax.core import rng, tree
from fedtp_jax.data.dataset import Dataset, Examples
from fedtp_jax.engine.schedule import sample_cohort
from fedtp_jax.partitions.make import make_partition
from fedtp_jax.partitions.partition import Partition, Shards
from fedtp_jax.simulation.data_spec import DataSpec

ROUNDS = 10
METHODS = {"fedavg": config.FedAvg, "fedper": config.FedPer}


def settings(method: str, rounds: int = ROUNDS) -> SimulationConfig:
    """50 clients with Dirichlet(0.3) shards of Fashion-MNIST, 10 of them a round for one epoch."""
    return SimulationConfig(
        data=config.FashionMnist(),
        partition=config.Dirichlet(clients=50, alpha=0.3),
        model=dataclasses.replace(SMALL_VIT, dropout=0.0),
        method=METHODS[method](),
        training=config.Training(
            rounds=rounds, cohort_size=10, batch_size=32, learning_rate=0.01, weight_decay=0.0
        ),
        evaluation=config.Evaluation(every=rounds),
    )


def make_work(settings: SimulationConfig, data: Dataset, folder: Path) -> None:
    """Write shards, cohorts, initial parameters and what else `settings` say into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    partition = make_partition(settings.partition, data, settings.seed)
    _write_part(folder, "train", data.train, partition.train, data)
    _write_part(folder, "test", data.test, partition.test, data)
    np.save(folder / "cohorts.npy", cohorts(settings, partition))
    parameters: dict[str, Any] = torch_parameters(initial_leaves(settings, data, partition))
    np.savez(folder / "parameters.npz", **parameters)
    training = settings.training
    content = {
        "model": dataclasses.asdict(settings.model),
        "shape": data.input_shape,
        "classes": data.num_classes,
        "learning_rate": training.learning_rate,
        "momentum": training.optimizer.arguments["momentum"],
        "batch_size": training.batch_size,
        "epochs": training.local_epochs,
    }
    (folder / "settings.json").write_text(json.dumps(content, indent=2))


def cohorts(settings: SimulationConfig, partition: Partition) -> np.ndarray:
    """Ids [R, K]: whom the simulator draws."""
    training, eligible = settings.training, np.flatnonzero(partition.train.sizes)
    drawn = [sample_cohort(settings.seed, r, eligible, training.cohort_size) for r in range(training.rounds)]
    return np.stack(drawn)


def initial_leaves(settings: SimulationConfig, data: Dataset, partition: Partition) -> dict[str, np.ndarray]:
    """The model's leaves before the first round."""
    task, _ = DataSpec.of(data, partition).build(settings)
    key = jax.random.fold_in(jax.random.key(settings.seed), rng.Purpose.MODEL)
    return {path: np.asarray(leaf) for path, leaf in tree.flatten(task.init(key)).items()}


def torch_parameters(leaves: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The leaves of our ViT as the parameters of benchmarks/torch_models.py."""
    leaves = {path.removeprefix("params/"): leaf for path, leaf in leaves.items()}
    depth = len({path.split("/")[0] for path in leaves if path.startswith("block_")})
    found = {"pos_embedding": leaves["position_embedding"], "cls_token": leaves["class_token"]}
    layers = {"patch_embedding": "to_patch_embedding.1", "head_norm": "mlp_head.0", "head": "mlp_head.1"}
    for block in range(depth):
        ours, theirs = f"block_{block}", f"transformer.layers.{block}"
        attention = [leaves[f"{ours}/attention/{part}/kernel"] for part in ("query", "key", "value")]
        found[f"{theirs}.0.fn.to_qkv.weight"] = np.concatenate(attention, axis=1).T
        layers |= {
            f"{ours}/attention_norm": f"{theirs}.0.norm",
            f"{ours}/attention/out": f"{theirs}.0.fn.to_out.0",
            f"{ours}/mlp_norm": f"{theirs}.1.norm",
            f"{ours}/mlp/up": f"{theirs}.1.fn.net.0",
            f"{ours}/mlp/down": f"{theirs}.1.fn.net.3",
        }
    for ours, theirs in layers.items():
        is_norm = f"{ours}/scale" in leaves
        found[f"{theirs}.weight"] = leaves[f"{ours}/scale"] if is_norm else leaves[f"{ours}/kernel"].T
        found[f"{theirs}.bias"] = leaves[f"{ours}/bias"]
    return {name: np.ascontiguousarray(value) for name, value in found.items()}


def _write_part(folder: Path, part: str, examples: Any, shards: Shards, data: Dataset) -> None:
    """Examples in the order of their clients, normalised as they enter the model."""
    assert isinstance(examples, Examples)
    x = (examples.x[shards.indices] / 255 - np.asarray(data.mean)) / np.asarray(data.std)
    np.save(folder / f"{part}_x.npy", x.astype(np.float32))
    np.save(folder / f"{part}_y.npy", examples.y[shards.indices].astype(np.int64))
    np.save(folder / f"{part}_offsets.npy", np.asarray(shards.offsets, np.int64))
