"""Makes docs/methods/ of the methods' own words and of the board's results: python docs/make_methods.py

A page for each method, its learning curves as a picture, and an index.
"""

import csv
import dataclasses
import importlib
import inspect
import re
from collections import defaultdict
from pathlib import Path

import jax
import numpy as np
from make_reference import HEAD, fields
from matplotlib.figure import Figure

from fedtp_jax import config
from fedtp_jax.cli.units import in_bytes
from fedtp_jax.config.describe import first_line
from fedtp_jax.core import tree
from fedtp_jax.core.tree import leaves_in_short
from fedtp_jax.data.dataset import Dataset, Examples
from fedtp_jax.engine.programs import Programs
from fedtp_jax.methods import FACTORIES
from fedtp_jax.partitions.partition import Partition, Shards
from fedtp_jax.plots.style import BLUE, INK, ORANGE, QUIET, to_png
from fedtp_jax.simulation.data_spec import DataSpec
from fedtp_jax.simulation.initial_state import InitialState
from fedtp_jax.simulation.round_result import traffic

HERE = Path(__file__).parent
BOARD = HERE.parent / "benchmarks" / "board" / "results"
VIT = config.Vit(patch_size=7, dim=64, depth=2, heads=4, dim_head=16, mlp_dim=128)
NEEDS = {  # settings that a method asks for, as fields and in the words of the command line
    "fedrep": ({"training": {"local_epochs": 2}}, "training.local_epochs=2"),
    "fedpac": ({"training": {"local_epochs": 2}}, "training.local_epochs=2"),
    "scaffold": ({"training": {"optimizer": "sgd"}}, "training.optimizer=sgd"),
    "fedperfix": ({"model": {"adapter": {"size": 16}}}, "model.adapter.size=16"),
}
INDEX = """\
# Methods

A page each: the rule, who keeps what, what travels, the command; and how it does on
[the board](../../benchmarks/board/README.md), once that has been run. Made of the code's own docstrings and
of the board's results by `python docs/make_methods.py`.

| method | |
| --- | --- |"""
BOARD_SAYS = """\
Test accuracy in percent on [the board's](../../benchmarks/board/README.md) task (Fashion-MNIST, 50 clients),
with the setting that does best on validation shards; adapted: after a client has trained one more epoch.
"""
BESIDE = {"fedavg": ORANGE, "local": QUIET}  # whose curves every method's is drawn with


def pages():
    """{file's name: its text} of the index and of every method."""
    return {"README.md": index(), **{f"{name}.md": page(name) for name in config.METHODS}}


def index():
    """The list of methods."""
    rows = [
        f"| [`{name}`]({name}.md) | {as_text(first_line(kind)).replace('|', chr(92) + '|')} |"
        for name, kind in config.METHODS.items()
    ]
    return "\n".join([INDEX, *rows, ""])


def page(name):
    """A method's page."""
    kind = config.METHODS[name]
    factory = FACTORIES[kind]
    module = inspect.getdoc(importlib.import_module(factory.__module__)) or ""
    title, _, source = module.partition("\n\n")
    parts = [f"# {name}", title, source, "## The rule", as_text(inspect.getdoc(factory) or "")]
    if table := "\n".join(fields(kind, "method.")):
        parts += ["## Settings", f"{HEAD}\n{table}"]
    parts += ["## Who keeps what, and what travels", kept(name)]
    command = " ".join(["fedtp run configs/quickstart.yaml", f"method={name}", *NEEDS.get(name, ({},))[1:]])
    parts += ["## The command", f"```text\n{command}\n```"]
    if found := reached(name):
        parts += ["## How it does", found]
    if rows := differences(name_in_words(title)):
        parts += [
            "## Differences",
            "From the authors' code, and between copies of it ([all of them](../differences.md)):",
            rows,
        ]
    file = Path(inspect.getsourcefile(factory)).name
    parts += [f"The code: [`fedtp_jax/methods/{file}`](../../fedtp_jax/methods/{file})."]
    return "\n\n".join(parts) + "\n"


def as_text(words):
    """Prose with its formulas as they stand in the code, `*` and `_` not taken for emphasis."""
    return re.sub(r"(?<!`)([*_])", r"\\\1", words)


def kept(name):
    """Roles and bytes, on the board's ViT."""
    settings, spec = settings_of(name), spec_of()
    task, method = spec.build(settings)
    initial = InitialState(method, 2, 0, Programs())
    shapes = {**task.leaf_shapes(), **initial.row}
    by_role = defaultdict(list)
    for path, role in method.roles.items():
        by_role[role].append(path)
    rows = []
    for role in ("shared", "personal", "generated", "fixed"):
        if paths := by_role[role]:
            count = sum(shapes[path].size for path in paths if path in shapes)
            rows.append(f"| {role} | {count:,} | {in_words(paths, list(task.leaf_shapes()))} |")
    down, up = traffic(method, initial.one_client, task)
    stays = tree.num_bytes(initial.own_row)
    hyper = sum(leaf.size for leaf in initial.server.generator.values())
    told = [
        "Of a ViT with 72,000 parameters on images of 28x28 pixels:\n",
        "| role | numbers | leaves |\n| --- | ---: | --- |",
        *rows,
        "",
        f"A client of the cohort receives {in_bytes(down)} in a round and sends {in_bytes(up)}. "
        + (f"For each client {in_bytes(stays)} are kept." if stays else "Nothing is kept for a client."),
    ]
    if hyper:
        told[-1] += f" The hypernetwork on the server has {hyper:,} numbers."
    return "\n".join(told)


