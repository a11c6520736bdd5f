"""What a simulator evaluates its clients with: as they are, after they have adapted, on other shards."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from fedtp_jax.core.errors import UserError
from fedtp_jax.engine.workbench import Workbench
from fedtp_jax.evaluation.adapted import AdaptedEvaluator
from fedtp_jax.evaluation.attacked import AttackedEvaluator
from fedtp_jax.evaluation.evaluate import Evaluator
from fedtp_jax.evaluation.measures import measures_of
from fedtp_jax.uploads.adversaries import trigger_of


class Evaluators(NamedTuple):
    """Those of one simulator, None for what it does not measure.

    Attributes:
      test: of clients as they are, on their test shards.
      adapted: of clients that adapt before (evaluation.adapt), on their test shards.
      validation: of clients as they are, on their validation shards, by the program of `test`.
      fit: of clients as they are, on their train shards (evaluation.fit), by the program of `test`.
      attacked: of clients as they are, on test examples with an adversary's trigger (adversaries.kind).
    """

    test: Evaluator
    adapted: AdaptedEvaluator | None = None
    validation: Evaluator | None = None
    fit: Evaluator | None = None
    attacked: AttackedEvaluator | None = None

    @property
    def named(self) -> dict[str, Evaluator]:
        """{name: evaluator} of those that there are."""
        return {name: one for name, one in self._asdict().items() if one is not None}

    @property
    def by_program(self) -> dict[str, list[Evaluator]]:
        """Those that run one program in one layout: "evaluation" and, if clients adapt, "adaptation"."""
        programs = {
            "evaluation": (self.test, self.validation, self.fit),
            "adaptation": (self.adapted,),
            "attack": (self.attacked,),
        }
        there = {what: [one for one in some if one is not None] for what, some in programs.items()}
        return {what: some for what, some in there.items() if some}


def make_evaluators(
    bench: Workbench, clients: np.ndarray, roles: Mapping[str, Any], like: Evaluators | None, **about: Any
) -> Evaluators:
    """Those that the configuration asks for, of the `clients` with these ids [K].

    `roles`: those of `AdaptedEvaluator`. `like`: evaluators whose programs are used. `about`: further
    arguments of `Evaluator`.
    """
    task = about["task"]
    about_data = task.targets.kind, task.num_classes, task.inputs.each_position
    measures = measures_of(bench.config.evaluation.metrics, *about_data)
    about |= {"bench": bench, "clients": clients, "measures": measures}
    test = Evaluator(**about, like=like.test.layout if like else None)
    adapted = validation = fit = None
    if bench.config.evaluation.adapt.asked_for:
        layout = like.adapted.layout if like and like.adapted else None
        adapted = AdaptedEvaluator(roles, **about, like=layout)
    if bench.partition.validation is not None:
        if not bench.partition.validation.sizes[clients].any():
            raise UserError(
                "partition.validation: none of the clients that are evaluated has a validation example; set "
                "aside more, or evaluate more clients"
            )
        validation = Evaluator(**about, like=test.layout, split="validation", batch=test.layout.batch)
        test.layout = validation.layout
    if bench.config.evaluation.fit:
        if not bench.partition.train.sizes[clients].any():
            raise UserError(
                "evaluation.fit: none of the clients that are evaluated has a train example; evaluate "
                "others, or leave it out"
            )
        fit = Evaluator(**about, like=test.layout, split="train", batch=test.layout.batch)
        for other in (test, validation):
            if other:
                other.layout = fit.layout
    attacked = None
    if trigger := trigger_of(bench.config.adversaries, *bench.scale):
        layout = like.attacked.layout if like and like.attacked else None
        attacked = AttackedEvaluator(trigger, **{**about, "measures": {}}, like=layout)
    return Evaluators(test, adapted, validation, fit, attacked)
