"""Wrong files of the user's own: tables, folders of images, LEAF's JSON."""

import io
import json

import numpy as np
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
KINDS = {"`data=table`": TABLES, "`data=image_folder`": FOLDERS, "`data=leaf`": LEAVES}
