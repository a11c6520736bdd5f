"""The `fedtp` command."""

import sys

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> None:
    """Ends the process with exit code 0, 1 (failed), 2 (a mistake of the user) or 130 (interrupted)."""
    try:  # until a command is at work, which answers an interrupt itself, modules are loaded: seconds
        from fedtp_jax.cli.command import main as run

        run(arguments)
    except KeyboardInterrupt:
        print("interrupted; nothing was written", file=sys.stderr)
        sys.exit(130)
