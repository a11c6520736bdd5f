"""Wrong folders, commands and arguments: what is given to the shell's commands and to Python's functions."""

import contextlib
import functools
import io
import json
import re
import shlex
import shutil
import tempfile
import warnings
import zlib
from pathlib import Path

import numpy as np
from wrong_settings import TINY, write

from fedtp_jax import Result, SimulationConfig, UserError, config, from_arrays, load_config, simulate
from fedtp_jax.cli import main

SETTINGS = TINY.replace("fedtp, hypernetwork: {embedding: 4, hidden: 6, layers: 1}", "fedavg")
DIGITS = np.zeros((200, 8, 8, 1), np.uint8)
OWN = from_arrays(DIGITS, np.arange(200) % 10)


def shell(line, files=None):
    """A command, where SETTINGS lie in tiny.yaml; its one line becomes a UserError again."""

    def run():
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                main(shlex.split(line)[1:])
            except SystemExit as stop:
                assert (stop.code, out.getvalue()) == (2, ""), (stop.code, out.getvalue(), err.getvalue())
        told = err.getvalue()
        assert told.startswith("error: ") and told.endswith("\n"), told
        raise UserError(told.removeprefix("error: ").removesuffix("\n"))

    def case():
        write({"tiny.yaml": SETTINGS, **(files or {})})
        return run

    return case


def commands(*lines):
    return {f"`{line}`": shell(line) for line in lines}


@functools.cache
def finished():
    """A folder that holds a finished run in `run`."""
    folder = tempfile.TemporaryDirectory()
    write({f"{folder.name}/tiny.yaml": SETTINGS})
    simulate(load_config(f"{folder.name}/tiny.yaml"), out=f"{folder.name}/run")
    return folder


def after(damage, wrong):
    """`wrong`, a line of shell or a function, where run/ holds a finished run that was damaged."""

    def case():
        shutil.copytree(f"{finished().name}/run", "run")
        if damage:
            damage(Path("run"))
        return shell(wrong)() if isinstance(wrong, str) else wrong

    return case


def resume(damage):
    return after(damage, "fedtp resume run")


def reading(damage):
    return after(damage, load)


def load():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of each damaged checkpoint
        return Result.load("run")


def take(name):
    def damage(run):
        path = run / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return damage


def put(name, content):
    return lambda run: write({run / name: content})


def edit(name, pattern, new):
    """Every file of this name changed; at least one must be."""

    def damage(run):
        changed = 0
        for path in filter(Path.is_file, run.rglob(name)):
            content, count = re.subn(pattern, new, path.read_bytes())
            path.write_bytes(content)
            changed += count
        assert changed

    return damage


def restate(pattern, new):
    """The checkpoints' facts changed, and their checksums with them."""

    def damage(run):
        for path in run.rglob("meta/metadata"):
            facts, count = re.subn(pattern, new, json.loads(path.read_text())["facts"])
            assert count
            path.write_text(json.dumps({"facts": facts, "checksum": zlib.crc32(facts.encode())}))

    return damage


def file_for_checkpoints(run):
    take("checkpoints")(run)
    put("checkpoints", b"")(run)


def damage_checkpoints(run):
    for path in filter(Path.is_file, (run / "checkpoints").rglob("*")):
        path.write_bytes(b"damaged")


