"""The rooms: imports run from upper rooms to lower ones only, and importing the package stays light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import fedtp_jax

ROOT = Path(fedtp_jax.__file__).parent
ROOMS = [
    "cli",
    "sweeps",
    "trackers",
    "runs",
    "export",
    "results",
    "comparison",
    "storage",
    "simulation",
    "evaluation",
    "methods",
    "aggregation",
    "uploads",
    "learning",
    "engine",
    "partitions",
    "models",
    "data",
    "pages",
    "plots",
    "config",
    "core",
]
FACES = ("__init__", "__main__")  # at the root: what the package shows


def files():
    """(dotted name, path) of every module."""
    for path in sorted(ROOT.rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        yield name, path


NAMES = [name for name, _ in files()]


def imported(path):
    """The modules of the package that a file imports, `a.b` or the room `a`."""
    for node in ast.walk(ast.parse(path.read_text())):
        assert not (isinstance(node, ast.ImportFrom) and node.level), f"{path}: relative import"
        if isinstance(node, ast.Import):
            assert not any(alias.name.startswith("fedtp_jax") for alias in node.names), path
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "fedtp_jax":
            inner = node.module.removeprefix("fedtp_jax").removeprefix(".")
            for alias in node.names:
                full = f"{inner}.{alias.name}".removeprefix(".")
                yield full if full in NAMES or not inner else inner


def room(name):
    return name.split(".")[0]


def test_imports_run_down_the_rooms():
    for name, path in files():
        if name in FACES:
            continue
        assert room(name) in ROOMS, f"{name} is in no room: put it into one, or add its room to ROOMS"
        for other in imported(path):
            assert ROOMS.index(room(other)) >= ROOMS.index(room(name)), f"{name} imports {other}"


def test_inside_a_room_no_import_runs_in_a_circle():
    needs = {name: {other for other in imported(path) if room(other) == room(name)} for name, path in files()}
    needs = {
        name: {other if other in needs else f"{other}.__init__" for other in of} for name, of in needs.items()
    }
    while leaves := [name for name, of in needs.items() if not of & needs.keys()]:
        for name in leaves:
            del needs[name]
    assert not needs


def test_every_room_says_what_it_is_in_two_lines_at_most():
    for name in ROOMS:
        first = ast.get_docstring(ast.parse((ROOT / name / "__init__.py").read_text()))
        assert first and len(first.split("\n\n")[0].splitlines()) <= 2, name


@pytest.mark.parametrize("folder", ["fedtp_jax", "tests", "benchmarks", "docs"])
def test_files_hold_one_idea(folder):
    for path in (ROOT.parent / folder).rglob("*.py"):
        assert len(path.read_text().splitlines()) <= 300, path


def test_nothing_heavy_is_loaded_before_a_first_round_needs_it(tmp_path):
    heavy = "pandas, matplotlib, tensorflow_datasets, orbax, sklearn, scipy, tensorflow"
    code = (
        "import sys; from pathlib import Path; from fedtp_jax import simulate\n"
        "from fedtp_jax.storage.checkpoints import Checkpoints; Checkpoints(Path(sys.argv[1]), 1).close()\n"
        f"print([m for m in '{heavy}'.split(', ') if m in sys.modules])"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_nothing_that_only_unix_has_is_needed():
    code = (
        "import sys; sys.modules['fcntl'] = None; import os; del os.sysconf; import fedtp_jax.cli, fedtp_jax"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


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
        "from_flwr",
        "from_nnx",
        "load_config",
        "load_data",
        "simulate",
    ]


def test_help_loads_no_jax():
    code = (
        "import sys; from fedtp_jax.cli import main\n"
        "try:\n    main(['plan', '--help'])\nexcept SystemExit as stop:\n    assert not stop.code\n"
        "print([name for name in ('jax', 'numpy', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
