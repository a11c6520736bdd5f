"""No test of data sets finds those of the machine."""

import dataclasses
from pathlib import Path

import pytest

from fedtp_jax.data.image_sets import IMAGE_SETS


@pytest.fixture(autouse=True)
def empty_tfds_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test sees the TFDS folder of whoever runs it."""
    root = tmp_path / "tfds"
    monkeypatch.setenv("TFDS_DATA_DIR", str(root))
    return root


@pytest.fixture
def no_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine without Debian's package."""
    for name, about in IMAGE_SETS.items():
        monkeypatch.setitem(IMAGE_SETS, name, dataclasses.replace(about, folders=()))
