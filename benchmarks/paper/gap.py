"""The generalisation gap: how much better clients do on their own train shards than on their test shards.

The paper proves a bound on it (theorem 1), whose text could not be read here: nothing of its constants is
claimed, and its abstract says no more than that generated attention generalises.

Measured are the gap, over what such bounds depend on (examples of a client, clients, sizes of embedding and
hypernetwork), and Lipschitz constants of the hypernetwork as a map from an embedding to what it generates:
the product of its layers' largest singular values, which bounds it everywhere, and the largest singular value
of its Jacobian at the clients' embeddings, which is what it is there.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.paper.store import percent
from fedtp_jax import Result
from fedtp_jax.config import name_of
from fedtp_jax.learning.method import EMBEDDING
from fedtp_jax.plots.style import BLUE, GREEN, LEGEND, ORANGE, Picture, style

COLOURS = {"fedavg": BLUE, "vanilla": GREEN, "fedtp": ORANGE}
VARIED = {  # what is varied, and where the others then stand
    "examples": "train examples of a client",
    "clients": "clients",
    "embedding": "size of the embedding",
    "hidden": "width of the hypernetwork",
}
USUAL = {"examples": 100, "clients": 50, "embedding": 32, "hidden": 64, "spectral_norm": False}


def measure(runs: Sequence[Result]) -> pd.DataFrame:
    """A row of the run: where it stands, accuracies and losses on both shards, Lipschitz constants."""
    (result,) = runs
    last, clients = result.history.iloc[-1], result.clients.dropna(subset=["test_accuracy", "fit_accuracy"])
    gaps = clients["fit_accuracy"] - clients["test_accuracy"]
    row = {
        "method": name_of(result.config.method),
        "seed": result.config.seed,
        **_place(result),
        "train": last["fit_client_mean"],
        "test": last["test_client_mean"],
        "gap": gaps.mean(),
        "gap_std": gaps.std(),
        "loss_gap": (clients["test_loss"] - clients["fit_loss"]).mean(),
    }
    if result.state.generator:
        embeddings = result.state.rows.take(np.arange(len(result.clients)), [EMBEDDING])[EMBEDDING]
        leaves = {path: np.asarray(leaf, float) for path, leaf in result.state.generator.items()}
        row |= lipschitz(leaves, np.asarray(embeddings, float), row["spectral_norm"])
    return pd.DataFrame([row]).round(5)


def _place(result: Result) -> dict[str, Any]:
    config: Any = result.config
    hyper = getattr(config.method, "hypernetwork", None)
    return {
        "examples": config.partition.train_examples,
        "clients": config.partition.clients,
        "embedding": hyper.embedding if hyper else None,
        "hidden": hyper.hidden if hyper else None,
        "spectral_norm": bool(hyper and hyper.spectral_norm),
    }


def lipschitz(
    leaves: Mapping[str, np.ndarray], embeddings: np.ndarray, normalised: bool = False
) -> dict[str, float]:
    """Constants of a hypernetwork without low ranks, from an embedding to all that it generates.

    Args:
      leaves: {path: array} of it, as `Result.state.generator` has them.
      embeddings: [N, E] of the clients.
      normalised: whether its layers are divided by their largest singular values.

    Returns:
      bound: product of the largest singular values of the trunk's layers and of all heads side by side.
      local, local_max: mean and largest, over the clients, of the Jacobian's largest singular value.
    """
    kernels = {path: leaf for path, leaf in leaves.items() if path.endswith("/kernel")}
    if normalised:
        kernels = {path: kernel / _largest(kernel) for path, kernel in kernels.items()}
    trunk = [kernels[path] for path in sorted(kernels) if "/trunk_" in path]
    biases = [leaves[path] for path in sorted(leaves) if "/trunk_" in path and path.endswith("/bias")]
    heads = np.concatenate([kernel for path, kernel in sorted(kernels.items()) if "/head:" in path], axis=1)
    gram = heads @ heads.T  # heads have many columns: all that is needed of them is this
    found = []
    for embedding in embeddings:
        x, jacobian = embedding @ trunk[0] + biases[0], trunk[0]
        for kernel, bias in zip(trunk[1:], biases[1:], strict=True):
            jacobian = (jacobian * (x > 0)) @ kernel
            x = np.maximum(x, 0) @ kernel + bias
        found.append(np.sqrt(np.linalg.eigvalsh(jacobian @ gram @ jacobian.T)[-1]))
    bound = np.prod([_largest(kernel) for kernel in trunk]) * np.sqrt(np.linalg.eigvalsh(gram)[-1])
    return {"bound": float(bound), "local": float(np.mean(found)), "local_max": float(np.max(found))}


def _largest(kernel: np.ndarray) -> float:
    return float(np.linalg.norm(kernel, 2))


def table(found: pd.DataFrame) -> pd.DataFrame:
    """Mean ± sample std over seeds: accuracies in percent, a row for each setting and method."""
    rows = []
    keys = ["clients", "examples", "method", "embedding", "hidden", "spectral_norm"]
    for place, part in found.groupby(keys, dropna=False):
        row = dict(zip(keys, place, strict=True))
        row = {name: _shown(value) for name, value in row.items()}
        row |= {f"{name} (%)": percent(part[name]) for name in ("train", "test", "gap")}
        row["loss gap"] = f"{part['loss_gap'].mean():.3f}"
        for name in ("bound", "local"):
            values = part[name].dropna()
            row[f"Lipschitz, {name}"] = f"{values.mean():.2f}" if len(values) else ""
        rows.append(row)
    return pd.DataFrame(rows)


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else ""
    return "" if pd.isna(value) else f"{value:g}" if isinstance(value, float | int) else str(value)


def picture(found: pd.DataFrame) -> Figure:
    """The gap over each thing that is varied; a colour for each method."""
    figure = Picture(figsize=(12, 3.6), layout="constrained")
    panels = figure.subplots(1, len(VARIED), sharey=True)
    for axes, (name, words) in zip(panels, VARIED.items(), strict=True):
        _draw(axes, found, name, words)
    panels[0].set_ylabel("train minus test accuracy (points)")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), **LEGEND)
    return figure


def _draw(axes: Axes, found: pd.DataFrame, name: str, words: str) -> None:
    style(axes, "", words, "")
    axes.set_xscale("log")
    for method, colour in COLOURS.items():
        part = found[found["method"] == method]
        for other, usual in USUAL.items():
            if other != name:
                part = part[part[other].isna() | (part[other] == usual)]
        gaps: Any = 100 * part.set_index(name)["gap"]
        places = sorted(part[name].dropna().unique())
        if len(places) > 1:
            mean, std = ([gaps.loc[[place]].agg(how) for place in places] for how in ("mean", "std"))
            look: Any = {"color": colour, "marker": "o", "capsize": 3, "label": method}
            axes.errorbar(places, mean, np.nan_to_num(std), **look)
            axes.set_xticks(places, [f"{place:g}" for place in places])
    axes.minorticks_off()
