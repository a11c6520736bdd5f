"""Small files of the user's own that each data set reads, made up for given settings."""

import dataclasses
import json
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from image_files import write_emnist
from PIL import Image

from fedtp_jax import config
from fedtp_jax.data.sources import load


def _table(folder, settings):
    columns = {"label": [0, 1] * 20, "other": [1, 0, 0, 1] * 10, "who": ["a", "b"] * 20}
    columns |= {"part": (["train"] * 4 + ["test"]) * 8, "age": np.arange(40.0)}
    frame = pd.DataFrame(columns)
    if settings.impute:
        frame.loc[3, "age"] = np.nan
    frame.to_csv(folder / "my.csv", index=False)
    return dataclasses.replace(settings, file=str(folder / "my.csv"))


def _emnist(folder, settings):
    for split in ("balanced", "letters", "digits"):
        write_emnist(folder, split, (1, 9))
    return dataclasses.replace(settings, directory=str(folder))


def _images(folder, settings):
    for number in range(20):
        path = folder / f"{'ab'[number % 2]}/{'cd'[number // 2 % 2]}/{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), number).save(path)
    levels = ("class", "client") if settings.levels == ("class",) else settings.levels
    return dataclasses.replace(settings, directory=str(folder), levels=levels)


def _leaf(folder, settings):
    user = {"x": np.linspace(0, 1, 24).reshape(4, 6).tolist(), "y": [0, 1, 0, 1]}
    for split in ("train", "test"):
        (folder / split).mkdir()
        content = {"users": ["u"], "num_samples": [4], "user_data": {"u": user}}
        (folder / split / "0.json").write_text(json.dumps(content))
    return dataclasses.replace(settings, directory=str(folder))


def _hugging_face(folder, settings):
    datasets = pytest.importorskip("datasets", reason="datasets comes with the extra `huggingface`")
    columns = {"label": [0, 1] * 20, "other": [1, 0, 0, 1] * 10, "who": ["a", "b"] * 20}
    columns |= {"image": np.linspace(0, 1, 80).reshape(40, 2).tolist(), "x": np.arange(40.0)}
    columns |= {"steps": np.ones((40, 2, 3)).tolist(), "ids": [[1, 2, 9]] * 40}
    if settings.impute:
        columns["image"][3][1] = None
    made = datasets.Dataset.from_dict(columns)
    datasets.disable_progress_bars()
    datasets.DatasetDict(train=made, test=made, more=made.select(range(8))).save_to_disk(folder)
    return dataclasses.replace(settings, directory=str(folder))


FILES = {
    config.Emnist: _emnist,
    config.Table: _table,
    config.ImageFolder: _images,
    config.Leaf: _leaf,
    config.HuggingFace: _hugging_face,
}


def read_made_up(settings):
    """The data of files made up for these settings."""
    with tempfile.TemporaryDirectory() as folder:
        given = FILES[type(settings)](Path(folder), settings)
        made = load(given)
    parts = [(part.x.tobytes(), part.y.tobytes(), str(part.group)) for part in (made.train, made.test)]
    return parts, made.input_shape, made.mean, made.std, made.padding
