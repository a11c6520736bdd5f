"""python -m fedtp_jax: the same as the `fedtp` command."""

from fedtp_jax.cli import main

main()
