"""Parts of the user's own by importable names: in files, on the command line, in sweeps, and at a resume."""

import functools
import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from commands import fedtp
from tiny_run import Stopped, same_files, same_state, stop_after

from fedtp_jax import Result, UserError, config, load_config, simulate
from fedtp_jax.config.load import replaced
from fedtp_jax.config.plain import to_dict
from fedtp_jax.core.importable import check_call, find
from fedtp_jax.simulation.numbers import programs_alike
from fedtp_jax.sweeps.combinations import check, place, read_sweep

MODULE = """\
from typing import Literal

import flax.linen as nn
import numpy as np
import optax

from fedtp_jax import Partition, from_arrays
from fedtp_jax.methods import role_method


class Net(nn.Module):
    classes: int = 10
    widths: tuple[int, ...] = (8,)
    slope: float | None = None
    kind: Literal["relu", "leaky"] = "relu"

    @nn.compact
    def __call__(self, x, train=False):
        x = x.reshape(len(x), -1)
        for width in self.widths:
            x = nn.leaky_relu(nn.Dense(width)(x), self.slope or 0.0)
        return nn.Dense(self.classes, name="head")(x)


def heads(task, role="personal"):
    return role_method(task, [(role, ("head/",)), ("shared", (".",))])


def points(examples=60):
    y = np.arange(examples) % 3
    x = np.random.default_rng(0).normal(y[:, None], 1.0, (examples, 4))
    return from_arrays(x.astype(np.float32), y)


def shuffled(data, seed, clients: int = 2):
    random = np.random.default_rng(seed)
    owners = [random.permutation(len(part)) % clients for part in (data.train, data.test)]
    return Partition.from_owners(*owners, clients)


def heavy(learning_rate, momentum: float = 0.5):
    return optax.sgd(learning_rate, momentum)


def falling(round, factor=0.5):
    return factor**round


def wrong(labels, scores, scale=1.0):
    return scale * np.mean(scores.argmax(1) != labels)


wrong.higher_is_better = False
"""
FILE = """\
seed: 3
data: {name: "MODULE:points", examples: 90}
partition: {name: "MODULE:shuffled", clients: 3}
model: {name: "MODULE:Net", classes: 3, widths: [6, 4], slope: 1e-2}
method: MODULE:heads
training:
  rounds: 3
  cohort_size: 2
  optimizer: {name: "MODULE:heavy", momentum: 0.9}
  schedule: {name: "MODULE:falling", factor: 0.25}
checkpoint: {every: 1}
"""


class Lab:
    """A module in the working folder, and a configuration that names what is in it."""

    def __init__(self, name):
        self.name, self.file = name, Path(f"{name}.py")
        self.write(MODULE)
        Path("own.yaml").write_text(FILE.replace("MODULE", name))

    def write(self, text):
        """As after an edit, seen by who imports it next."""
        self.file.write_text(text)
        sys.modules.pop(self.name, None)

    @property
    def module(self):
        return importlib.import_module(self.name)


@pytest.fixture
def lab(tmp_path, monkeypatch, request):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # an edit within a second is an edit
    yield Lab("mylab")
    sys.modules.pop("mylab", None)


def test_by_name_they_are_what_they_are_from_python(lab):
    named = simulate("own.yaml", out="run")
    lab_ = lab.module
    own = simulate(
        seed=3,
        data=lab_.points(90),
        partition=functools.partial(lab_.shuffled, clients=3),
        model=lab_.Net(3, (6, 4), 0.01),
        method=lab_.heads,
        training={
            **{"rounds": 3, "cohort_size": 2},
            "optimizer": functools.partial(lab_.heavy, momentum=0.9),
            "schedule": functools.partial(lab_.falling, factor=0.25),
        },
    )
    same_state(named.state, own.state)
    assert named.partition.fingerprint() == own.partition.fingerprint()
    assert named.partition.num_clients == 3
    written = yaml.safe_load(Path("run/config.yaml").read_text())
    assert written["model"].pop("identity").startswith(sys.implementation.cache_tag)
    assert written["model"] == {"name": "mylab:Net", "classes": 3, "widths": [6, 4], "slope": 0.01}
    assert load_config("run/config.yaml") == named.config == replaced(None, to_dict(named.config))


