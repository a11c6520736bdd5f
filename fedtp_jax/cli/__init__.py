"""The `fedtp` command."""

from fedtp_jax.cli.command import main

__all__ = ["main"]
