"""Export, doctor, TensorBoard, pictures of attention: what surrounds a run."""

import json

import numpy as np
import pytest
from test_cli import fedtp
from test_simulate import TINY, whole

from fedtp_jax import UserError, config, simulate
from fedtp_jax.attention import attention_distances, attention_weights, rollout
from fedtp_jax.data.sources import load
from fedtp_jax.export import export_client
from fedtp_jax.trackers import TensorBoard

assert whole  # a fixture


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
    with pytest.raises(UserError, match="exists already"):
        export_client(result, 3, file)


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
    content = file.read_bytes()
    assert content.count(b"train_loss") == 3
    assert content.count(b"test_accuracy") == 2  # rounds 2 and 3


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
        result.plot_attention(2, data.test.x[:2], {"the same": result}),
    ]
    assert all(figure.axes for figure in figures)
    assert figures[2].axes[0].get_title(loc="left") == "this run against the other: 0 clients gain, 0 lose"
