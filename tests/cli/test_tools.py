"""Export, doctor, TensorBoard, pictures of attention: what surrounds a run."""

import json
import time

import numpy as np
import pytest
from commands import fedtp
from tensorboardX.proto import event_pb2
from tiny_run import TINY

from fedtp_jax import UserError, compare, config, from_arrays, simulate
from fedtp_jax.config.plain import to_yaml
from fedtp_jax.data.sources import load
from fedtp_jax.evaluation.attention import attention_distances, attention_weights, rollout
from fedtp_jax.export.safetensors_file import export_client
from fedtp_jax.trackers.tensorboard import TensorBoard


def test_an_exported_client_is_read_without_the_simulator(whole, tmp_path, capsys):
    from flax.traverse_util import unflatten_dict
    from safetensors import safe_open

    result, path = whole
    file = tmp_path / "client.safetensors"
    code, out, err = fedtp(capsys, "export", str(path), "--client", "3", "--out", str(file))
    assert (code, err) == (0, "")
    assert str(file) in out.replace("\n", "")
    with safe_open(file, "numpy") as opened:
        leaves = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        about = {name: json.loads(value) for name, value in opened.metadata().items()}
    x = load(config.Digits()).test.x[:4]
    inputs = (x / 255 - np.array(about["mean"])) / np.array(about["std"])
    logits = result.model.apply(unflatten_dict(leaves, sep="/"), inputs.astype(np.float32))
    np.testing.assert_allclose(logits, result.predict(3, x), atol=1e-5)
    assert (about["client"], about["model"]["name"], about["divide_by_255"]) == (3, "vit", True)
    assert about["trained_rounds"] == result.clients["trained_rounds"][3]
    before = file.read_bytes()
    with pytest.raises(UserError, match="exists already; choose another file, or give --overwrite"):
        export_client(result, 4, file)
    assert file.read_bytes() == before
    assert fedtp(capsys, "export", str(path), "--client", "4", "--out", str(file), "--overwrite")[0] == 0
    assert file.read_bytes() != before


