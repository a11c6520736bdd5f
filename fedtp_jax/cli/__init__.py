"""The `fedtp` command."""

import gc
import sys

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> None:
    """Ends the process with exit code 0, 1 (failed), 2 (a mistake of the user) or 130 (interrupted)."""
    # modules and traced programs are hundreds of thousands of objects, all of which stay: nothing to look for
    gc.set_threshold(100_000, 50, 50)
    try:  # until a command is at work, which answers an interrupt itself, modules are loaded: seconds
        from fedtp_jax.cli.command import main as run

        run(arguments)
    except KeyboardInterrupt:
        print("interrupted; nothing was written", file=sys.stderr)
        sys.exit(130)
