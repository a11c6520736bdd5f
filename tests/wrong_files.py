"""Wrong files of the user's own: tables, folders of images, LEAF's JSON, data sets of Hugging Face."""

import io
import json
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from PIL import Image
from wrong_settings import given

CSV = "age,blood,clinic,died,fold\n" + "".join(
    f"{40 + n},{'AB0'[n % 3]},{'ne'[n % 2]},{n % 2},{'test' if n % 5 == 4 else 'train'}\n" for n in range(20)
)


def table(more, content=CSV, name="my.csv"):
    return given(f"'data={{name: table, file: {name}, {more}}}' model=mlp method=fedavg", {name: content})


LABELS = "label: died"
TABLES = {
    "no file named": given("data=table"),
    "no such file": given("'data={name: table, file: my.csv, label: died}'"),
    "an empty file": table(LABELS, ""),
    "columns' names alone": table(LABELS, "age,died\n"),
    "rows of several lengths": table(LABELS, "age,died\n1,0\n1,0,3,4\n"),
    "no text at all": table(LABELS, b"\xff\xfe\x00\xd8" * 10),
    "no Parquet in a .parquet": table(LABELS, CSV, "my.parquet"),
    "a label column that is not there": table("label: dead"),
    "a client column that is not there": table(f"{LABELS}, client: klinic"),
    "a split column that is not there": table(f"{LABELS}, split: set"),
    "a feature column that is not there": table(f"{LABELS}, columns: [age, blod]"),
    "the label among the features": table(f"{LABELS}, columns: [age, died]"),
    "no feature left": table("label: died", "died\n1\n0\n"),
    "a gap": table(LABELS, CSV.replace("41,", ",")),
    "a gap among the labels": table(LABELS, CSV.replace(",1,train", ",,train")),
    "a gap among the clients": table(f"{LABELS}, client: clinic", CSV.replace(",e,", ",,")),
    "a split of another name": table(f"{LABELS}, split: clinic"),
    "a split without test rows": table(f"{LABELS}, split: fold", CSV.replace("test", "train")),
    "labels with fractions": table("label: age, columns: [blood]", CSV.replace("40,", "40.5,")),
    "a text for every row": table(LABELS, "name,died\n" + "".join(f"p{n},{n % 2}\n" for n in range(200))),
    "impute is no way": table(f"{LABELS}, impute: zero"),
    "by client without clients": table(f"{LABELS}, standardize: client"),
    "an infinity": table(LABELS, CSV.replace("40,", "inf,")),
}


def png(mode="L", size=(4, 4)):
    stream = io.BytesIO()
    Image.new(mode, size, 7).save(stream, "PNG")
    return stream.getvalue()


GOOD = {f"raw/{label}/{n}.png": png() for label in "ab" for n in range(4)}


def folder(more="", **files):
    about = f"'data={{name: image_folder, directory: raw{more}}}'"
    return given(about, GOOD | {f"raw/{name}": content for name, content in files.items()})


FOLDERS = {
    "no folder named": given("data=image_folder"),
    "no such folder": given("'data={name: image_folder, directory: raw}'"),
    "a folder without images": given("'data={name: image_folder, directory: raw}'", {"raw/a/b.txt": ""}),
    "an image in no class": folder(**{"0.png": png()}),
    "an image too deep": folder(**{"a/x/0.png": png()}),
    "levels without class": folder(", levels: [client]"),
    "a level twice": folder(", levels: [class, class]"),
    "a level that is none": folder(", levels: [label]"),
    "splits of other names": folder(", levels: [split, class]", **{"train/a/0.png": png()}),
    "a text that is called .png": folder(**{"a/9.png": "no image"}),
    "an image cut off": folder(**{"a/9.png": png(size=(64, 64))[:60]}),
    "images of two sizes": folder(**{"b/9.png": png(size=(5, 4))}),
    "a size of one number": folder(", size: [8]"),
    "a size of 0": folder(", size: [0, 8]"),
}


def leaf(train, more="", test=None):
    def packed(content):
        return content if isinstance(content, str) else json.dumps(content)

    files = {"raw/train/0.json": packed(train), "raw/test/0.json": packed(test or USERS)}
    return given(f"'data={{name: leaf, directory: raw{more}}}' model=mlp method=fedavg", files)


def users(x, y):
    return {"users": ["u"], "num_samples": [len(y)], "user_data": {"u": {"x": x, "y": y}}}


X = np.linspace(0, 1, 24).reshape(4, 6).tolist()
USERS = users(X, [0, 1, 0, 1])
LEAVES = {
    "no folder named": given("data=leaf"),
    "no such folder": given("'data={name: leaf, directory: raw}'"),
    "no JSON": leaf("users: u"),
    "JSON of another kind": leaf([1, 2]),
    "no users": leaf({"user_data": {}}),
    "a user without data": leaf({"users": ["u"], "user_data": {}}),
    "a user without labels": leaf({"users": ["u"], "user_data": {"u": {"x": X}}}),
    "fewer labels than examples": leaf(users(X, [0, 1])),
    "examples of several lengths": leaf(users([[1.0], [1.0, 2.0]], [0, 1])),
    "examples that are texts": leaf(users(["a", "b"], [0, 1])),
    "labels that are fractions": leaf(users(X, [0.5, 1, 0, 1])),
    "users without an example": leaf(users([], [])),
    "a shape of other numbers": leaf(USERS, ", shape: [7]"),
    "a shape of four axes": leaf(USERS, ", shape: [1, 2, 3, 1]"),
    "test examples of another length": leaf(USERS, test=users([[1.0]] * 2, [0, 1])),
    "nested a thousand times": leaf("[" * 10_000),
}


