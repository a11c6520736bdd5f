"""The findings as CSV, pictures and page."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from benchmarks.machine import describe_machine, in_words
from benchmarks.pictures import panels, style
from benchmarks.results import markdown
from benchmarks.trust.tables import summary
from fedtp_jax.plots.style import to_png
from fedtp_jax.storage.csv_log import write_csv
from fedtp_jax.storage.files import write_atomically

METHODS = "fedavg", "fedper", "vanilla", "fedtp"
COLUMNS = (  # of a run's row
    *("sweep", "method", "clients", "noise", "adversaries", "upload", "defence", "seed"),
    *("test_accuracy", "honest_accuracy", "attack_success", "epsilon", "bytes_up"),
)
MARKERS = dict(zip(METHODS, "osD^", strict=True))


def write_page(out: Path, rows: Sequence[dict[str, Any]]) -> None:
    """trust.csv, trust.md and a picture for each part of what is finished."""
    if not rows:
        return
    out.mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame(rows).reindex(columns=[*COLUMNS])
    write_csv(out / "trust.csv", table)
    parts = [
        "# Privacy, adversaries, bits",
        "[What is measured](../README.md). Mean ± sample std of three seeds, in percent.",
    ]
    attacks, figure_of = ("adversaries", "clipped"), {"backdoors": "attack_success"}
    for name, make, sweeps in (
        ("privacy", private, ("privacy",)),
        ("adversaries", attacked, attacks),
        ("backdoors", obeyed, attacks),
        ("bits", compressed, ("bits",)),
    ):
        part = table[table["sweep"].isin(sweeps)].dropna(subset=figure_of.get(name, "test_accuracy"))
        if part.empty:
            continue
        figure, shown = make(part)
        write_atomically(out / f"{name}.png", to_png(figure))
        parts += [f"## {name}", f"![{name}]({name}.png)", markdown(shown)]
    parts.append(f"`python -m benchmarks trust` on {in_words(describe_machine())}.")
    write_atomically(out / "trust.md", "\n\n".join(parts) + "\n")
    print(f"\n{out / 'trust.md'}", flush=True)


def private(rows: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """Accuracy against epsilon, a panel for each number of clients; without privacy at the right."""
    groups = list(rows.groupby("clients", sort=False))
    figure, axes = panels(len(groups), width=4.6)
    for ax, (clients, part) in zip(axes, groups, strict=True):
        style(ax, f"{clients:,} clients", grid="y")
        spent = part.groupby("noise", dropna=False)["epsilon"].first().dropna().sort_values()
        places = {noise: place for place, noise in enumerate(spent.index)}
        for method in METHODS:
            found = summary(part[part["method"] == method], ["noise"], "test_accuracy")
            x = [places.get(noise, len(places)) for noise in found["noise"]]
            line = found.assign(x=x).sort_values("x")
            ax.errorbar(line["x"], line["mean"], line["std"], marker=MARKERS[method], capsize=3, label=method)
        ax.set_xticks(range(len(places) + 1), [*(f"{value:.1f}" for value in spent), "no privacy"])
        ax.set_xlabel("epsilon")
        ax.set_ylabel("test accuracy, %")
    _legend(figure, axes[0])
    rows = rows.assign(epsilon=rows["epsilon"].map(lambda value: "-" if value != value else f"{value:.2f}"))
    return figure, _wide(rows, ["clients", "epsilon"], "test_accuracy")


def attacked(rows: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """What honest clients reach beside each attack, by defence."""
    honest = rows["honest_accuracy"].fillna(rows["test_accuracy"])  # not measured where all are
    rows = rows.assign(honest=honest)
    return _by_defence(rows, "honest", "honest clients' accuracy, %")


def obeyed(rows: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """How often a backdoor's trigger is obeyed, by defence."""
    return _by_defence(rows, "attack_success", "attack success, %")


def _by_defence(rows: pd.DataFrame, name: str, label: str) -> tuple[Figure, pd.DataFrame]:
    """A panel for each attack."""
    attacks, defences = list(rows["adversaries"].unique()), list(rows["defence"].unique())
    figure, axes = panels(len(attacks), width=3.6)
    for ax, attack in zip(axes, attacks, strict=True):
        style(ax, attack if attack != "none" else "nobody", grid="y")
        for number, method in enumerate(METHODS):
            part = rows[(rows["method"] == method) & (rows["adversaries"] == attack)]
            found = summary(part, ["defence"], name).set_index("defence").reindex(defences)
            x = [place + 0.15 * (number - 1.5) for place in range(len(defences))]
            ax.errorbar(x, found["mean"], found["std"], fmt=MARKERS[method], capsize=3, label=method)
        ax.set_xticks(range(len(defences)), [one.replace("_", "\n") for one in defences])
        ax.set_ylabel(label)
        ax.set_ylim(0, 100)
    _legend(figure, axes[0])
    return figure, _wide(rows, ["adversaries", "defence"], name)


def compressed(rows: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """Accuracy against the bytes of an upload."""
    figure, (ax,) = panels(1, width=7.0)
    style(ax, "", grid="y")
    for method in METHODS:
        part = rows[rows["method"] == method]
        found = summary(part, ["upload"], "test_accuracy")
        sent = part.groupby("upload", sort=False)["bytes_up"].mean()
        line = found.assign(x=found["upload"].map(sent)).sort_values("x")
        ax.errorbar(line["x"], line["mean"], line["std"], marker=MARKERS[method], capsize=3, label=method)
    ax.set_xscale("log")
    ax.set_xlabel("bytes of a client's upload")
    ax.set_ylabel("test accuracy, %")
    _legend(figure, ax)
    wide = _wide(rows, ["upload"], "test_accuracy")
    sent = rows[rows["method"] == "fedavg"].groupby("upload")["bytes_up"].mean()
    told = [f"{sent[name]:,.0f}" if name in sent else "-" for name in wide["upload"]]
    wide.insert(1, "bytes (fedavg)", told)
    return figure, wide


def _legend(figure: Figure, ax: Any) -> None:
    figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)


def _wide(rows: pd.DataFrame, by: Sequence[str], figure: str) -> pd.DataFrame:
    """A row for each combination of `by`, a column for each method, "mean ± std"."""
    found = summary(rows, [*by, "method"], figure)
    cells = [f"{mean:.1f} ± {std:.1f}" for mean, std in zip(found["mean"], found["std"], strict=True)]
    wide = found.assign(cell=cells).pivot(index=[*by], columns="method", values="cell")
    order = found[[*by]].drop_duplicates()
    return order.merge(wide.reset_index(), on=[*by]).reindex(columns=[*by, *METHODS]).fillna("-")