def in_words(paths, model):
    """Which leaves: all of the model, the rest if they are most, layers, or copies of the client's own."""
    own = [path for path in paths if path not in model]
    found = [path for path in paths if path in model]
    told = {len(model): ["all"]}.get(len(found)) or (
        ["the rest"] if 2 * len(found) > len(model) else layers(found, model)
    )
    for prefix in dict.fromkeys(path.partition("params/")[0] for path in own):
        copied = [path.removeprefix(prefix) for path in own if path.startswith(prefix)]
        if set(copied) <= set(model):
            which = "all" if 2 * len(copied) > len(model) else ", ".join(layers(copied, model))
            told.append(f"under `{prefix}`: {which}")
        else:
            told += [f"`{path}`" for path in own if path.startswith(prefix)]
    return ", ".join(told)


def layers(paths, model):
    """Layers of which all leaves are among the paths, and the other paths."""
    parts = {path.rpartition("/")[0] for path in paths}
    whole = {
        part for part in parts if all(path in paths for path in model if path.rpartition("/")[0] == part)
    }
    named = whole | {path for path in paths if path.rpartition("/")[0] not in whole}
    return [f"`{name}`" for name in leaves_in_short([name.removeprefix("params/") for name in named])]


def settings_of(name):
    """The configuration whose roles and bytes are told."""
    needs = NEEDS.get(name, ({},))[0]
    training = config.Training(**{k: v for k, v in needs.get("training", {}).items() if k != "optimizer"})
    if name == "scaffold":
        training = dataclasses.replace(training, optimizer=config.Optimizer("sgd"))
    model = dataclasses.replace(VIT, adapter=config.Adapter(16)) if name == "fedperfix" else VIT
    return config.SimulationConfig(model=model, method=config.METHODS[name](), training=training)


def spec_of():
    """Data of Fashion-MNIST's kind."""
    split = Examples(np.zeros((20, 28, 28, 1), np.uint8), np.arange(20, dtype=np.int32) % 10)
    shards = Shards.from_lists([np.arange(10), np.arange(10, 20)])
    return DataSpec.of(Dataset("images", split, split, 10), Partition(shards, shards))


def reached(name):
    """The board's figures and curves, "" where it has none of this method."""
    rows = [row for row in board("board.csv") if row["method"] == name]
    if not rows:
        return ""
    lines = ["| model | partition | accuracy | adapted | worst tenth | setting |", "|" + " --- |" * 6]
    for row in rows:
        figures = [with_std(row, measure) for measure in ("accuracy", "adapted", "worst tenth")]
        lines.append(f"| {row['model']} | {row['partition']} | {' | '.join(figures)} | {row['setting']} |")
    return "\n".join([BOARD_SAYS, *lines, "", f"![Learning curves](../pictures/methods/{name}.png)"])


def with_std(row, measure):
    return f"{float(row[measure]):.1f} ± {float(row[f'{measure}, std']):.1f}"


def board(file):
    """Rows of the board's results, none if it has not been run."""
    path = BOARD / file
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines())) if path.exists() else []


def curves(name):
    """Learning curves beside FedAvg's and local training's, a panel for each task; None if there are none."""
    rows = board("curves.csv")
    panels = list(dict.fromkeys((r["model"], r["partition"]) for r in rows if r["method"] == name))
    if not panels:
        return None
    figure = Figure(figsize=(4.6 * len(panels), 3.2), layout="constrained")
    for ax, panel in zip(figure.subplots(1, len(panels), squeeze=False).flat, panels, strict=True):
        for method, colour in {**BESIDE, name: BLUE}.items():
            of = [r for r in rows if (r["model"], r["partition"], r["method"]) == (*panel, method)]
            x, mean, std = (np.array([float(r[c]) for r in of]) for c in ("round", "accuracy", "std"))
            ax.plot(x, mean, color=colour, label=method)
            ax.fill_between(x, mean - std, mean + std, color=colour, alpha=0.15, linewidth=0)
        ax.set_title(", ".join(panel), loc="left", fontsize=10, color=INK)
        ax.set_xlabel("round")
        ax.set_ylabel("test accuracy, %")
        ax.legend(frameon=False)
    return figure


def name_in_words(title):
    """What the method is called in prose: "FedALA" of "FedALA: a client starts ..."."""
    return re.split(r"[:,]", title)[0]


def differences(called):
    """The rows of differences.md that are about this method, "" if there are none."""
    tables, head = [], []
    for line in (HERE / "differences.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("|"):
            head = []
        elif not head:
            head = [line]
        elif len(head) == 1:
            head.append(line)
        elif re.search(rf"(?<![\w-]){re.escape(called)}(?![\w-])", cells[0]):
            if not tables or tables[-1][0] != head[0]:
                tables.append([*head])
            tables[-1].append(line)
    return "\n\n".join("\n".join(table) for table in tables)


if __name__ == "__main__":
    jax.config.update("jax_platforms", "cpu")
    (HERE / "methods").mkdir(exist_ok=True)
    for file, text in pages().items():
        (HERE / "methods" / file).write_text(text, encoding="utf-8")
    for method in config.METHODS:
        if figure := curves(method):
            (HERE / "pictures" / "methods").mkdir(exist_ok=True)
            (HERE / "pictures" / "methods" / f"{method}.png").write_bytes(to_png(figure))
