"""Measures by name: what each is made of, how it is computed from that, and which values are better."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from fedtp_jax.config import Metrics, Own
from fedtp_jax.config.convert import show
from fedtp_jax.config.metrics import measure_names
from fedtp_jax.core.errors import UserError, in_one_line
from fedtp_jax.evaluation.parts import TOP, Bins, Confusion, Part, Predictions, Top

NUMBERS = (int, float, np.integer, np.floating, np.ndarray, jax.Array)


class Measure(NamedTuple):
    """A measure on the host, in float64; NaN where it is not defined.

    Attributes:
      title: what it is called in a table.
      needs: the part that the devices give for it.
      of: of a sum, with any leading axes [...] -> [...]; of Predictions (labels [M], probabilities [M, C]) ->
        float.
      higher_is_better: which clients are the worst.
      classes: the fewest with which it says anything.
    """

    title: str
    needs: type[Part]
    of: Callable[..., Any]
    higher_is_better: bool = True
    classes: int = 2


def of_classes(counts: np.ndarray) -> dict[str, np.ndarray]:
    """Recall, precision and F1 [..., C] of each class, by counts [..., C, C + 1] of labels and predictions.

    NaN of what there is nothing of: recall without labels, precision without predictions, F1 without either.
    """
    right = np.diagonal(counts, axis1=-2, axis2=-1).astype(np.float64)
    labels, predicted = counts.sum(-1, dtype=np.float64), counts.sum(-2, dtype=np.float64)[..., :-1]
    return {
        "recall": _share(right, labels),
        "precision": _share(right, predicted),
        "f1": _share(2 * right, labels + predicted),
    }


def balanced_accuracy(part: Confusion) -> np.ndarray:
    """Mean recall of the classes that occur among the labels."""
    return _mean_of_known(of_classes(np.asarray(part.counts))["recall"])


def f1_macro(part: Confusion) -> np.ndarray:
    """Mean F1 of the classes that occur among labels or predictions."""
    return _mean_of_known(of_classes(np.asarray(part.counts))["f1"])


def top5(part: Top) -> np.ndarray:
    """Share of the examples whose label is among the five most probable classes."""
    return _share(np.asarray(part.right, np.float64), np.asarray(part.examples, np.float64))


def expected_calibration_error(part: Bins) -> np.ndarray:
    """Mean over the examples of |share of right ones - mean confidence| in their bin."""
    gaps = np.abs(np.asarray(part.right, np.float64) - np.asarray(part.confidence, np.float64))
    return _share(gaps.sum(-1), np.asarray(part.examples, np.float64).sum(-1))


def auroc(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean area under the ROC curve, each class against the rest, where there are both."""
    from scipy.stats import rankdata  # long to load, and only this needs it

    is_class = labels[:, None] == np.arange(probabilities.shape[1])
    inside = is_class.sum(0)
    outside = len(labels) - inside
    ranks = np.where(is_class, rankdata(probabilities, axis=0), 0).sum(0)  # Mann and Whitney's U
    return float(_mean_of_known(_share(ranks - inside * (inside + 1) / 2, inside * outside)))


MEASURES: dict[str, Measure] = {
    "balanced_accuracy": Measure("Balanced accuracy", Confusion, balanced_accuracy),
    "f1_macro": Measure("Macro F1", Confusion, f1_macro),
    "auroc": Measure("AUROC", Predictions, auroc),
    "top5": Measure("Top-5 accuracy", Top, top5, classes=TOP + 1),
    "ece": Measure("Expected calibration error", Bins, expected_calibration_error, higher_is_better=False),
}

LOWER_IS_BETTER = {"loss"} | {name for name, measure in MEASURES.items() if not measure.higher_is_better}


def measures_of(metrics: Metrics, classes: int, is_text: bool) -> dict[str, Measure]:
    """Those that the settings name, but for accuracy; UserError for one that these data do not have."""
    found = {}
    for name, metric in zip(measure_names(metrics), (m for m in metrics if m != "accuracy"), strict=True):
        found[name] = measure = own_measure(metric) if isinstance(metric, Own) else MEASURES[name]
        if classes < measure.classes:
            raise UserError(
                f"evaluation.metrics: {name} says nothing of {classes} classes, expected at least "
                f"{measure.classes}; leave it out"
            )
        if is_text and measure.needs is Predictions:
            raise UserError(
                f"evaluation.metrics: {name} needs all of a client's predictions, of which text has one for "
                "each character of each window; leave it out"
            )
        if measure.needs is Predictions:
            _try(measure, classes)
    return found


def own_measure(metric: Own) -> Measure:
    """A function of the user's own: higher is better, unless it has `higher_is_better = False`."""
    function = metric.value
    known = getattr(function, "func", function)  # of one with arguments

    def of(labels: np.ndarray, probabilities: np.ndarray) -> float:
        try:
            value = function(labels, probabilities)
        except Exception as error:  # whatever a function of the user's own raises
            what = f"raised {type(error).__name__}: {in_one_line(error)}"
        else:
            if isinstance(value, NUMBERS) and np.ndim(value) == 0:
                return float(value)
            what = f"gave {show(value)}"
        raise UserError(
            f"evaluation.metrics: {metric.name}, given {len(labels)} examples, {what}; expected a number, or "
            "float('nan') where it is not defined, as for examples of one class"
        )

    return Measure(metric.name, Predictions, of, bool(getattr(known, "higher_is_better", True)))


def _try(measure: Measure, classes: int) -> None:
    """Raise UserError for what takes no made-up examples: of every class, and a single one.

    What it imports is loaded then, and not in the first evaluation.
    """
    random = np.random.default_rng(0)
    for count in (3 * classes, 1):
        probabilities = random.dirichlet(np.ones(classes), count)
        measure.of(np.arange(count, dtype=np.int32) % classes, probabilities)


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole, NaN of nothing."""
    return np.asarray(part / np.where(whole > 0, whole, np.nan))


def _mean_of_known(values: np.ndarray) -> np.ndarray:
    """[...] mean over the last axis of what is not NaN; NaN where all are."""
    known = ~np.isnan(values)
    return _share(np.where(known, values, 0.0).sum(-1), known.sum(-1))
