"""Compiled programs kept on disk between commands, by JAX's own cache."""

import os
from pathlib import Path

import jax

LIMIT = 2**28  # bytes that are kept; a run's programs take about 1 MB


def keep_programs() -> None:
    """Let JAX keep what it compiles in the user's cache folder, unless it was told where, or not to.

    The user says so by JAX's own settings, such as JAX_COMPILATION_CACHE_DIR and
    JAX_ENABLE_COMPILATION_CACHE=false. Where the folder cannot be written nothing is kept.
    """
    settings = jax.config
    if settings.jax_compilation_cache_dir or not settings.jax_enable_compilation_cache:  # type: ignore[attr-defined]
        return
    try:
        root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        folder = Path(root) / "fedtp_jax" / "xla"
        folder.mkdir(parents=True, exist_ok=True)
        _forget_oldest(folder)
    except (OSError, RuntimeError):  # RuntimeError: no home
        return
    if os.access(folder, os.W_OK):
        settings.update("jax_compilation_cache_dir", str(folder))
        settings.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def _forget_oldest(folder: Path) -> None:
    """Delete the oldest programs beyond LIMIT.

    JAX can bound the folder too, but needs another package for it, and then fails to write for ever after a
    process was killed between the two files that it writes for a program.
    """
    files = sorted((path.stat().st_mtime, path.stat().st_size, path) for path in folder.glob("*-cache"))
    excess = sum(size for _, size, _ in files) - LIMIT
    for _, size, path in files:
        if excess <= 0:
            break
        path.unlink(missing_ok=True)
        excess -= size
