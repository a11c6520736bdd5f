"""Running a sweep's combinations one after the other; and the board that says how it gets on."""

from collections.abc import Sequence
from pathlib import Path

from fedtp_jax.core.errors import StorageError, UserError
from fedtp_jax.results.result import Result
from fedtp_jax.results.summary import missing_in_words
from fedtp_jax.runs.display import RunDisplay
from fedtp_jax.runs.progress import Progress
from fedtp_jax.runs.side_by_side import Job
from fedtp_jax.runs.simulate import simulate, simulate_alike
from fedtp_jax.simulation.numbers import programs_alike
from fedtp_jax.simulation.setup import may_train_side_by_side
from fedtp_jax.storage.locks import keeping
from fedtp_jax.sweeps.board import Board
from fedtp_jax.sweeps.combinations import Combination, check, make_folder
from fedtp_jax.sweeps.crew import Crew, run_by


def run_left(
    file: Path, combinations: Sequence[Combination], out: Path, board: Board, crew: Crew | None = None
) -> None:
    """Check what is left of a file's combinations, and run it: one after the other here, or by the crew.

    KeyboardInterrupt as `run_here`.
    """
    with board.warnings_once():
        check(file, [combination for combination in combinations if combination.left], board.select)
        make_folder(out, combinations, board.select)
        with keeping(out, "sweep"):
            if crew is None:
                run_here(combinations, board)
            else:
                run_by(crew, combinations, board)


def run_here(combinations: Sequence[Combination], board: Board) -> None:
    """Run what is not finished. KeyboardInterrupt when a signal has stopped it, everything saved."""
    for alike in _side_by_side([combination for combination in combinations if combination.left]):
        if len(alike) > 1:
            try:
                _run_together(alike, board)
                continue
            except Exception as error:  # whose fault it is shows when each goes on alone
                names = ", ".join(combination.name for combination in alike)
                board.say(f"{names}: stopped side by side ({_words(error)}); each alone from here")
        for combination in alike:
            try:
                _run(combination, board)
            except Exception as error:  # whatever it is, it must not end the others
                board.fail(combination, _words(error))


def _words(error: Exception) -> str:
    known = isinstance(error, UserError | StorageError | FloatingPointError)
    return str(error) if known else f"{type(error).__name__}: {error}"


def _side_by_side(combinations: Sequence[Combination]) -> list[list[Combination]]:
    """In groups that train side by side: each of one combination, unless `engine.simulations` says more."""
    groups: list[list[Combination]] = []
    for combination in combinations:
        config = combination.config
        if may_train_side_by_side(config):
            group = next((group for group in groups if programs_alike(group[0].config, config)), None)
            if group:
                group.append(combination)
                continue
        groups.append([combination])
    return groups


def _run_together(combinations: Sequence[Combination], board: Board) -> None:
    """Combinations whose programs are alike, at the same time."""
    seeds, console = [combination.begin() for combination in combinations], board.console
    rounds, silent = combinations[0].config.training.rounds, console.quiet or not console.is_terminal
    display = RunDisplay(console, rounds, silent, seeds=[seed for some in seeds for seed in some])

    def job(combination: Combination) -> Job:
        def on_round(progress: Progress) -> None:
            if progress.round == rounds:
                board.finished(combination, progress.seed)
            display.on_round(progress, f"{combination.name}  ")

        return Job(combination.config, combination.folder, True, on_round, None)

    with display:
        results = simulate_alike([job(combination) for combination in combinations], seeds)
    for combination, some in zip(combinations, seeds, strict=True):
        _close(combination, some, results[: len(some)], board)
        results = results[len(some) :]


def _run(combination: Combination, board: Board) -> None:
    seeds, console, rounds = combination.begin(), board.console, combination.config.training.rounds
    display = RunDisplay(console, rounds, silent=console.quiet or not console.is_terminal, seeds=seeds)

    def on_round(progress: Progress) -> None:
        if progress.round == rounds:
            board.finished(combination, progress.seed)
        display.on_round(progress)

    with display:
        results = simulate(
            combination.config, seeds=seeds, out=combination.folder, resume=True, on_round=on_round
        )
    _close(combination, seeds, results, board)


def _close(combination: Combination, seeds: Sequence[int], results: Sequence[Result], board: Board) -> None:
    for seed in seeds:
        if (combination.name, seed) in board.left:  # it was stopped between its last round and its report
            board.finished(combination, seed)
    if missing := missing_in_words(results, combination.folder, seeds=True):
        board.fail(combination, missing)
