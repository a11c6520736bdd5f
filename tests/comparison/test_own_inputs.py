"""Runs on a user's own data and parts: which of them are seeds of one another."""

import threading

import numpy as np
import optax
import pytest
from commands import fedtp
from flax import linen as nn

from fedtp_jax import Partition, Result, UserError, compare, from_arrays, simulate
from fedtp_jax.methods import role_method

FEW = {"rounds": 2, "cohort_size": 2, "learning_rate": 0.1}
KEPT = {"partition": {"name": "iid", "clients": 4}, "training": FEW, "evaluation": {"every": 2}}


class Tiny(nn.Module):
    """A linear model."""

    scale: float = 1.0

    @nn.compact
    def __call__(self, x, train=False):
        return nn.Dense(3, name="head")(self.scale * x.reshape(len(x), -1))


def arrays(noise):
    random = np.random.default_rng(0)
    y = random.integers(0, 3, 120)
    x = random.normal(y[:, None], 0.1 + noise, (120, 4)).astype(np.float32)
    return x, y


def run(data=None, seed=0, **settings):
    data = data if data is not None else from_arrays(*arrays(0))
    return simulate(**{**KEPT, "data": data, "model": Tiny(), "method": "fedavg", **settings}, seed=seed)


@pytest.fixture(scope="module")
def first():
    return run()


def seeds_of_cells(made):
    return sorted(tuple(run.seed for run in cell) for cell in made.outcomes.values())


def personal(rules):
    def mine(task):
        return role_method(task, rules)

    return mine


LISTS = [
    Partition.from_lists([np.arange(k, 90, 2) for k in (0, 1)], [np.arange(k, 24, 2) for k in order])
    for order in ((0, 1), (1, 0))
]


def locked():
    lock = threading.Lock()

    def with_lock(task):
        with lock:
            return role_method(task, [("shared", (".",))])

    return with_lock


def test_seeds_of_the_same_are_one_row(first):
    made = compare([first, run(seed=1)])
    assert seeds_of_cells(made) == [(0, 1)]
    again = from_arrays(*arrays(0), name="the same under another name")
    assert seeds_of_cells(compare([first, run(again, seed=1)])) == [(0, 1)]


@pytest.mark.parametrize("seed", [0, 1])
def test_other_data_is_another_row(first, seed):
    made = compare([first, run(from_arrays(*arrays(3), name="noisy"), seed=seed)])
    assert made.sheet.corner == "data"
    assert made.sheet.rows == ["arrays", "noisy"]
    assert not any("twice" in note for note in made.sheet.notes)


def test_data_of_one_name_have_their_digits(first):
    made = compare([first, run(from_arrays(*arrays(3)), seed=1)])
    assert [row.split()[0] for row in made.sheet.rows] == ["arrays", "arrays"]
    assert len(set(made.sheet.rows)) == 2
    assert made.table["data.identity"].tolist() == made.sheet.rows


@pytest.mark.slow
def test_other_groups_or_normalisation_are_other_data(first):
    x, y = arrays(0)
    assert len(compare([first, run(from_arrays(x, y, mean=(0.5,) * 4), seed=1)]).outcomes) == 2
    natural = {"partition": "natural"}
    grouped = [run(from_arrays(x, y, groups=np.arange(120) % k), **natural, seed=k) for k in (2, 3)]
    assert len(compare(grouped).outcomes) == 2


@pytest.mark.parametrize(
    ("settings", "corner", "rows"),
    [
        (({"model": Tiny()}, {"model": Tiny(2.0)}), "model", ["Tiny()", "Tiny(scale=2.0)"]),
        (({"partition": LISTS[0]}, {"partition": LISTS[1]}), "partition", ["Partition", "Partition"]),
        (
            ({"method": personal([("shared", (".",))])}, {"method": personal([("personal", (".",))])}),
            "method",
            ["personal.mine", "personal.mine"],
        ),
        (
            tuple(
                {"training": {**FEW, "optimizer": of}} for of in (optax.sgd, lambda rate: optax.adam(rate))
            ),
            "optimizer",
            ["sgd", "<lambda>"],
        ),
    ],
)
def test_other_own_parts_are_other_rows(settings, corner, rows):
    made = compare([run(seed=k, **setting) for k, setting in enumerate(settings)])
    assert made.sheet.corner == corner
    assert [row.split()[0].rstrip(",") for row in made.sheet.rows] == rows
    assert len(set(made.sheet.rows)) == 2
    alike = [note for note in made.sheet.notes if note.startswith("Kept apart though called alike")]
    assert len(alike) == (rows[0] == rows[1])


