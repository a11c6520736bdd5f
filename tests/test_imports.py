"""Layers: a module imports only what stands below it, and importing the package stays light."""

import ast
import subprocess
import sys
from pathlib import Path

import fedtp_jax

ROOT = Path(fedtp_jax.__file__).parent
LAYERS = [
    ["errors", "config.fields", "programs", "cache", "population"],
    ["hosts", "arguments"],
    ["cluster"],
    ["config.data", "config.partition", "config.model", "config.method", "config.training"],
    ["config.simulation"],
    ["config"],
    ["building"],
    ["yaml_files"],
    ["rng", "tree", "settings", "data.federated"],
    ["varying"],
    ["optimizers", "data.recipes", "data.scripts", "data.unpack"],
    ["data.superclass_recipes", "data.sampled", "data.plays"],
    ["data.text", "data.reference_partition", "data.archives", "data.arrays", "data.tfds", "data.cifar"],
    ["data.sources", "data.partition"],
    ["data.prepare"],
    ["models.layers"],
    ["models.cnn", "models.lstm", "models.text", "models.vit", "models.hypernetwork", "models.own_nnx"],
    ["models"],
    ["schedule"],
    ["participation"],
    ["engine"],
    ["waves"],
    ["workbench"],
    ["methods.base"],
    ["initial"],
    ["embeddings"],
    ["methods.local_training", "methods.generator"],
    ["methods.roles"],
    ["methods.fedavg", "methods.fedproto", "methods.fedtp", "methods.personal", "methods.pfedhn"],
    ["methods.fedrod", "methods.pfedme"],
    ["methods"],
    ["task"],
    ["metrics"],
    ["knn"],
    ["evaluate"],
    ["accounts"],
    ["rounds", "novel"],
    ["personalized", "simulators"],
    ["plan"],
    ["checkpoint", "folder", "plots", "tables", "typeset"],
    ["report", "saved", "attention", "pictures", "outcomes", "outputs"],
    ["crosstab", "paired"],
    ["compare"],
    ["views"],
    ["result"],
    ["records"],
    ["run", "summary"],
    ["progress"],
    ["simulate", "reference", "sweep", "export", "trackers", "doctor"],
    ["sweeping"],
    ["cli_results", "cli_runs"],
    ["cli"],
    ["__main__"],
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def modules():
    for path in sorted(ROOT.rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        yield name.removesuffix(".__init__"), path


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "fedtp_jax":
            module = node.module.removeprefix("fedtp_jax").removeprefix(".")
            for alias in node.names:
                full = f"{module}.{alias.name}".removeprefix(".")
                yield full if full in LEVEL else module
        assert not (isinstance(node, ast.ImportFrom) and node.level), f"{path}: relative import"


def test_imports_go_downward_only():
    for name, path in modules():
        if name in ("__init__", "data"):
            continue
        assert name in LEVEL, f"{name} has no layer: add it to LAYERS"
        for other in imported(path):
            assert LEVEL[other] < LEVEL[name] or (LEVEL[other] == LEVEL[name] and "data" in name), (
                f"{name} (layer {LEVEL[name]}) imports {other} (layer {LEVEL[other]})"
            )


def test_files_hold_one_idea():
    for name, path in modules():
        assert len(path.read_text().splitlines()) <= 340, name


def test_importing_the_package_loads_no_heavy_optional_part():
    heavy = "matplotlib, tensorflow_datasets, orbax, sklearn, tensorflow"
    code = f"import sys, fedtp_jax; print([m for m in '{heavy}'.split(', ') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_public_names():
    assert sorted(fedtp_jax.__all__) == [
        "Comparison",
        "Partition",
        "Progress",
        "Result",
        "SimulationConfig",
        "UserError",
        "compare",
        "config",
        "from_arrays",
        "from_nnx",
        "load_config",
        "load_data",
        "simulate",
    ]
