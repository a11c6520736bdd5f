"""The board as CSV, picture and page."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from benchmarks.machine import describe_machine, in_words
from benchmarks.pictures import panels, style
from benchmarks.results import markdown
from fedtp_jax.plots.style import BLUE, ORANGE, to_png
from fedtp_jax.storage.csv_log import write_csv
from fedtp_jax.storage.files import write_atomically


def write_page(
    out: Path, rows: Sequence[dict[str, Any]], curves: Sequence[dict[str, Any]], left: Mapping[str, int]
) -> None:
    """board.csv, curves.csv, board.png and board.md of what is finished."""
    if not rows:
        return
    out.mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame(rows)
    write_csv(out / "board.csv", table)
    write_csv(out / "curves.csv", pd.DataFrame(curves))
    write_atomically(out / "board.png", to_png(picture(table)))
    parts = [
        "# The board",
        "[What is measured](../README.md). Mean ± sample std over three seeds, in percent.",
    ]
    parts.append("![The board](board.png)")
    for (model, partition), part in table.groupby(["model", "partition"], sort=False):
        parts += [f"## {model}, {partition}", markdown(readable(part))]
    for model, missing in left.items():
        if missing:
            parts.append(
                f"Stopped or failed, and not chosen from: {missing} of the settings in `{model}.yaml`."
            )
    parts.append(f"`python -m benchmarks board` on {in_words(describe_machine())}.")
    write_atomically(out / "board.md", "\n\n".join(parts) + "\n")
    print(f"\n{out / 'board.md'}", flush=True)


def readable(part: pd.DataFrame) -> pd.DataFrame:
    """The rows of a model and partition, best first, with "mean ± std"."""
    part = part.sort_values("accuracy", ascending=False)

    def with_std(name: str) -> list[str]:
        stds = part.get(f"{name}, std", pd.Series([None] * len(part)))
        return [
            f"{mean:.1f}" + (f" ± {std:.1f}" if std is not None and std == std else "")
            for mean, std in zip(part[name], stds, strict=True)
        ]

    return pd.DataFrame(
        {
            "method": part["method"],
            **{name: with_std(name) for name in ("accuracy", "adapted", "worst tenth")},
            "setting": part["setting"],
            "tried": part["tried"],
            "MB a round": part["MB a round"].map("{:.2f}".format),
            "s a round": part["s a round"].map("{:.2f}".format),
        }
    )


def picture(table: pd.DataFrame) -> Figure:
    """A panel for each model and partition: accuracy as it is and adapted, a line for each method."""
    groups = list(table.groupby(["model", "partition"], sort=False))
    most = max(len(part) for _, part in groups)
    figure, axes = panels(len(groups), width=4.2, height=1.2 + 0.27 * most)
    for ax, ((model, partition), part) in zip(axes, groups, strict=True):
        part = part.sort_values("accuracy")
        style(ax, f"{model}, {partition}", grid="x")
        places = range(len(part))
        ax.hlines(places, part["accuracy"], part["adapted"], color="0.8", zorder=1)
        ax.scatter(part["accuracy"], places, color=BLUE, zorder=2, label="as it is")
        ax.scatter(part["adapted"], places, color=ORANGE, marker="D", s=22, zorder=2, label="adapted")
        ax.set_yticks(places, part["method"])
        ax.set_xlabel("test accuracy, %")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    return figure