def test_a_run_goes_on_by_itself_and_says_what_has_changed(lab, capsys):
    whole = simulate("own.yaml", out="whole")
    with pytest.raises(Stopped):
        simulate("own.yaml", out="run", on_round=stop_after(2))
    changes = {
        "method": ('role="personal"):', 'role="personal", unused=0):'),
        "data": ("default_rng(0)", "default_rng(1234)"),
        "training.schedule": ("return factor**round", "return factor ** (round + 1)"),
    }
    for part, change in changes.items():
        lab.write(MODULE.replace(*change))
        code, _, err = fedtp(capsys, "resume", "run")
        assert (code, err.count("\n")) == (2, 1)
        assert f"({part}: another mylab:{lab_name(part)}, whose code or values differ); resume it" in err
        with pytest.raises(UserError, match=f"{part}: another mylab"):
            Result.load("run")
    lab.write(MODULE.replace("def heads", "# A comment is no change.\ndef heads"))
    code, _, err = fedtp(capsys, "resume", "run", "model.widths=[6, 5]", "method=fedavg")
    assert code == 2 and "method.name: 'mylab:heads' there, 'fedavg' here; model.widths: [6, 4] there" in err
    assert fedtp(capsys, "resume", "run", "--quiet")[0] == 0
    same_files(Path("whole"), Path("run"))
    same_state(Result.load("run").state, whole.state)
    pytest.importorskip("safetensors")
    assert fedtp(capsys, "export", "run", "--client", "1", "--out", "one.safetensors")[0] == 0
    assert Path("one.safetensors").is_file()


def lab_name(part):
    return {"method": "heads", "data": "points", "training.schedule": "falling"}[part]


def test_what_changes_what_it_does_changes_what_it_is(lab):
    before = load_config("own.yaml")
    lab.write(MODULE.replace("nn.leaky_relu", "nn.celu"))
    after = load_config("own.yaml")
    assert before.model != after.model and before.method == after.method
    assert load_config("own.yaml", ["model.slope=0.02"]).model != after.model
    assert load_config("own.yaml", ["model.slope=0.02"]).model.identity == after.model.identity


def test_an_installed_package_is_told_by_its_files(lab, monkeypatch):
    folder = Path("site-packages")
    folder.mkdir()
    monkeypatch.syspath_prepend(folder.resolve())
    found = []
    for text in (MODULE, MODULE.replace("nn.leaky_relu", "nn.celu")):
        (folder / "installed_lab.py").write_text(text)
        sys.modules.pop("installed_lab", None)
        found.append(replaced(None, {"model": "installed_lab:Net"}).model.identity)
    assert found[0] != found[1]
    assert replaced(None, {"model": "installed_lab:Net"}).model.identity == found[1]


def test_values_are_what_annotations_ask_for(lab):
    given = {"name": "mylab:Net", "slope": "1e-3", "widths": [4]}
    made = replaced(None, {"model": given}).model.value
    assert (made.slope, made.widths) == (0.001, (4,))
    assert replaced(None, {"model": {**given, "slope": None}}).model.value.slope is None
    for wrong, message in (
        ({"slope": "steep"}, r"model\.slope: got 'steep', expected a finite number or null"),
        ({"widths": 4}, r"model\.widths: got 4, expected a list of whole numbers"),
        ({"kind": "tanh"}, r"model\.kind: got 'tanh', expected 'relu' or 'leaky'"),
        ({"classes": np.tanh}, r"model\.classes: got .*, expected what a file can hold"),
    ):
        with pytest.raises(UserError, match=message):
            replaced(None, {"model": {**given, **wrong}})


def test_programs_are_shared_where_nothing_of_them_differs(lab):
    settings = load_config("own.yaml")
    assert programs_alike(settings, load_config("own.yaml", ["seed=5", "training.learning_rate=0.5"]))
    for other in ("method.role=shared", "model.slope=0.02", "partition.clients=4"):
        assert not programs_alike(settings, load_config("own.yaml", [other]))


