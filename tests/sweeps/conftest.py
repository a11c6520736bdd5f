"""A sweep's folder."""

from pathlib import Path

import pytest
import yaml
from sweep_files import BASE


@pytest.fixture
def file(tmp_path, monkeypatch):
    """Writes a sweep's file and says where."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "base.yaml").write_text(BASE)

    def write(name="tiny.yaml", **values):
        content = {"base": "base.yaml", **values}
        Path(name).write_text(yaml.safe_dump(content, sort_keys=False))
        return name

    return write
