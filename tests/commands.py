"""The `fedtp` command, called here or started in a process of its own."""

import os
import subprocess
import sys

import pytest
from paths import ROOT

from fedtp_jax.cli import main


def fedtp(capsys, *arguments):
    """(exit code, standard output, standard error) of a command."""
    with pytest.raises(SystemExit) as caught:
        main(list(arguments))
    captured = capsys.readouterr()
    return caught.value.code, captured.out, captured.err


def start(*arguments):
    command = [sys.executable, "-m", "fedtp_jax", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
