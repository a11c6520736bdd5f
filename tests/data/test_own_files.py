"""The user's own files: tables, folders of images, LEAF's JSON."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fedtp_jax import UserError, config, simulate
from fedtp_jax.data.sources import load

RNG = np.random.default_rng(5)
ROWS = pd.DataFrame(
    {
        "age": RNG.integers(20, 90, 40),
        "smoker": RNG.random(40) < 0.3,
        "blood": RNG.choice(["A", "B", "0"], 40),
        "pressure": RNG.normal(120, 15, 40),
        "hospital": np.repeat(["north", "south", "west", "east"], 10),
        "fold": (["train"] * 7 + ["test"] * 3) * 4,
        "outcome": RNG.choice(["died", "lives"], 40),
    }
)


@pytest.fixture(params=["csv", "parquet"])
def table(request, tmp_path):
    path = tmp_path / f"patients.{request.param}"
    if request.param == "parquet":
        pytest.importorskip("pyarrow", reason="pandas reads Parquet with pyarrow, which is not asked for")
        ROWS.to_parquet(path)
    else:
        ROWS.to_csv(path, index=False)
    return path


def test_a_table_is_features_with_labels_clients_and_splits(table):
    about = {"label": "outcome", "client": "hospital", "split": "fold", "standardize": "none"}
    data = load(config.Table(str(table), **about))
    expected = pd.concat(
        [
            ROWS[["age", "smoker"]].astype(float),
            pd.get_dummies(ROWS["blood"]).astype(float)[["0", "A", "B"]],
            ROWS[["pressure"]],
        ],
        axis=1,
    )
    train = (ROWS["fold"] == "train").to_numpy()
    for part, rows in ((data.train, train), (data.test, ~train)):
        np.testing.assert_allclose(part.x, expected[rows].to_numpy(), rtol=1e-6)
        assert [data.class_names[label] for label in part.y] == ROWS["outcome"][rows].tolist()
        assert [data.group_names[group] for group in part.group] == ROWS["hospital"][rows].tolist()
    assert (data.name, data.kind, data.source) == ("patients", "features", str(table))


def test_columns_may_be_named_and_gaps_filled(tmp_path):
    gaps = ROWS.copy()
    gaps["age"] = gaps["age"].astype(float)
    gaps.loc[3, "age"] = np.nan
    gaps.loc[5, "blood"] = None
    gaps.to_csv(tmp_path / "gaps.csv", index=False)
    about = {"file": str(tmp_path / "gaps.csv"), "label": "outcome", "split": "fold"}
    with pytest.raises(UserError, match=r"2 of 40 rows lack a value, the first one in column 'age'"):
        load(config.Table(**about, columns=("blood", "age")))
    data = load(config.Table(**about, columns=("blood", "age"), impute="mean", standardize="none"))
    train = gaps[gaps["fold"] == "train"]
    assert data.train.x[3, 0] == np.float32(train["age"].mean())
    shares = train["blood"].value_counts(normalize=True)
    np.testing.assert_allclose(data.train.x[5, 1:], shares[["0", "A", "B"]], rtol=1e-6)
    assert load(config.Table(**about, columns=("pressure",))).input_shape == (1,)


def test_a_run_of_a_table_with_hospitals_as_clients(tmp_path):
    ROWS.to_csv(tmp_path / "patients.csv", index=False)
    result = simulate(
        data={
            "name": "table",
            "file": str(tmp_path / "patients.csv"),
            "label": "outcome",
            "client": "hospital",
        },
        partition="natural",
        model={"name": "mlp", "hidden": 4},
        method="fedavg",
        training={"rounds": 2, "cohort_size": 2},
    )
    assert result.clients["name"].tolist() == ["east", "north", "south", "west"]


def draw(path, mode="RGB", size=(6, 4), value=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    channels = () if mode == "L" else (len(mode),)
    pixels = RNG.integers(0, 256, (size[1], size[0], *channels)).astype(np.uint8)
    Image.fromarray(pixels if value is None else np.full_like(pixels, value), mode).save(path)
    return pixels


def test_a_folder_of_images_by_split_client_and_class(tmp_path):
    drawn = {}
    for split, count in (("train", 3), ("test", 1)):
        for client in ("ann", "bob"):
            for label in ("cat", "dog"):
                for number in range(count):
                    path = tmp_path / split / client / label / f"{number}.png"
                    drawn[split, client, label, number] = draw(path)
    (tmp_path / "train" / ".DS_Store").write_bytes(b"x")
    data = load(config.ImageFolder(str(tmp_path), ("split", "client", "class")))
    for split, part in (("train", data.train), ("test", data.test)):
        expected = [key for key in sorted(drawn) if key[0] == split]
        np.testing.assert_array_equal(part.x, np.stack([drawn[key] for key in expected]))
        assert [data.group_names[group] for group in part.group] == [key[1] for key in expected]
        assert [data.class_names[label] for label in part.y] == [key[2] for key in expected]


def test_grey_images_have_one_channel_and_sizes_are_brought_together(tmp_path):
    for label in ("a", "b"):
        for number, size in enumerate(((6, 4), (8, 8), (6, 4))):
            draw(tmp_path / label / f"{number}.png", "L", size, value=7)
    with pytest.raises(UserError, match=r"data.size: missing, but .* has 8x8 pixels and .* 4x6"):
        load(config.ImageFolder(str(tmp_path)))
    data = load(config.ImageFolder(str(tmp_path), size=(5, 3)))
    assert data.input_shape == (5, 3, 1) and (data.train.x == 7).all()
    draw(tmp_path / "b" / "3.png", "RGBA")
    (tmp_path / "b" / "notes.txt").write_text("")
    with pytest.warns(UserWarning, match="1 file that is no image is left out"):
        assert load(config.ImageFolder(str(tmp_path), size=(5, 3))).input_shape == (5, 3, 3)


def leaf(folder, users, size=6):
    """Write one of LEAF's files: {user: number of examples}; returns what it holds."""
    content = {
        user: {"x": RNG.random((n, size)).tolist(), "y": [k % 3 for k in range(n)]} for user, n in users
    }
    folder.mkdir(parents=True, exist_ok=True)
    made = {"users": [user for user, _ in users], "num_samples": [n for _, n in users], "user_data": content}
    (folder / f"{len([*folder.iterdir()])}.json").write_text(json.dumps(made))
    return content


def test_leafs_users_are_clients(tmp_path):
    held = leaf(tmp_path / "train", [("f01", 4), ("f02", 3)]) | leaf(tmp_path / "train", [("f03", 5)])
    tested = leaf(tmp_path / "test", [("f02", 2), ("f03", 1), ("f01", 0)])
    data = load(config.Leaf(str(tmp_path), (2, 3, 1)))
    assert (data.kind, data.input_shape, data.group_names) == ("image", (2, 3, 1), ("f01", "f02", "f03"))
    for part, users in ((data.train, held), (data.test, tested)):
        x = np.concatenate([np.reshape(user["x"], (-1, 6)) for user in users.values()])
        np.testing.assert_allclose(part.x.reshape(len(x), 6), x, rtol=1e-6)
        assert part.y.tolist() == [label for user in users.values() for label in user["y"]]
        assert [data.group_names[group] for group in part.group] == [u for u in users for _ in users[u]["y"]]
    assert load(config.Leaf(str(tmp_path))).kind == "features"
