"""The command line's arguments -> the command that they ask for; one line for what is wrong with them."""

import contextlib
import functools
import io
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tyro
from tyro.conf import FlagCreatePairsOff

from fedtp_jax.core.errors import UserError, nearest, user_path


def parse(commands: dict[str, Callable[..., int]], arguments: list[str]) -> Callable[[], int]:
    """The command that the arguments ask for, to be called; UserError where they ask for none."""

    def later(command: Callable[..., int]) -> Callable[..., Callable[[], int]]:
        def bound(*given: Any, **named: Any) -> Callable[[], int]:
            named = {name: _at_home(value) for name, value in named.items()}
            return functools.partial(command, *map(_at_home, given), **named)

        return functools.wraps(command)(bound)

    name = arguments[0] if arguments else ""
    if name not in commands and not name.startswith("-"):
        wrong = f"{name!r} is no command{nearest(name, commands)}" if name else "no command"
        raise UserError(f"fedtp: {wrong}; choose one of {', '.join(commands)}")
    about = f"fedtp {name}" if name in commands else "fedtp"
    box = io.StringIO()
    try:
        with contextlib.redirect_stderr(box):
            call: Callable[[], int] = tyro.extras.subcommand_cli_from_dict(
                {name: later(command) for name, command in commands.items()},
                prog="fedtp",
                args=arguments,
                description="Simulate personalised federated learning with Transformers, FedTP above all.",
                config=(FlagCreatePairsOff,),
            )
    except SystemExit as stop:
        if stop.code in (None, 0):
            raise
        # a title, what is wrong, a rule, help; drawn in Unicode or in ASCII
        lines = [line.strip("\u2502| ") for line in box.getvalue().splitlines()[1:]]
        rest = itertools.dropwhile(_is_rule, lines)
        wrong = " ".join(itertools.takewhile(lambda line: not _is_rule(line), rest)).rstrip(".")
        raise UserError(f"{about}: {wrong}; see {about} --help") from None
    return call


def _at_home(value: Any) -> Any:
    """Paths with the user's home in place of ~, which no shell has put in after an equals sign."""
    if isinstance(value, tuple):
        return tuple(map(_at_home, value))
    return user_path(value) if isinstance(value, Path) else value


def _is_rule(line: str) -> bool:
    return not line.strip("\u2500\u2570\u256f+- ")