def hub(columns, more="", change=None, splits=("train", "test")):
    """Both splits of these columns, which `change` maps to those of the test split."""
    settings = f"'data={{name: huggingface, directory: raw, input: x{more}}}' model=mlp method=fedavg"

    def case():
        datasets = pytest.importorskip("datasets", reason="datasets comes with the extra `huggingface`")
        datasets.disable_progress_bars()
        parts = {"train": columns, "test": change(dict(columns)) if change else columns}
        made = {name: datasets.Dataset.from_dict(part) for name, part in parts.items() if name in splits}
        (datasets.DatasetDict(made) if splits else datasets.Dataset.from_dict(columns)).save_to_disk("raw")
        return given(settings)()

    return case


def classes(labels):
    """A column of cats and dogs."""

    def case():
        datasets = pytest.importorskip("datasets", reason="datasets comes with the extra `huggingface`")
        names = datasets.ClassLabel(names=["cat", "dog"])
        features = datasets.Features({"x": datasets.Value("float64"), "label": names})
        made = datasets.Dataset.from_dict({"x": [1.0, 2.0], "label": labels}, features)
        made.save_to_disk("raw")
        return given("'data={name: huggingface, directory: raw, input: x, test: null}'")()

    return case


def images(*sizes):
    """Images of these sizes, None for one that is missing."""
    return [size and Image.new("L", size) for size in sizes]


def something_else():
    pytest.importorskip("datasets", reason="datasets comes with the extra `huggingface`")
    return given("'data={name: huggingface, directory: raw}'", {"raw/a.csv": ""})()


def damaged():
    wrong = hub(BOTH)()
    (file,) = Path("raw/train").glob("*.arrow")
    file.write_bytes(file.read_bytes()[:100])
    return wrong


def without_the_package():
    wrong = given("'data={name: huggingface, directory: raw}'", {"raw/state.json": ""})()

    def run():
        with mock.patch.dict(sys.modules, {"datasets": None}):
            wrong()

    return run


BOTH = {"x": [[1.0, 2.0], [3.0, 4.0]], "label": [0, 1]}
HUGGING_FACE = {
    "no folder and no name": given("data=huggingface"),
    "both a folder and a name": given("'data={name: huggingface, directory: raw, hub: ylecun/mnist}'"),
    "the package is not installed": without_the_package,
    "a name on the hub in place of a folder": given("'data={name: huggingface, directory: ylecun/mnist}'"),
    "a folder of something else": something_else,
    "a file cut off": damaged,
    "a split that is not there": hub(BOTH, ", train: training"),
    "no test split": hub(BOTH, splits=("train",)),
    "a test split of what has no splits": hub(BOTH, splits=()),
    "an input column that is not there": hub({"y": [1.0, 2.0], "label": [0, 1]}),
    "a label column that is not there": hub(BOTH, ", label: labels"),
    "a client column that is not there": hub(BOTH, ", client: who"),
    "another column in the test split": hub(BOTH, change=lambda part: part | {"x": [1, 2]}),
    "texts as inputs": hub({"x": ["a", "b"], "label": [0, 1]}),
    "dicts as inputs": hub({"x": [{"a": 1}, {"a": 2}], "label": [0, 1]}),
    "lists of several lengths": hub({"x": [[1.0, 2.0], [3.0]], "label": [0, 1]}),
    "a list that is missing": hub({"x": [[1.0, 2.0], None], "label": [0, 1]}),
    "a number that is missing": hub({"x": [[1.0, 2.0], [None, 3.0]], "label": [0, 1]}),
    "lists of whole numbers": hub({"x": [[1, 2], [3, 4]], "label": [0, 1]}),
    "tokens of several lengths": hub({"x": [[1, 2], [3]], "label": [0, 1]}, ", kind: tokens"),
    "padding that a text holds": hub({"x": [[1, 0, 2], [3]], "label": [0, 1]}, ", kind: tokens, padding: 0"),
    "padding of what are no tokens": hub(BOTH, ", padding: 0"),
    "tokens that are fractions": hub(BOTH, ", kind: tokens"),
    "tokens that are scaled": hub({"x": [[1], [2]], "label": [0, 1]}, ", kind: tokens, standardize: pooled"),
    "lists of lists, of two readings": hub({"x": [[[1.0]], [[2.0]]], "label": [0, 1]}),
    "pixels up to 256": hub({"x": [[[0]], [[256]]], "label": [0, 1]}, ", kind: image"),
    "an image that is missing": hub({"x": images((4, 4), None), "label": [0, 1]}),
    "images of two sizes": hub({"x": images((4, 4), (5, 4)), "label": [0, 1]}),
    "images as features": hub({"x": images((4, 4), (4, 4)), "label": [0, 1]}, ", kind: features"),
    "a label that is missing": hub(BOTH | {"label": [0, None]}),
    "a class that is missing": classes([0, -1]),
    "labels that are fractions": hub(BOTH | {"label": [0.5, 1]}),
    "no labels": hub(BOTH, ", label: null"),
    "a client that is missing": hub(BOTH | {"who": ["a", None]}, ", client: who"),
    "by client without clients": hub(BOTH, ", standardize: client"),
}
KINDS = {
    "`data=table`": TABLES,
    "`data=image_folder`": FOLDERS,
    "`data=leaf`": LEAVES,
    "`data=huggingface`": HUGGING_FACE,
}
