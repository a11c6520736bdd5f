"""What a simulator tests its clients with: as they are, and once more after they have adapted."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fedtp_jax.evaluation.adapted import AdaptedEvaluator
from fedtp_jax.evaluation.evaluate import Evaluator

if TYPE_CHECKING:
    from fedtp_jax.simulation.rounds import Simulator


def make_evaluators(simulator: "Simulator", server: Any, like: Sequence[Evaluator]) -> tuple[Evaluator, ...]:
    """The evaluators of clients that run what the simulator's method says.

    `server`: shapes and placement of its state without rows. `like`: evaluators whose programs are used.
    """
    method = simulator.method

    def predict(*arguments: Any) -> Any:
        return simulator.method.predict(*arguments)

    about = simulator.bench, simulator.task, simulator.variables, predict
    clients = simulator.evaluated, server, method.run_by_clients(simulator.initial.own_row)
    layouts: list[Any] = [evaluator.layout for evaluator in like] or [None, None]
    plain = Evaluator(*about, *clients, like=layouts[0])
    if not simulator.config.evaluation.adapt.asked_for:
        return (plain,)
    return plain, AdaptedEvaluator(method.roles, *about, *clients, like=layouts[1])
