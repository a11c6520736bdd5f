"""More rounds on a run: what it comes to is the run that asked for so many, or it says why it cannot be."""

import dataclasses
import json
import shutil

import pandas as pd
import pytest
from commands import fedtp
from tiny_run import TINY, Stopped, same_files, same_state, stop_after

from fedtp_jax import Result, UserError, compare, config, simulate


def of(rounds, settings=TINY, **training):
    training = dataclasses.replace(settings.training, rounds=rounds, **training)
    return dataclasses.replace(settings, training=training)


def same(a, b):
    """Two runs in folders, of which each is (result, folder)."""
    same_files(a[1], b[1])
    same_state(a[0].state, b[0].state)
    pd.testing.assert_frame_equal(a[0].history, b[0].history)
    pd.testing.assert_frame_equal(a[0].clients, b[0].clients)
    configs = ((folder / "report.html").read_text().count("rounds: 6") for _, folder in (a, b))
    assert min(configs) > 0


def checkpoints(run):
    return sorted(int(path.name) for path in (run / "checkpoints").iterdir())


def bytes_of(run):
    return {path: path.read_bytes() for path in sorted(run.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("first", [2, 4, 3, 5], ids=lambda rounds: f"{rounds} rounds")
def test_some_rounds_and_then_more_are_all_of_them_at_once(first, whole, tmp_path):
    """FedTP keeps a hypernetwork, its optimizer and embeddings; of 3 and 5 rounds the last was evaluated."""
    run = tmp_path / "run"
    simulate(of(first), out=run)
    assert checkpoints(run)[-1] == first
    heard = []
    result = simulate(TINY, out=run, resume=True, on_round=lambda progress: heard.append(progress.round))
    assert heard == list(range(first // 2 * 2 + 1, 7))
    same(whole, (result, run))
    assert Result.load(run).config == result.config


def test_the_same_from_the_shell_and_killed_on_the_way(whole, tmp_path):
    run = tmp_path / "run"
    simulate(of(3), out=run)
    with pytest.raises(Stopped):
        simulate(TINY, out=run, resume=True, on_round=stop_after(3))  # before it saves anything
    assert checkpoints(run) == [2]
    with pytest.raises(UserError, match="none is finished"):
        compare([run])
    result = simulate(run / "config.yaml", out=run, resume=True)
    same(whole, (result, run))


def test_a_stopped_run_may_be_asked_for_fewer_rounds_but_not_for_fewer_than_are_done(tmp_path):
    run, other = tmp_path / "run", tmp_path / "other"
    with pytest.raises(Stopped):
        simulate(of(9), out=run, on_round=stop_after(3))
    a, b = simulate(of(3), out=run, resume=True), simulate(of(3), out=other)
    same_files(run, other)
    same_state(a.state, b.state)
    before = bytes_of(run)
    with pytest.raises(UserError, match=r"training\.rounds: 2, but .* has done 3 already; ask for more"):
        simulate(of(2), out=run, resume=True)
    assert bytes_of(run) == before


def test_of_several_seeds_all_go_on_or_none(tmp_path, capsys):
    run, other = tmp_path / "run", tmp_path / "other"
    simulate(of(2), seeds=[0, 1], out=run)
    shutil.rmtree(run / "seed-1")  # as if it had not begun
    code, out, _ = fedtp(capsys, "resume", str(run), "training.rounds=5", "--json")
    assert code == 0
    simulate(of(5), seeds=[0, 1], out=other)
    assert [one["round"] for one in json.loads(out)["seeds"]] == [5, 5]
    for name in ("seed-0", "seed-1"):
        same_files(run / name, other / name)
    assert json.loads((run / "seeds.json").read_text()) == json.loads((other / "seeds.json").read_text())
    shutil.rmtree(run / "seed-1" / "checkpoints" / "4")
    before = bytes_of(run)
    with pytest.raises(UserError, match=r"training\.rounds: 6, but .*seed-1 was asked for 5, and has no"):
        simulate(of(6), seeds=[0, 1], out=run, resume=True)
    assert bytes_of(run) == before


REFUSED = {
    "cosine": (
        {"training": {"schedule": "cosine"}},
        r"training\.rounds: 4, but .*run was asked for 2, and its training\.schedule, cosine, depends on",
    ),
    "no checkpoint before the extra evaluation": (
        {"evaluation": {"every": 3}, "checkpoint": {"keep": 1}},
        r"has no checkpoint \(of 2\) that a run of 4 would pass: .*evaluation\.every=3 alone; start",
    ),
    "the best round before it is lost": (
        {
            "evaluation": {"every": 3},
            "checkpoint": {"every": 1, "best": "val_accuracy"},
            "partition": {"validation": 0.2},
        },
        r"has no checkpoint \(of 2, 1\) that a run of 4 would pass",
    ),
}


@pytest.mark.parametrize(("settings", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_the_longer_run_is_refused_and_left_alone(settings, message, tmp_path):
    run = tmp_path / "run"
    training = {"rounds": 2, **settings.pop("training", {})}
    simulate(TINY, **settings, training=training, out=run)
    before = bytes_of(run)
    with pytest.raises(UserError, match=message):
        simulate(run / "config.yaml", training={"rounds": 4}, out=run, resume=True)
    assert bytes_of(run) == before


def test_a_schedule_that_asks_for_the_round_alone_goes_on(tmp_path):
    run, other = tmp_path / "run", tmp_path / "other"
    falling = of(4, schedule=config.Step(every=1, factor=0.5))
    simulate(falling, out=run)
    a, b = simulate(of(6, falling), out=run, resume=True), simulate(of(6, falling), out=other)
    same_files(run, other)
    same_state(a.state, b.state)