def test_what_nobody_can_tell_stays_apart_and_says_why():
    one = locked()
    runs = [run(method=one, seed=seed) for seed in (0, 1)]
    assert seeds_of_cells(compare(runs)) == [(0, 1)]  # it is the very same object
    made = compare([runs[0], run(method=locked(), seed=1)])
    assert seeds_of_cells(made) == [(0,), (1,)]
    assert any("not known to be alike" in note and "_thread.lock" in note for note in made.sheet.notes)


def test_folders_know_what_they_read(first, tmp_path, capsys):
    for k, data in enumerate((from_arrays(*arrays(0), name="clear"), from_arrays(*arrays(3), name="noisy"))):
        run(data, seed=k).save(tmp_path / str(k))
    code, out, _ = fedtp(capsys, "compare", str(tmp_path))
    assert code == 0 and "clear" in out and "noisy" in out
    # as folders of version 0.1.0 are: they say nothing of what was read
    for k in (0, 1):
        (tmp_path / str(k) / "environment.json").write_text("{}")
    made = compare(tmp_path)
    assert seeds_of_cells(made) == [(0,), (1,)]
    assert any("not known to be alike" in note and "version 0.1.0" in note for note in made.sheet.notes)


@pytest.mark.slow
def test_a_file_is_told_by_what_is_in_it(first, tmp_path):
    file, moved = tmp_path / "mine.npz", tmp_path / "moved.npz"
    for path in (file, moved):
        np.savez(path, **dict(zip("xy", arrays(0), strict=True)))
    clear = run({"name": "npz", "file": str(file)}, seed=0)
    assert seeds_of_cells(compare([clear, run({"name": "npz", "file": str(moved)}, seed=1)])) == [(0, 1)]
    np.savez(file, **dict(zip("xy", arrays(3), strict=True)))
    assert seeds_of_cells(compare([clear, run({"name": "npz", "file": str(file)}, seed=1)])) == [(0,), (1,)]


class Alike(Tiny):
    """Says that it is always the same, whatever its size."""

    size: int = 3

    def fingerprint(self):
        return "alike"

    @nn.compact
    def __call__(self, x, train=False):
        return nn.Dense(3, name="head")(nn.Dense(self.size)(x))


def test_state_of_another_shape_is_not_called_damaged(tmp_path):
    run(model=Alike()).save(tmp_path / "run")
    with pytest.raises(UserError, match=r"holds \d+ bytes of state, where this model and method have \d+"):
        Result.load(tmp_path / "run", model=Alike(size=4))


def test_a_resumed_run_is_of_the_same_parts(tmp_path):
    class Enough(Exception):
        pass

    def stop(progress):
        if progress.round == 1:
            raise Enough

    out, often = tmp_path / "run", {"checkpoint": {"every": 1}}
    data = from_arrays(*arrays(0))
    with pytest.raises(Enough):
        run(data, **often, out=out, on_round=stop)
    with pytest.raises(UserError, match=r"model: Tiny\(\) there, Tiny\(scale=2.0\) here"):
        run(data, **often, out=out, resume=True, model=Tiny(2.0))
    other = {"training": {**FEW, "optimizer": lambda rate: optax.sgd(rate)}}
    with pytest.raises(UserError, match=r"training.optimizer.name: 'sgd' there, '<lambda>' here"):
        run(data, **often, **other, out=out, resume=True)
    with pytest.raises(UserError, match="another mean"):
        run(from_arrays(*arrays(0), mean=(0.5,) * 4), **often, out=out, resume=True)
    assert len(run(data, **often, out=out, resume=True).history) == 2

    with pytest.raises(Enough):
        run(data, **often, method=personal([("shared", (".",))]), out=tmp_path / "own", on_round=stop)
    with pytest.raises(UserError, match=r"method: personal\.mine there, .*lambda here"):
        everything = [("shared", (".",))]
        run(data, **often, method=lambda t: role_method(t, everything), out=tmp_path / "own", resume=True)
    with pytest.raises(UserError, match=r"method: another personal\.mine, whose code or values differ"):
        run(data, **often, method=personal([("personal", (".",))]), out=tmp_path / "own", resume=True)
