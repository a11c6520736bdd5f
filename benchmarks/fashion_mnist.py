"""FedTP and its nearest baselines beside the authors' code, on the same partition of Fashion-MNIST."""

import dataclasses
import json
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.results import Outcome
from fedtp_jax import Progress, Result, load_config, simulate
from fedtp_jax.config import METHODS

CONFIG = "configs/fashion_mnist_pathological_50.yaml"
REFERENCE = Path(__file__).parent / "reference" / "fashion_mnist_pathological_50_curves.json"
METHOD_NAMES = ("fedavg", "fedper", "vanilla", "fedtp")
SEEDS = (0, 1, 2)
SEED_LIST = ", ".join(map(str, SEEDS))
DESCRIPTION = f"""\
Pooled test accuracy on Fashion-MNIST, 50 clients of 2 classes (`noniid-labeluni`, seed 0: index for index the
partition of the reference), 5 clients a round, 150 rounds: `{CONFIG}`.
Ours: mean ± std over seeds {SEED_LIST} (initial values, cohorts, batches, dropout; the partition
stays). Reference: the authors' PyTorch code, one seed. "110-150": mean of the last five evaluations.
"""


def measure(out: Path) -> Outcome:
    """Run or continue all runs (about 20 minutes on 2 cores); fashion_mnist.csv gets every evaluation."""
    runs = {
        (method, seed): _run(method, seed, out / "runs" / f"{method}-{seed}")
        for method in METHOD_NAMES
        for seed in SEEDS
    }
    reference = json.loads(REFERENCE.read_text())["curves"]
    history = pd.concat(
        [run.history.assign(method=method, seed=seed) for (method, seed), run in runs.items()]
    ).dropna(subset="test_accuracy")
    out.mkdir(parents=True, exist_ok=True)
    columns = ["method", "seed", "round", "test_accuracy", "test_client_mean", "test_worst_decile"]
    history[columns].to_csv(out / "fashion_mnist.csv", index=False)
    table = {"Pooled test accuracy": _table(history, reference)}
    return Outcome(DESCRIPTION, table, _curves(history, reference))


def _run(method: str, seed: int, folder: Path) -> Result:
    config = dataclasses.replace(load_config(CONFIG), seed=seed, method=METHODS[method]())

    def show(progress: Progress) -> None:
        if progress.evaluated and progress.test:
            print(f"{folder.name} round {progress.round}: {progress.test.pooled:.4f}", flush=True)

    return simulate(config, out=folder, resume=(folder / "config.yaml").exists(), on_round=show)


def _table(history: pd.DataFrame, reference: dict[str, list[list[float]]]) -> pd.DataFrame:
    rows = []
    for method in METHOD_NAMES:
        ours = history[history["method"] == method].pivot(
            index="round", columns="seed", values="test_accuracy"
        )
        theirs = pd.Series({int(row[0]): row[1] for row in reference[method]})
        rows.append({"method": method})
        for when in (50, 80, 120, 150):
            rows[-1][f"round {when}"] = f"{ours.loc[when].mean():.3f} ± {ours.loc[when].std(ddof=0):.3f}"
            rows[-1][f"reference {when}"] = f"{theirs[when]:.3f}"
        late = ours.loc[110:].mean()
        rows[-1]["mean 110-150"] = f"{late.mean():.3f} ± {late.std(ddof=0):.3f}"
        rows[-1]["reference 110-150"] = f"{theirs.loc[110:].mean():.3f}"
    return pd.DataFrame(rows)


def _curves(history: pd.DataFrame, reference: dict[str, list[list[float]]]) -> Figure:
    figure = Figure(figsize=(10, 6.5), layout="constrained")
    axes: list[Axes] = list(figure.subplots(2, 2, sharex=True, sharey=True).flat)
    for axis, method in zip(axes, METHOD_NAMES, strict=True):
        for seed, run in history[history["method"] == method].groupby("seed"):
            axis.plot(
                run["round"], run["test_accuracy"], color="#0072B2", alpha=0.8, lw=1.4, label=f"seed {seed}"
            )
        rounds, accuracies = [row[0] for row in reference[method]], [row[1] for row in reference[method]]
        axis.plot(rounds, accuracies, color="#D55E00", ls="--", lw=1.6, label="authors' code")
        axis.set_title(method)
        axis.grid(alpha=0.3)
    handles, labels = axes[0].get_legend_handles_labels()
    axes[0].legend(
        [handles[0], handles[-1]], [f"fedtp_jax, {len(SEEDS)} seeds", labels[-1]], loc="lower right"
    )
    figure.supxlabel("round")
    figure.supylabel("pooled test accuracy")
    return figure
