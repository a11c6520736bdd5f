"""The entry point of the `fedtp` command, which loads JAX once it knows that something is to be computed.

Exit codes: 0 done, 1 the run failed or a file of it could not be written, 2 the user's mistake,
130 interrupted (resumable).
"""

import logging
import sys
import warnings
from collections.abc import Callable
from importlib import metadata

from fedtp_jax.cli.arguments import parse
from fedtp_jax.cli.output import replace_what_cannot_be_shown, tell
from fedtp_jax.cli.planning import list_, partition, plan, prepare
from fedtp_jax.cli.results import compare, doctor, export, novel
from fedtp_jax.cli.runs import resume, run, sweep
from fedtp_jax.cli.watch import watch
from fedtp_jax.core.errors import StorageError, UserError
from fedtp_jax.sweeps.orphans import end_with_parent

WITHOUT_JAX = ("watch",)  # it takes a while to load


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the `fedtp` command."""
    replace_what_cannot_be_shown()
    logging.getLogger("absl").setLevel(logging.CRITICAL)  # what orbax says of storage the run says itself
    end_with_parent()
    if not sys.flags.safe_path and "" not in sys.path:
        sys.path.insert(0, "")  # as `python -m` does: own parts are found in the working folder
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["--version"]:
        tell(metadata.version("fedtp_jax"))
        sys.exit(0)
    if arguments[:1] == ["run"] and {"-h", "--help"} & {*arguments}:  # only its own shows the whole reference
        from fedtp_jax.config.describe import describe_fields

        run.__doc__ = f"{(run.__doc__ or '').splitlines()[0]}\n\n{describe_fields()}"
    commands: dict[str, Callable[..., int]] = {
        "run": run,
        "resume": resume,
        "plan": plan,
        "list": list_,
        "partition": partition,
        "prepare": prepare,
        "sweep": sweep,
        "watch": watch,
        "compare": compare,
        "novel": novel,
        "export": export,
        "doctor": doctor,
    }
    try:
        command = parse(commands, arguments)
    except UserError as error:
        tell(f"error: {error}", error=True)
        sys.exit(2)
    sys.exit(_answered(command, _say) if arguments[0] in WITHOUT_JAX else _with_jax(command))


def _say(message: str) -> None:
    tell(message, error=True)


def _with_jax(command: Callable[[], int]) -> int:
    """The exit code of a command, of which the first of several processes says what there is to say."""
    import jax

    from fedtp_jax.core import hosts
    from fedtp_jax.core.jax_settings import in_our_settings

    def say(message: str) -> None:
        if hosts.is_first():  # the others would say the same
            _say(message)

    warnings.showwarning = lambda message, *_: say(f"warning: {message}")
    with in_our_settings():
        code = _answered(command, say)
    jax.distributed.shutdown()  # where there are others, when all of them have come to this
    return code


def _answered(command: Callable[[], int], say: Callable[[str], None]) -> int:
    """The exit code of a command; what it raises for the user is said."""
    try:
        return command()
    except UserError as error:
        say(f"error: {error}")
        return 2
    except (FloatingPointError, StorageError) as error:
        say(f"failed: {error}")
        return 1
    except KeyboardInterrupt:
        say("interrupted; nothing was written")
        return 130
