"""What lies on the disk after `pip install fedtp_jax`, package by package."""

from importlib import metadata
from pathlib import Path

import pandas as pd
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import fedtp_jax

NAMED = 12  # packages that have a row of their own, the largest


def sizes() -> pd.DataFrame:
    """Megabytes of the package and of all that it needs, as they are installed here, without bytecode."""
    found = {"fedtp_jax": _megabytes(list(Path(fedtp_jax.__file__).parent.rglob("*.*")))}
    found |= {name: _megabytes(_files(name)) for name in needed("fedtp_jax")}
    order = sorted(found, key=lambda name: -found[name])
    rows = {name: found[name] for name in order[:NAMED]}
    rows[f"{len(order) - NAMED} others"] = sum(found[name] for name in order[NAMED:])
    rows["all"] = sum(found.values())
    return pd.DataFrame({"package": list(rows), "MB": [round(size, 1) for size in rows.values()]})


def needed(name: str) -> set[str]:
    """Names of the distributions that `name` needs without any extra, and of those that these need."""
    found: set[tuple[str, str]] = set()  # with the extra that is asked of each, "" for the package itself
    waiting = [(name, "")]
    while waiting:
        of, extra = waiting.pop()
        for requirement in map(Requirement, metadata.requires(of) or ()):
            if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
                continue
            new = {(canonicalize_name(requirement.name), asked) for asked in ("", *requirement.extras)}
            waiting += new - found
            found |= new
    return {of for of, _ in found}


def _files(name: str) -> list[Path]:
    return [Path(str(file.locate())) for file in metadata.files(name) or ()]


def _megabytes(files: list[Path]) -> float:
    """Of those that are there; bytecode comes and goes."""
    return sum(file.stat().st_size for file in files if file.is_file() and file.suffix != ".pyc") / 1e6