EXPORT = "fedtp export run --client 0 --out {}"
FOLDERS = {
    "`fedtp resume` of nothing": shell("fedtp resume nothing"),
    "`fedtp resume` of a file": shell("fedtp resume tiny.yaml"),
    "`fedtp resume` of an empty folder": shell("fedtp resume runs", {"runs/tiny/x": b""}),
    "`fedtp resume`, but config.yaml has another model": resume(edit("config.yaml", b" dim: 8", b" dim: 16")),
    "`fedtp resume`, but config.yaml has another method": resume(edit("config.yaml", b"fedavg", b"fedprox")),
    "`fedtp resume`, but config.yaml is damaged": resume(put("config.yaml", "training: [")),
    "`fedtp resume`, but checkpoints is a file": resume(file_for_checkpoints),
    "`fedtp resume`, but the checkpoint is of other data": resume(
        restate(r'"data": "\w{8}', '"data": "00000000')
    ),
    "`fedtp resume`, but the checkpoint is of another partition": resume(
        restate(r'"partition": "\w{8}', '"partition": "00000000')
    ),
    "`fedtp resume`, but the checkpoint is of another version": resume(restate('"task"', '"job"')),
    "`fedtp resume`, but seeds.json is damaged": shell("fedtp resume runs", {"runs/seeds.json": "{"}),
    "`fedtp resume`, but seeds.json is a list": shell("fedtp resume runs", {"runs/seeds.json": "[]"}),
    "`fedtp resume`, but seeds.json has other settings": shell(
        "fedtp resume runs", {"runs/seeds.json": '{"seeds": [0], "config": 3}'}
    ),
    "`fedtp export` over a file": after(put("one.safetensors", "mine"), EXPORT.format("run/one.safetensors")),
    "`fedtp export` into another format": after(None, EXPORT.format("one.npz")),
    "`fedtp export` of a client that is not there": after(
        None, EXPORT.replace("0", "60").format("one.safetensors")
    ),
    "`fedtp novel --export` of all clients": after(None, "fedtp novel run --export one.safetensors"),
    "`fedtp watch` of nothing": shell("fedtp watch nothing"),
    "`fedtp watch` of a folder without a run": shell("fedtp watch runs", {"runs/tiny/x": b""}),
    "`fedtp watch`, but metrics.csv was changed": after(
        edit("metrics.csv", b"\n1,", b"\none,"), "fedtp watch run --once"
    ),
    "`fedtp watch`, but config.yaml is no run's": after(
        put("config.yaml", "seed: 0"), "fedtp watch run --once"
    ),
    "`fedtp novel` of a run without held-out clients": after(None, "fedtp novel run"),
    "`Result.load` of nothing": lambda: lambda: Result.load("nothing"),
    "`Result.load` of a run that has no checkpoint": reading(take("checkpoints")),
    "`Result.load`, but the checkpoints are damaged": reading(damage_checkpoints),
    "`Result.load`, but the checkpoints are of another model": reading(
        edit("config.yaml", b"heads: 2", b"heads: 4")
    ),
    "`Result.load`, but partition.npz is damaged": reading(put("partition.npz", b"PK")),
    "`Result.save` over a run": after(None, lambda: load().save("run")),
}

COMMANDS = commands(
    "fedtp",
    "fedtp rum tiny.yaml",
    "fedtp run tiny.yaml --outt runs",
    "fedtp list method",
    "fedtp novel run --epochs many",
    "fedtp watch run --json",
    "fedtp watch run --page run.png",
    "fedtp run none.yaml",
    "fedtp run tiny.yaml rounds",
    "fedtp run tiny.yaml --out .",
    "fedtp run tiny.yaml --out tiny.yaml",
    "fedtp run tiny.yaml --out tiny.yaml/run",
    "fedtp run tiny.yaml --seeds 1 1",
    "fedtp run tiny.yaml --seeds -1",
    "fedtp run tiny.yaml --coordinator localhost",
    "fedtp run tiny.yaml --coordinator localhost --processes 2 --process-id 0",
    "fedtp run tiny.yaml --coordinator localhost:1 --processes 2 --process-id 2",
    "fedtp plan tiny.yaml model.patch_size=3",
    "fedtp partition tiny.yaml partition.alpha=1",
    "fedtp partition tiny.yaml --out tiny.yaml",
    "fedtp prepare digits",
    "fedtp prepare mnist --directory nowhere",
) | {
    "`fedtp run run.yaml --out run`, where a run is": after(
        lambda run: write({"run.yaml": SETTINGS}), "fedtp run run.yaml --out run"
    ),
    "`fedtp partition tiny.yaml --out out`, where out/partition.npz is a folder": shell(
        "fedtp partition tiny.yaml --out out", {"out/partition.npz/x": b""}
    ),
}


def python(call, **arguments):
    """A call of `simulate`, or of a method of a finished run's result."""
    return (
        (lambda: lambda: call(**arguments))
        if call is simulate
        else after(None, lambda: call(load(), **arguments))
    )


def simulated(**sections):
    return lambda: lambda: simulate(SimulationConfig(**sections), out="run")


