"""What stands under an importable name, "package.module:name": the user's code, run to be found."""

import functools
import importlib
import inspect
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fedtp_jax.core.counted import count_of
from fedtp_jax.core.errors import UserError, in_one_line, nearest
from fedtp_jax.core.origin import is_library, of_flax

RESERVED = ("name", "of", "identity")  # what a section says itself of the part that it names
MOST_NAMES = 10  # that a message lists


def is_importable(name: Any) -> bool:
    """Whether it is written as an importable name."""
    return isinstance(name, str) and ":" in name


def find(name: str, field: str) -> Any:
    """What `name`, "package.module:name", stands for; its module is imported.

    Raises UserError, which names the setting `field`, where there is no such module or nothing of this name
    in it, and for what is raised as it is imported.
    """
    module, _, path = name.partition(":")
    if not all(word.isidentifier() for word in (*module.split("."), *path.split("."))):
        raise UserError(f"{field}: got {name!r}, expected package.module:name, such as mylab.nets:Net")
    importlib.invalidate_caches()  # the file may be as new as this process
    try:
        found: Any = importlib.import_module(module)
    except (Exception, SystemExit) as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing and f"{module}.".startswith(f"{missing}."):
            raise UserError(
                f"{field}: {name!r}, but there is no module {missing}; name one that is in this folder, "
                "on PYTHONPATH or installed"
            ) from None
        raise UserError(
            f"{field}: {name!r}, but importing {module} fails ({failure(error)}); mend it"
        ) from error
    for word in path.split("."):
        owner = found
        if (found := getattr(owner, word, None)) is None:
            raise UserError(f"{field}: {name!r}, but {_lacks(owner, word, module)}")
    return found


def _lacks(owner: Any, word: str, module: str) -> str:
    """ "mylab.nets has no Nett (did you mean 'Net'?); it has Net, Other"."""
    called = getattr(owner, "__qualname__", module)
    own = [n for n, v in vars(owner).items() if getattr(v, "__module__", None) == module and n[:1] != "_"]
    names = ", ".join(own[:MOST_NAMES]) + ", ..." * (len(own) > MOST_NAMES)
    return f"{called} has no {word}{nearest(word, own)}; it has {names or 'no function or class of its own'}"


def check_call(
    function: Callable[..., Any], called: str, given: Sequence[str], arguments: Mapping[str, Any], field: str
) -> None:
    """Raise UserError unless `function` can be called so.

    given: names for what it gets first, in this order, of the simulator; arguments: what a section gives it
    beside that, whose dotted name is `field`.
    """
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # of some that are not written in Python; the call itself will tell
        return
    placed = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    kinds = {p.kind for p in parameters}
    if len(placed) < len(given) and inspect.Parameter.VAR_POSITIONAL not in kinds:
        raise UserError(
            f"{field}: {called} takes {count_of(len(placed), 'argument')}, expected a "
            f"function of {' and '.join(given)}"
        )
    first = placed[: len(given)]
    theirs = ("parent", "name") if isinstance(function, type) and of_flax(function) else ()
    own = {
        p.name: p.default is p.empty
        for p in parameters
        if p.name not in (*first, *theirs) and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    }
    for name, needed in own.items():
        if name in RESERVED and (needed or name != "name"):
            raise UserError(
                f"{field}: {called} has an argument {name!r}, a word that sections keep for themselves; "
                "call it otherwise"
            )
        if needed and name not in arguments:
            raise UserError(f"{field}.{name}: {called} needs it; give {field}.{name}=...")
    if inspect.Parameter.VAR_KEYWORD in kinds:
        own |= dict.fromkeys(arguments, False)
    for name in arguments:
        if name in first:
            raise UserError(f"{field}.{name}: the simulator gives it to {called}; leave it out")
        if name not in own:
            raise UserError(
                f"{field}.{name}: {called} takes no such argument{nearest(str(name), own)}; it takes "
                f"{', '.join(own) or 'none'}"
            )


def call(function: Callable[..., Any], called: str, field: str, *given: Any, **arguments: Any) -> Any:
    """function(*given, **arguments), which is the user's: what it raises becomes a UserError, but for one."""
    try:
        return function(*given, **arguments)
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"{field}: {called} fails ({failure(error)}); mend it, or give other arguments"
        ) from error


def bound(function: Callable[..., Any], arguments: Mapping[str, Any]) -> Callable[..., Any]:
    """`function` with these arguments, by name."""
    return functools.partial(function, **arguments) if arguments else function


def failure(error: BaseException) -> str:
    """What was raised and where in the user's code: "KeyError: 'width', nets.py line 12"."""
    places = [
        (frame.f_code.co_filename, line)
        for frame, line in traceback.walk_tb(error.__traceback__)
        if not is_library(str(frame.f_globals.get("__name__")))
    ]
    where = ""
    if places and not isinstance(error, SyntaxError):  # which says it itself
        file, line = places[-1]
        where = f", {file.replace(chr(92), '/').rpartition('/')[2]} line {line}"
    return f"{type(error).__name__}: {in_one_line(error)}{where}"