def test_doctor_finds_what_is_here(capsys):
    code, out, err = fedtp(capsys, "doctor", "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found["data digits"] == {"found": "from scikit-learn", "fine": True}
    assert found["jax"]["found"].count(".") >= 1
    code, out, _ = fedtp(capsys, "doctor")
    assert code == 0
    assert "digits" in out


def test_tensorboard_gets_every_round(tmp_path):
    simulate(TINY, training={"rounds": 3}, on_round=TensorBoard(tmp_path))
    (file,) = (tmp_path / "seed-0").iterdir()
    tags = [value.tag for event in events(file) for value in event.summary.value]
    assert (tags.count("train_loss"), tags.count("test_accuracy")) == (3, 2)  # evaluated in rounds 2 and 3


def events(file):
    """TensorBoard's events in a file: each between its length and two checksums."""
    content = file.read_bytes()
    while content:
        size = int.from_bytes(content[:8], "little")
        yield event_pb2.Event.FromString(content[12 : 12 + size])
        content = content[16 + size :]


def test_tensorboard_drops_what_came_after_the_checkpoint(tmp_path):
    def stop(progress):
        tracker(progress)
        if progress.round == 3:
            raise RuntimeError("the power is cut")

    settings = {"training": {"rounds": 4}, "out": tmp_path / "run"}
    tracker = TensorBoard(tmp_path / "events")
    with pytest.raises(RuntimeError):
        simulate(TINY, **settings, on_round=stop)
    tracker.close()
    time.sleep(1.1)  # files are named by the second
    (first,) = (tmp_path / "events" / "seed-0").iterdir()
    simulate(TINY, **settings, on_round=TensorBoard(tmp_path / "events"), resume=True)
    (second,) = {*(tmp_path / "events" / "seed-0").iterdir()} - {first}
    losses = [
        [event.step for event in events(file) for value in event.summary.value if value.tag == "train_loss"]
        for file in (first, second)
    ]
    assert losses == [[1, 2, 3], [3, 4]]  # round 2 has the checkpoint
    starts = [e.step for e in events(second) if e.session_log.status == event_pb2.SessionLog.START]
    assert starts == [3]  # which tells TensorBoard to forget that round of the first file


def test_a_run_goes_on_without_tensorboard(tmp_path):
    (tmp_path / "events").write_text("in the way")
    with pytest.warns(UserWarning, match="events: cannot be written .* goes on without TensorBoard"):
        result = simulate(TINY, training={"rounds": 2}, on_round=TensorBoard(tmp_path / "events"))
    assert len(result.history) == 2


@pytest.mark.slow
def test_the_command_writes_for_tensorboard_too(tmp_path, capsys):
    words = "partition.clients=20", "training.rounds=2", "training.cohort_size=2", "method=fedavg"
    (tmp_path / "tiny.yaml").write_text(to_yaml(TINY))
    out = tmp_path / "run"
    code, *_ = fedtp(capsys, "run", str(tmp_path / "tiny.yaml"), "--out", str(out), "--tensorboard", *words)
    assert code == 0
    (file,) = (out / "tensorboard" / "seed-0").iterdir()
    assert file.read_bytes().count(b"train_loss") == 2


def test_attention_is_a_distribution_and_its_rollout_too(whole):
    result, _ = whole
    x = load(config.Digits()).test.x[:3]
    weights = [attention_weights(result.intermediates(k, x)) for k in (0, 1)]
    assert weights[0].shape == (1, 3, 2, 5, 5)
    np.testing.assert_allclose(weights[0].sum(-1), 1, rtol=1e-5)
    by_hand = (weights[0][0].mean(1) + np.eye(5))[:, 0, 1:]
    np.testing.assert_allclose(rollout(weights[0]), by_hand / by_hand.sum(-1, keepdims=True), rtol=1e-5)
    distances = attention_distances(weights)
    assert distances[0, 0] == 0
    assert 0 < distances[0, 1] == distances[1, 0] < 1
    with pytest.raises(UserError, match="gives no attention weights"):
        attention_weights({"features": ()})


def test_every_picture_of_a_result_is_drawn(whole):
    result, _ = whole
    data = load(config.Digits())
    figures = [
        result.plot_curves(),
        result.plot_clients(),
        result.plot_gains(result),
        result.plot_partition(data),
        result.plot_embeddings(data),
        result.plot_attention(2, result, images=data.test.x[:2]),
        result.plot_attention_distances([0, 1, 2], data.test.x[:2]),
        result.plot_embeddings(data, projection="tsne"),
    ]
    assert all(figure.axes for figure in figures)
    assert all(figure._repr_png_().startswith(b"\x89PNG") for figure in figures)  # as notebooks show it
    assert figures[2].axes[0].get_title(loc="left") == "this run against the other\n0 gain, 0 lose, 6 equal"


def test_embeddings_are_coloured_by_superclass(whole):
    result, _ = whole
    data = load(config.Digits())
    axes = result.plot_embeddings(data, superclass=[0] * 5 + [1] * 5).axes[0]
    held = result.partition.train.class_counts(data.train.y, 10)
    expected = (held[:, 5:].sum(1) > held[:, :5].sum(1)).astype(int)
    assert sorted(text.get_text() for text in axes.texts) == sorted(map(str, expected))
    for wrong in ({"projection": "umap"}, {"superclass": [0, 1]}, {"data": "digits"}):
        with pytest.raises(UserError, match=next(iter(wrong))):
            result.plot_embeddings(**{"data": data, **wrong})
    for draw in (result.plot_attention, lambda client: result.plot_attention_distances([client])):
        with pytest.raises(UserError, match="client: got 99, expected a whole number from 0 to 5"):
            draw(99)
    with pytest.raises(UserError, match="clients: got \\[\\]"):
        result.plot_attention_distances([], data.test.x[:2])


@pytest.mark.slow
def test_pictures_know_the_run_s_own_data_where_a_configuration_names_them(whole):
    result, _ = whole
    assert result.plot_partition().axes
    arrays = simulate(TINY, data=from_arrays(np.zeros((90, 8, 8, 1), np.uint8), np.arange(90) % 3))
    with pytest.raises(UserError, match="data: the run's data were made in Python"):
        arrays.plot_partition()


def test_a_result_is_compared_with_others(whole):
    result, _ = whole
    other = simulate(result.config, method="fedavg")
    assert str(result.compare(other)) == str(compare([result, other]))
    assert result.compare(other, metric="worst_decile").metric == "worst_decile"


def test_progress_is_a_live_line_on_a_terminal_and_lines_elsewhere(monkeypatch, capsys):
    simulate(TINY, training={"rounds": 3})
    assert capsys.readouterr() == ("", "")
    heard = []
    simulate(TINY, training={"rounds": 3}, progress=True, on_round=heard.append)
    out, err = capsys.readouterr()
    assert (out, len(heard)) == ("", 3)
    assert [line.split("  ")[0] for line in err.splitlines()] == ["round 2/3", "round 3/3"]
    monkeypatch.setenv("FORCE_COLOR", "1")
    simulate(TINY, training={"rounds": 3}, progress=True, seeds=[4, 5])
    shown = capsys.readouterr().err
    assert "6/6" in shown and "seed 5" in shown
