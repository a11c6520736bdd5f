"""What a sweep's file asks for: combinations, their names and folders, each for one sweep at a time."""

from pathlib import Path

import pytest
from commands import fedtp
from sweep_files import BASE, GRID, placed

from fedtp_jax import load_config
from fedtp_jax.config import name_of
from fedtp_jax.storage.locks import keeping
from fedtp_jax.sweeps.combinations import read_sweep

DIRICHLET = {"name": "dirichlet", "clients": 6, "alpha": 0.3}


def test_a_grid_is_every_combination_and_a_list_each_entry(file):
    found = placed(file(grid=GRID, seeds=[0, 2]))
    assert [(c.config.training.learning_rate, c.name) for c in found] == [
        (0.05, "method=fedavg,learning_rate=0.05"),
        (0.1, "method=fedavg,learning_rate=0.1"),
        (0.05, "method=local,learning_rate=0.05"),
        (0.1, "method=local,learning_rate=0.1"),
    ]
    assert [path.run(2) for path in found[:1]] == [Path("runs/tiny/method=fedavg,learning_rate=0.05/seed-2")]
    entries = [{"method.name": "local", "training.rounds": 9}, {"method.name": "fedavg"}]
    found = placed(file(list=entries))
    assert [(c.config.training.rounds, c.name) for c in found] == [
        (9, "method=local,rounds=9"),
        (3, "method=fedavg,rounds=3"),
    ]
    assert {c.seeds for c in found} == {(4,)}  # the base's


def test_a_combination_is_what_the_command_line_makes_of_the_same_fields(file):
    partition = {
        "partition": [DIRICHLET],
        "partition.alpha": [1.0, 2.0],
        "method.name": ["fedprox"],
        "method.mu": [3],
    }
    for combination, alpha in zip(placed(file(grid=partition)), (1.0, 2.0), strict=True):
        words = [
            "partition={name: dirichlet, clients: 6, alpha: 0.3}",
            f"partition.alpha={alpha}",
            "method.mu=3",
            "method.name=fedprox",
        ]
        assert combination.config == load_config("base.yaml", words)


@pytest.mark.parametrize(
    ("grid", "names"),
    [
        ({"method.name": ["local"]}, ["method=local"]),
        ({"partition": [{**DIRICHLET, "alpha": a} for a in (1, 2)]}, ["alpha=1.0", "alpha=2.0"]),
        (
            {"partition": ["iid", DIRICHLET, {**DIRICHLET, "alpha": 2}]},
            ["partition=iid", "partition=dirichlet,alpha=0.3", "partition=dirichlet,alpha=2.0"],
        ),
        ({"engine.lanes": [1, "auto"]}, ["lanes=1", "lanes=auto"]),
        (
            {
                "method.name": ["fedtp"],
                "method.personal": [[], ["head/", "norm[^/]*/"], ["head/", "norm.*/"]],
            },
            ["personal=none", "personal=head_+norm_", "personal=head_+norm._"],
        ),
        (
            {"method.name": ["fedper"], "method.personal": [["head[/]"], ["head(/)"]]},
            ["personal=head_", "personal=head_~2"],
        ),
        (
            {"training.learning_rate": [0.1, 0.2], "server.learning_rate": [1, 2]},
            [f"training.learning_rate={a},server.learning_rate={b}" for a in (0.1, 0.2) for b in (1.0, 2.0)],
        ),
    ],
)
def test_folders_are_named_by_what_varies(grid, names, file):
    (Path("base.yaml")).write_text(BASE.replace("clients: 6", "clients: 20"))
    found = [combination.name for combination in placed(file(grid=grid))]
    assert len(set(found)) == len(found)
    assert found == names
    assert len(set(found)) == len(found)


def test_a_list_beside_a_grid_is_each_entry_with_all_of_it(file):
    entries = [{"method.name": "local"}, {"method.name": "fedavg", "training.learning_rate": 0.3}]
    grid = {"training.learning_rate": [0.1, 0.2], "training.rounds": [1, 2]}
    configs = read_sweep(Path(file(list=entries, grid=grid))).configs
    found = [(name_of(c.method), c.training.learning_rate, c.training.rounds) for c in configs]
    assert found == [
        *(("local", rate, rounds) for rate in (0.1, 0.2) for rounds in (1, 2)),
        *(("fedavg", 0.3, rounds) for rounds in (1, 2)),
    ]


def test_two_sweeps_never_share_a_folder(file, capsys):
    name = file(grid={"method.name": ["local"]}, seeds=[0])
    Path("runs/tiny").mkdir(parents=True)
    with keeping(Path("runs/tiny"), "sweep"):
        code, _, err = fedtp(capsys, "sweep", name)
    assert code == 2 and "runs/tiny: another process is at work on this sweep (pid " in err
    assert fedtp(capsys, "sweep", name, "--quiet")[0] == 0