def test_settings_go_into_named_parts_and_are_dropped_with_them(lab):
    settings = load_config("own.yaml", ["method.role=shared", "training.optimizer.momentum=0.1"])
    assert settings.method.named == {"name": "mylab:heads", "role": "shared"}
    assert settings.training.optimizer.value.keywords == {"momentum": 0.1}
    assert replaced(settings, {"method": {"role": "personal"}}).method.named["role"] == "personal"
    with pytest.warns(UserWarning, match="dropped, .*: method.role='shared'"):
        assert replaced(settings, {"method": "fedavg"}).method == config.FedAvg()


def test_a_partition_gives_every_seed_as_many_clients(lab):
    lab.write(MODULE.replace("clients: int = 2):\n", "clients: int = 2):\n    clients += seed\n"))
    with pytest.raises(UserError, match="mylab:shuffled gives 3 clients with seed 0 and 4 with seed 1;"):
        simulate("own.yaml", seeds=[0, 1], out="run")
    assert not Path("run").exists()


SWEEP = {"base": "own.yaml", "seeds": [0, 1], "grid": {"method.role": ["personal", "shared"]}}


def test_a_sweep_varies_their_fields(lab):
    Path("sweep.yaml").write_text(yaml.safe_dump(SWEEP))
    placed = place(Path("sweep.yaml"), read_sweep(Path("sweep.yaml")), Path("out"))
    assert [one.name for one in placed] == ["role=personal", "role=shared"]
    check(Path("sweep.yaml"), placed)
    placed[0].begin()
    note = json.loads(Path("out/role=personal/seeds.json").read_text())
    assert note["config"]["method"]["name"] == "mylab:heads"
    lab.write(MODULE.replace('role="personal"):', 'role="personal", unused=0):'))
    with pytest.raises(UserError, match=r"role=personal: was run with another .*\(method: its code, "):
        place(Path("sweep.yaml"), read_sweep(Path("sweep.yaml")), Path("out"))


@pytest.mark.slow
def test_a_sweep_in_processes_of_its_own(lab, capsys):
    Path("sweep.yaml").write_text(yaml.safe_dump({**SWEEP, "seeds": [3]}))
    code, table, err = fedtp(capsys, "sweep", "sweep.yaml", "--out", "out", "--processes", "2")
    assert code == 0, err
    assert "personal" in table and "shared" in table
    whole = simulate(
        "own.yaml", engine={"devices": Result.load("out/role=personal/seed-3").config.engine.devices}
    )
    same_state(Result.load("out/role=personal/seed-3").state, whole.state)


def test_the_general_look_up(lab):
    """For whatever else is named by a configuration."""
    heads = find("mylab:heads", "evaluation.metrics")
    check_call(heads, "mylab:heads", ["task"], {}, "evaluation.metrics")
    with pytest.raises(
        UserError, match=r"evaluation\.metrics: mylab:heads takes 2 arguments, expected a fun"
    ):
        check_call(heads, "mylab:heads", ["labels", "scores", "weights"], {}, "evaluation.metrics")


def test_measures_go_by_name_too(lab):
    metrics = ["accuracy", f"{lab.name}:wrong", "f1_macro"]
    asked = load_config("own.yaml", values={"evaluation": {"every": 2, "metrics": metrics}})
    result = simulate(asked, out="run")
    evaluated = result.history.dropna(subset="test_accuracy")
    np.testing.assert_allclose(evaluated["test_wrong"], 1 - evaluated["test_accuracy"], atol=1e-12)
    assert Result.load("run").config.evaluation == asked.evaluation
    twice = {"name": f"{lab.name}:wrong", "scale": 2.0}
    scaled = load_config("own.yaml", values={"evaluation": {"every": 2, "metrics": ["accuracy", twice]}})
    found = simulate(scaled).history.dropna(subset="test_accuracy")
    np.testing.assert_allclose(found["test_wrong"], 2 * evaluated["test_wrong"])
    with pytest.raises(UserError, match=r"evaluation.metrics: wrong is there twice"):
        load_config("own.yaml", values={"evaluation": {"metrics": [twice, f"{lab.name}:wrong"]}})
    with pytest.raises(
        UserError, match=r"evaluation.metrics.factor: .*takes no such argument; it takes scale"
    ):
        load_config("own.yaml", values={"evaluation": {"metrics": [{**twice, "factor": 1}]}})
