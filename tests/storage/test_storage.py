"""Storage that fails: files that are damaged, lost or cannot be written, and a disk that is full."""

import dataclasses
import json
import resource
import shutil
import warnings
import zlib

import numpy as np
import pandas as pd
import pytest
from tiny_run import TINY, Stopped, same_files, same_state, stop_after

from fedtp_jax import Result, UserError, config, load_data, simulate
from fedtp_jax.core.errors import StorageError
from fedtp_jax.engine.programs import Programs
from fedtp_jax.simulation.initial_state import InitialState
from fedtp_jax.storage.checkpoints import Checkpoints
from fedtp_jax.storage.csv_log import csv_rows
from fedtp_jax.storage.run_identity import spec_of


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A run that was killed after round 5, with checkpoints of rounds 2 and 4."""
    path = tmp_path_factory.mktemp("stopped") / "run"
    with pytest.raises(Stopped):
        simulate(TINY, out=path, on_round=stop_after(5))
    return path


@pytest.fixture
def run(stopped, tmp_path):
    return shutil.copytree(stopped, tmp_path / "run")


def files_of(checkpoint):
    return sorted(path for path in checkpoint.rglob("*") if path.is_file())


def flip(path, where):
    content = bytearray(path.read_bytes())
    content[int(where * (len(content) - 1))] ^= 0x10
    path.write_bytes(content)


DAMAGES = {
    "lost": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "first bits": lambda path: flip(path, 0),
    "middle bits": lambda path: flip(path, 0.5),
    "last bits": lambda path: flip(path, 1),
}


def newest(folder, keep=2):
    """(rounds, what was saved) of the newest checkpoint that can be read."""
    checkpoints = Checkpoints(folder / "checkpoints", keep, read_only=True)
    try:
        task = spec_of(checkpoints.newest_meta())
        method = task.build(TINY)[1]
        return checkpoints.newest(InitialState(method, task.num_clients, TINY.seed, Programs()))
    finally:
        checkpoints.close()


@pytest.mark.slow
def test_any_damage_to_a_checkpoint_is_found_or_harmless(stopped, tmp_path):
    """Each file of the newest, in each way: what is read is the one before, or all that was saved."""
    whole = newest(stopped)
    assert whole[0] == 4
    skipped = 0
    for file in files_of(stopped / "checkpoints" / "4"):
        for damage in DAMAGES.values():
            run = shutil.copytree(stopped, tmp_path / "run")
            damage(run / file.relative_to(stopped))
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always")
                rounds, saved = newest(run)
            if rounds == 2:
                skipped += 1
                assert any("checkpoint of round 4 is damaged and skipped" in str(w.message) for w in told)
            else:
                assert rounds == 4
                assert saved.logs == whole[1].logs
                same_state(saved[:3], whole[1][:3])
            shutil.rmtree(run)
    assert skipped > 10


def test_a_damaged_checkpoint_is_skipped_and_the_run_is_the_same(whole, run):
    for file in files_of(run / "checkpoints" / "4" / "state"):
        flip(file, 0.5)
    with pytest.warns(UserWarning, match="checkpoint of round 4 is damaged and skipped"):
        simulate(TINY, out=run, resume=True)
    same_files(whole[1], run)


def test_with_all_checkpoints_damaged_the_run_is_refused_and_left_alone(run):
    for file in files_of(run / "checkpoints"):
        file.write_bytes(b"")
    before = {path: path.read_bytes() for path in files_of(run)}
    with (
        pytest.warns(UserWarning, match="is damaged and skipped"),
        pytest.raises(UserError, match="holds no checkpoint that can be read"),
    ):
        simulate(TINY, out=run, resume=True)
    assert {path: path.read_bytes() for path in files_of(run)} == before


def test_a_run_without_checkpoints_starts_again_and_says_so(whole, run):
    shutil.rmtree(run / "checkpoints")
    with pytest.warns(UserWarning, match="holds no checkpoint, so it starts again"):
        simulate(TINY, out=run, resume=True)
    same_files(whole[1], run)


def test_checkpoints_of_another_version_are_refused(run):
    for rounds in ("2", "4"):
        file = run / "checkpoints" / rounds / "meta" / "metadata"
        facts = json.loads(json.loads(file.read_text())["facts"])
        del facts["task"]["dtype"]
        text = json.dumps(facts)
        file.write_text(json.dumps({"facts": text, "checksum": zlib.crc32(text.encode())}))
    with pytest.raises(UserError, match="written by another version of fedtp_jax"):
        Result.load(run)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["metrics.csv", "timing.csv", "partition.npz"])
def test_a_file_that_is_damaged_or_lost_is_made_again(name, damage, whole, run):
    DAMAGES[damage](run / name)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        simulate(TINY, out=run, resume=True)
    same_files(whole[1], run)
    if damage not in ("half", "last bits"):  # of rows that came after the checkpoint nobody is told
        assert any(f"{name}: was changed or lost; it is written anew" in str(w.message) for w in told)


@pytest.mark.parametrize("name", ["metrics.csv", "timing.csv"])
def test_a_torn_line_is_dropped(name, whole, run):
    with (run / name).open("ab") as file:
        file.write(b"6,3,0,7")
    simulate(TINY, out=run, resume=True)
    same_files(whole[1], run)


def test_of_a_finished_run_too(whole, tmp_path):
    run = shutil.copytree(whole[1], tmp_path / "run")
    for name in ("metrics.csv", "clients.csv", "report.html", "environment.json"):
        (run / name).unlink()
    with pytest.warns(UserWarning, match="metrics.csv: was changed or lost"):
        simulate(TINY, out=run, resume=True)
    same_files(whole[1], run)
    assert (run / "report.html").is_file()


@pytest.mark.parametrize("name", ["report.html", "clients.csv", "partition.npz"])
def test_a_run_goes_on_without_what_cannot_be_written(name, whole, run):
    (run / name).unlink(missing_ok=True)
    (run / name).mkdir()
    told = f"{name}: cannot be written .*; the run goes on without it"
    with pytest.warns(UserWarning, match=told):
        simulate(TINY, out=run, resume=True)
    assert (run / "metrics.csv").read_bytes() == (whole[1] / "metrics.csv").read_bytes()


def test_a_full_disk_stops_the_run_whole(whole, limit, tmp_path):
    """The history cannot grow: one message, nothing torn, and the run goes on when there is space."""
    settings = dataclasses.replace(TINY, checkpoint=config.Checkpoint(every=1))
    metrics = tmp_path / "run" / "metrics.csv"

    def fill(progress):
        if progress.round == 3:
            limit(metrics.stat().st_size + 10)

    with (
        warnings.catch_warnings(record=True) as told,
        pytest.raises(StorageError, match=r"metrics\.csv: cannot be written \(File too large\)"),
    ):
        warnings.simplefilter("always")
        simulate(settings, out=tmp_path / "run", on_round=fill)
    # round 3's, unless it was on disk before the disk was full
    assert all("a checkpoint could not be written" in str(warning.message) for warning in told)
    assert len(metrics.read_text().splitlines()) == 4
    limit(resource.RLIM_INFINITY)
    simulate(settings, out=tmp_path / "run", resume=True)
    assert metrics.read_bytes() == (whole[1] / "metrics.csv").read_bytes()


def test_a_checkpoint_that_does_not_fit_is_warned_of_and_the_next_one_written(whole, limit, tmp_path):
    settings = dataclasses.replace(TINY, checkpoint=config.Checkpoint(every=1, keep=1))

    def fill(progress):
        if progress.round == 2:
            limit(4096)  # the rows of metrics.csv fit
        if progress.round == 4:
            limit(resource.RLIM_INFINITY)

    with pytest.warns(UserWarning, match="a checkpoint could not be written"):
        result = simulate(settings, out=tmp_path / "run", on_round=fill)
    same_state(result.state, whole[0].state)
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["6"]


def test_a_folder_whose_run_was_killed_in_its_header_is_free(whole, tmp_path):
    run = shutil.copytree(whole[1], tmp_path / "run")
    for path in run.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name not in ("environment.json", "partition.npz"):
            path.unlink()
    (run / "config.yaml.part").write_text("train")
    with pytest.raises(UserError, match="is not the folder of a run"):
        simulate(TINY, out=run, resume=True)
    simulate(TINY, out=run)
    same_files(whole[1], run)
    assert not list(run.glob("*.part"))


def test_all_that_a_loaded_result_shows_is_of_one_round(tmp_path):
    path, often = tmp_path / "run", {"evaluation": {"every": 1}, "checkpoint": {"every": 2}}
    seen = {}

    def look(progress):
        seen[progress.round] = (path / "clients.csv").read_bytes()
        stop_after(3)(progress)

    with pytest.raises(Stopped):
        simulate(TINY, **often, out=path, on_round=look)
    assert (path / "clients.csv").read_bytes() == seen[3] != seen[2]
    result, data = Result.load(path), load_data("digits")
    assert len(result.history) == 2
    pd.testing.assert_frame_equal(result.clients, pd.DataFrame(csv_rows(seen[2])))
    for client in (0, 3):
        positions = result.partition.test[client]
        right = np.argmax(result.predict(client, data.test.x[positions]), -1) == data.test.y[positions]
        assert right.mean() == pytest.approx(result.clients["test_accuracy"][client], abs=1e-6)
    # and so does what goes on from there
    with pytest.raises(Stopped):
        simulate(TINY, **often, out=path, resume=True, on_round=stop_after(3))
    assert (path / "clients.csv").read_bytes() == seen[3]


@pytest.mark.slow
def test_the_clients_means_over_evaluations_go_on(whole, tmp_path):
    path = tmp_path / "run"
    with pytest.raises(Stopped):
        simulate(TINY, out=path, on_round=stop_after(5))  # evaluated after 2 and 4, mean of 4 and 6
    simulate(TINY, out=path, resume=True)
    same_files(path, whole[1])
    table = whole[0].clients
    assert not table["test_accuracy_mean"].equals(table["test_accuracy"])
    weights = table["test_examples"] / table["test_examples"].sum()
    pooled = whole[0].accuracy["mean"]
    assert (table["test_accuracy_mean"] * weights).sum() == pytest.approx(pooled, abs=1e-6)
