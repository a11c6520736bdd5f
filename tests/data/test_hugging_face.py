"""Data sets of Hugging Face: made up, written by `save_to_disk`, and read without a network."""

import socket

import numpy as np
import pytest
from PIL import Image

from fedtp_jax import UserError, config, from_arrays, simulate
from fedtp_jax.data.sources import load

datasets = pytest.importorskip("datasets", reason="datasets comes with the extra `huggingface`")
datasets.disable_progress_bars()
RNG = np.random.default_rng(3)


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refused(*_):
        raise AssertionError("asked for the network")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)


def saved(folder, columns, features=None, splits=("train", "test")):
    """The columns in each of the splits, or in one data set without splits; returns its folder."""
    made = datasets.Dataset.from_dict(columns, features and datasets.Features(features))
    (datasets.DatasetDict(dict.fromkeys(splits, made)) if splits else made).save_to_disk(folder / "saved")
    return str(folder / "saved")


def test_images_with_names_of_classes_and_clients(tmp_path):
    grey = RNG.integers(0, 256, (6, 4, 3)).astype(np.uint8)
    names = datasets.ClassLabel(names=["cat", "dog", "cow"])
    writer = datasets.ClassLabel(names=["zoe", "ann"])
    features = {"image": datasets.Image(), "label": names, "writer": writer}
    columns = {"image": [Image.fromarray(x) for x in grey], "label": [0, 2] * 3, "writer": [0, 1, 1] * 2}
    folder = saved(tmp_path, columns, features)
    data = load(config.HuggingFace(folder, client="writer"))
    for part in (data.train, data.test):
        np.testing.assert_array_equal(part.x[..., 0], grey)
        assert [data.class_names[label] for label in part.y] == ["cat", "cow"] * 3
        assert [data.group_names[group] for group in part.group] == ["zoe", "ann", "ann"] * 2
    # no example is a dog, which is a class all the same
    assert (data.num_classes, data.name, data.source) == (3, "saved", folder)


def test_images_of_which_some_are_coloured(tmp_path):
    images = [Image.new("L", (3, 5), 7), Image.new("RGB", (3, 5), (1, 2, 3)), Image.new("RGBA", (3, 5))]
    columns = {"image": images, "label": ["a", "b", "a"]}
    data = load(config.HuggingFace(saved(tmp_path, columns, splits=("train", "other")), test="other"))
    assert data.input_shape == (5, 3, 3)
    assert data.train.x[:, 0, 0].tolist() == [[7, 7, 7], [1, 2, 3], [0, 0, 0]]


SERIES = RNG.normal(size=(6, 5, 2))
PIXELS = RNG.integers(0, 256, (6, 4, 4, 3))


@pytest.mark.parametrize(
    ("values", "feature", "kind", "expected"),
    [
        ([1.5, 2, 3, 4, 5, 6], None, None, np.array([[1.5], [2], [3], [4], [5], [6]])),
        ([1, 2, 3, 4, 5, 6], None, None, np.arange(1.0, 7)[:, None]),
        ([True, False] * 3, None, None, np.array([[1.0], [0]] * 3)),
        (SERIES[:, :, 0], None, None, SERIES[:, :, 0]),
        (PIXELS[:, :, 0, 0], None, "features", PIXELS[:, :, 0, 0].astype(float)),
        (SERIES, None, "series", SERIES),
        (SERIES, ("Array2D", (5, 2), "float64"), "image", SERIES[..., None]),
        (PIXELS, None, None, PIXELS.astype(np.uint8)),
        (PIXELS[..., 0], None, "image", PIXELS[..., :1].astype(np.uint8)),
        (PIXELS, ("Array3D", (4, 4, 3), "uint8"), None, PIXELS.astype(np.uint8)),
        (PIXELS[..., 0], None, "series", PIXELS[..., 0].astype(float)),
    ],
)
def test_numbers_are_what_their_shape_says(tmp_path, values, feature, kind, expected):
    features = None
    if feature:
        features = {"x": getattr(datasets, feature[0])(*feature[1:]), "label": datasets.Value("int64")}
    columns = {"x": values if isinstance(values, list) else values.tolist(), "label": [0, 1] * 3}
    folder = saved(tmp_path, columns, features, splits=())
    data = load(config.HuggingFace(folder, input="x", test=None, kind=kind))
    x = expected if expected.dtype == np.uint8 else expected.astype(np.float32)
    by_hand = from_arrays(x, columns["label"], kind=kind)
    assert data.fingerprint() == by_hand.fingerprint()
    assert (data.kind, data.mean, data.std) == (by_hand.kind, by_hand.mean, by_hand.std)
    assert len(data.test) > 0