PYTHON = {
    "`simulate({'seed': 1})`": python(simulate, config={"seed": 1}),
    "`simulate(data=(x, y))`": python(simulate, data=(DIGITS, DIGITS)),
    "`simulate(out=3)`": python(simulate, out=3),
    "`simulate(resume=True)`": python(simulate, resume=True),
    "`simulate(on_round=3)`": python(simulate, on_round=3),
    "`simulate(seeds=3)`": python(simulate, seeds=3),
    "`simulate(seeds=[])`": python(simulate, seeds=[]),
    "`simulate(seeds=[0.5])`": python(simulate, seeds=[0.5]),
    "`simulate(seeds=[[1]])`": python(simulate, seeds=[[1]]),
    "`Training(round=3)`": lambda: lambda: config.Training(round=3),
    "`FedTP(mu=1)`": lambda: lambda: config.FedTP(mu=1),
    "`SimulationConfig(rounds=3)`": lambda: lambda: SimulationConfig(rounds=3),
    "`FedAvg(0.1)`": lambda: lambda: config.FedAvg(0.1),
    "`Training(3, rounds=4)`": lambda: lambda: config.Training(3, rounds=4),
    "`Optimizer('adam', b1=0.5)`": lambda: lambda: config.Optimizer("adam", b1=0.5),
    "`Training(rounds='3')`": simulated(training=config.Training(rounds="3")),
    "`SimulationConfig(training={'round': 3})`": simulated(training={"round": 3}),
    "`SimulationConfig(method='fedavg')`": simulated(method="fedavg"),
    "`SimulationConfig(method=FedAvg)`": simulated(method=config.FedAvg),
    "`SimulationConfig(data=Vit())`": simulated(data=config.Vit()),
    "`SimulationConfig(compat=np.zeros(3))`": simulated(compat=np.zeros(3)),
    "`Engine(devices='all')`": simulated(engine=config.Engine(devices="all")),
    "`Optimizer('adam', [1])`": simulated(training=config.Training(optimizer=config.Optimizer("adam", [1]))),
    "`load_config(3)`": lambda: lambda: load_config(3),
    "`load_config('x.yaml', 'seed=1')`": lambda: lambda: load_config("x.yaml", "seed=1"),
    "`result.variables(6)`": python(Result.variables, client=6),
    "`result.variables([1])`": python(Result.variables, client=[1]),
    "`result.predict(True, x)`": python(Result.predict, client=True, x=DIGITS),
    "`result.predict(0, None)`": python(Result.predict, client=0, x=None),
    "`result.predict(0, [[1], [1, 2]])`": python(Result.predict, client=0, x=[[1], [1, 2]]),
    "`result.predict(0, x[0])`": python(Result.predict, client=0, x=DIGITS[0]),
    "`result.predict(0, x[:0])`": python(Result.predict, client=0, x=DIGITS[:0]),
    "`result.predict(0, x / 255)`": python(Result.predict, client=0, x=DIGITS / 255),
    "`result.personalize((x, y))`": python(Result.personalize, data=(DIGITS, DIGITS)),
    "`result.personalize(data)` of another shape": python(
        Result.personalize, data=from_arrays(DIGITS[:, :4], np.arange(200) % 10)
    ),
    "`result.personalize(data)` of more classes": python(
        Result.personalize, data=from_arrays(DIGITS, np.arange(200) % 20)
    ),
    "`result.personalize(data, modes=['fitt'])`": python(Result.personalize, data=OWN, modes=["fitt"]),
    "`result.personalize(data, modes=['fit'])` of fedavg": python(
        Result.personalize, data=OWN, modes=["fit"]
    ),
    "`result.personalize(data, modes=3)`": python(Result.personalize, data=OWN, modes=3),
    "`result.personalize(data, epochs=0)`": python(Result.personalize, data=OWN, epochs=0),
    "`result.personalize(data, learning_rate='x')`": python(Result.personalize, data=OWN, learning_rate="x"),
    "`result.personalize(data, embedding_learning_rate=0.1)` of fedavg": python(
        Result.personalize, data=OWN, embedding_learning_rate=0.1
    ),
}

KINDS = {"Folders of runs": FOLDERS, "Commands": COMMANDS, "Python": PYTHON}
