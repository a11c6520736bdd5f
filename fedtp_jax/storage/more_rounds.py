"""More rounds than a run was asked for: gone on with from a checkpoint that the longer run would have too."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fedtp_jax.config import SimulationConfig, name_of
from fedtp_jax.core.errors import UserError
from fedtp_jax.learning.optimizers import learning_rate_factor
from fedtp_jax.storage.checkpoints import Checkpoints
from fedtp_jax.storage.run_folder import RunFolder
from fedtp_jax.storage.run_identity import read_meta
from fedtp_jax.storage.same_run import check_config


def last_common_round(
    meta: Mapping[str, Any], steps: Sequence[int], config: SimulationConfig, run: RunFolder
) -> int:
    """The newest of the checkpoints' rounds `steps` that a run of `config` would have passed, bit for bit.

    `meta` is of the newest checkpoint. The last round of a run is evaluated, and perhaps the best, though
    one of more rounds would not be: it is done again, from the checkpoint before it.

    Raises UserError for fewer rounds than are done, for learning rates that depend on how many there are, and
    where no such checkpoint is left.
    """
    before, rounds = int(meta["config"]["training"]["rounds"]), config.training.rounds
    if rounds == before:
        return steps[0]
    if rounds < steps[0]:
        raise UserError(
            f"training.rounds: {rounds}, but {run.path} has done {steps[0]} already; ask for more, or start "
            "a new run"
        )
    if config.privacy.epsilon is not None:
        raise UserError(
            f"training.rounds: {rounds}, but {run.path} was asked for {before}, and its noise was found for "
            "privacy.epsilon of so many; start a new run, or give privacy.noise_multiplier to such runs"
        )
    there = dataclasses.replace(config.training, rounds=before)
    done = range(steps[0])
    if any(learning_rate_factor(there, r) != learning_rate_factor(config.training, r) for r in done):
        raise UserError(
            f"training.rounds: {rounds}, but {run.path} was asked for {before}, and its training.schedule, "
            f"{name_of(config.training.schedule)}, depends on how many there are, so that a run of {rounds} "
            "would have had other learning rates; start a new run"
        )
    extra = [last for last in (before, rounds) if last % config.evaluation.every]
    best = _best_round(run, config)
    common = [step for step in steps if best <= step and all(step < last for last in extra)]
    if not common:
        raise UserError(
            f"training.rounds: {rounds}, but {run.path} was asked for {before}, and has no checkpoint (of "
            f"{', '.join(map(str, steps))}) that a run of {rounds} would pass: a last round is evaluated, "
            f"others by evaluation.every={config.evaluation.every} alone; start a new run"
        )
    return common[0]


def check_more_rounds(path: Path, config: SimulationConfig) -> None:
    """Raise UserError where the run in `path` cannot go on with as many rounds as `config` asks for."""
    run = RunFolder.open(path)
    checkpoints = Checkpoints(run.checkpoints, config.checkpoint.keep, read_only=True)
    try:
        if steps := checkpoints.steps():
            meta = read_meta(checkpoints, path)
            check_config(meta, config, path)
            last_common_round(meta, steps, config, run)
    finally:
        checkpoints.close()


def _best_round(run: RunFolder, config: SimulationConfig) -> int:
    """Of the state that checkpoint.best has kept, 0 if there is none: those of earlier ones are gone."""
    if config.checkpoint.best is None or not run.best.is_dir():
        return 0
    kept = Checkpoints(run.best, keep=1, read_only=True)
    try:
        return max(kept.steps(), default=0)
    finally:
        kept.close()