def test_gaps_are_filled_and_clients_scaled_on_request(tmp_path):
    columns = {"x": [[1, None], [2, 5], [3, 6], [9, 8]], "y": [0, 1, 0, 1], "who": ["a", "a", "b", "b"]}
    about = {"directory": saved(tmp_path, columns), "input": "x", "label": "y", "kind": "features"}
    with pytest.raises(UserError, match="1 of 4 examples holds NaN"):
        load(config.HuggingFace(**about))
    data = load(config.HuggingFace(**about, client="who", impute="median", standardize="client"))
    filled = np.array([[1, 6], [2, 5], [3, 6], [9, 8]], np.float32)
    by_hand = from_arrays(
        filled, columns["y"], filled, columns["y"], groups=columns["who"], groups_test=columns["who"],
        standardize="client",
    )  # fmt: skip
    assert data.fingerprint() == by_hand.fingerprint()


def test_texts_of_several_lengths_are_filled_up(tmp_path):
    texts = {"train": [[3, 1, 2], [4], [5, 5]], "test": [[2, 2, 2, 2], [1, 3]]}
    made = {
        split: datasets.Dataset.from_dict({"ids": ids, "label": [k % 2 for k in range(len(ids))]})
        for split, ids in texts.items()
    }
    datasets.DatasetDict(made).save_to_disk(tmp_path)
    about = {"directory": str(tmp_path), "input": "ids", "kind": "tokens"}
    data = load(config.HuggingFace(**about, padding=0))
    assert data.train.x.tolist() == [[3, 1, 2, 0], [4, 0, 0, 0], [5, 5, 0, 0]]
    assert data.test.x.tolist() == [[2, 2, 2, 2], [1, 3, 0, 0]]
    assert (data.kind, data.padding, data.ids) == ("tokens", 0, 6)
    with pytest.raises(UserError, match=r"data\.padding: missing, but 'ids' holds texts of up to 4 ids"):
        load(config.HuggingFace(**about))


def test_texts_without_labels_predict_the_next_token(tmp_path):
    folder = saved(tmp_path, {"ids": [[1, 2, 3], [4, 5, 6]]})
    data = load(config.HuggingFace(folder, input="ids", kind="tokens", label=None))
    assert data.is_text
    assert (data.train.length, data.num_classes) == (2, 7)


def test_by_name_from_the_hub(tmp_path, monkeypatch):
    asked = []
    made = datasets.Dataset.from_dict({"x": [1.0, 2.0], "label": [0, 1]})

    def load_dataset(name):
        asked.append(name)
        return datasets.DatasetDict({"train": made, "test": made})

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    data = load(config.HuggingFace(hub="me/numbers", input="x"))
    assert (data.name, data.source, asked) == ("numbers", "Hugging Face's hub: me/numbers", ["me/numbers"])
    nothing = datasets.DatasetDict({"train": made, "test": made.select([])})
    monkeypatch.setattr(datasets, "load_dataset", lambda name: nothing)
    with pytest.raises(UserError, match=r"data\.test: this split of me/numbers has no examples"):
        load(config.HuggingFace(hub="me/numbers", input="x"))
    monkeypatch.setattr(datasets, "load_dataset", lambda name: 1 / 0)
    with pytest.raises(UserError, match=r"data\.hub: 'me/numbers' cannot be had \(division by zero\)"):
        load(config.HuggingFace(hub="me/numbers", input="x"))


def test_a_run_with_clients(tmp_path):
    columns = {"x": SERIES[:, :, 0].tolist(), "y": ["ill", "well"] * 3, "who": ["b", "b", "a"] * 2}
    about = {"directory": saved(tmp_path, columns), "input": "x", "label": "y", "client": "who"}
    result = simulate(
        data={"name": "huggingface", **about},
        partition="natural",
        model={"name": "mlp", "hidden": 4},
        method="fedavg",
        training={"rounds": 2, "cohort_size": 2},
    )
    assert result.clients["name"].tolist() == ["a", "b"]
