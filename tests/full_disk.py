"""A disk that is full for some files, and not for others."""

import contextlib
import errno
import os
import warnings
from pathlib import Path


@contextlib.contextmanager
def full_for(monkeypatch, *names):
    """In the block no file of these names can be written whole."""
    write = Path.write_bytes

    def write_bytes(path, content):
        if path.name.removesuffix(".part") in names:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return write(path, content)

    with monkeypatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("always")  # a command prints them
        patch.setattr(Path, "write_bytes", write_bytes)
        yield
