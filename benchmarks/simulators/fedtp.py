"""fedtp_jax: `simulate`, whose work the others are given. Devices and lanes are as it chooses them."""

from benchmarks.simulators.make_work import settings
from benchmarks.simulators.work import answer, from_command_line
from fedtp_jax import Progress, simulate


def main() -> None:
    """Time `simulate` without evaluation, which comes after the last round."""
    work, file = from_command_line()
    seconds: list[float] = []

    def on_round(progress: Progress) -> None:
        seconds.append(progress.seconds)

    result = simulate(settings(work.method, len(work.cohorts)), on_round=on_round)
    devices = result.config.engine.devices
    setting = f"{devices} device{'s' * (devices != 1)} in one process"
    answer(file, "fedtp_jax", setting, seconds, result.accuracy["last"])


if __name__ == "__main__":
    main()
