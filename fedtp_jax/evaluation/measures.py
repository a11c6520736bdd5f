"""Measures by name: what each is made of, how it is computed from that, and which values are better."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from fedtp_jax.config import Metrics, Own
from fedtp_jax.config.convert import show
from fedtp_jax.config.metrics import HEADLINES, measure_names
from fedtp_jax.core.errors import UserError, in_one_line
from fedtp_jax.evaluation.parts import TOP, Bins, Confusion, Part, Predictions, Top

NUMBERS = (int, float, np.integer, np.floating, np.ndarray, jax.Array)


class Measure(NamedTuple):
    """A measure on the host, in float64; NaN where it is not defined.

    Attributes:
      title: what it is called in a table.
      needs: the part that the devices give for it.
      of: of a sum, with any leading axes [...] -> [...]; of Predictions (labels [M], probabilities [M, C]) ->
        float; of several labels both are [M, C], and so are numbers and what is predicted of them.
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
    return float(_mean_of_known(_areas(labels[:, None] == np.arange(probabilities.shape[1]), probabilities)))


def _areas(inside: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """[C] under each ROC curve, of who is inside [M, C]; NaN where all are, or none is."""
    from scipy.stats import rankdata  # long to load, and only this needs it

    count = inside.sum(0)
    ranks = np.where(inside, rankdata(scores, axis=0), 0).sum(0)  # Mann and Whitney's U
    return _share(ranks - count * (count + 1) / 2, count * (len(inside) - count))


def multilabel_f1(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean F1 of the labels that some example has, or is said to have."""
    said = probabilities > 0.5
    both = (said & (labels > 0)).sum(0, dtype=np.float64)
    return float(_mean_of_known(_share(2 * both, said.sum(0) + (labels > 0).sum(0))))


def multilabel_auroc(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean area under the ROC curve, of each label that some examples have and others do not."""
    return float(_mean_of_known(_areas(labels > 0, probabilities)))


def exact_match(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Share of the examples all of whose labels are right."""
    return float(((probabilities > 0.5) == (labels > 0)).all(1).mean())


def root_mean_squared_error(numbers: np.ndarray, predicted: np.ndarray) -> float:
    """Mean over an example's numbers of each one's root mean squared error."""
    return float(np.sqrt(((predicted - numbers) ** 2).mean(0)).mean())


def r2(numbers: np.ndarray, predicted: np.ndarray) -> float:
    """1 - squared errors / squared deviations from the mean, mean over the numbers that are not all equal."""
    deviations = ((numbers - numbers.mean(0)) ** 2).sum(0)
    deviations = np.where(np.ptp(numbers, axis=0) > 0, deviations, 0.0)  # what rounding leaves of equal ones
    return float(_mean_of_known(1 - _share(((predicted - numbers) ** 2).sum(0), deviations)))


MEASURES: dict[str, Measure] = {
    "balanced_accuracy": Measure("Balanced accuracy", Confusion, balanced_accuracy),
    "f1_macro": Measure("Macro F1", Confusion, f1_macro),
    "auroc": Measure("AUROC", Predictions, auroc),
    "top5": Measure("Top-5 accuracy", Top, top5, classes=TOP + 1),
    "ece": Measure("Expected calibration error", Bins, expected_calibration_error, higher_is_better=False),
}

OF_LABELS: dict[str, Measure] = {
    "f1_macro": MEASURES["f1_macro"]._replace(needs=Predictions, of=multilabel_f1),
    "auroc": MEASURES["auroc"]._replace(of=multilabel_auroc),
    "exact_match": Measure("Exact match", Predictions, exact_match),
}
OF_NUMBERS: dict[str, Measure] = {
    "rmse": Measure("Root mean squared error", Predictions, root_mean_squared_error, higher_is_better=False),
    "r2": Measure("R2", Predictions, r2),
}
BY_TASK = {"classification": MEASURES, "multilabel": OF_LABELS, "regression": OF_NUMBERS}
TITLES = {name: measure.title for measures in BY_TASK.values() for name, measure in measures.items()}

LOWER_IS_BETTER = {"loss", "mae"} | {
    name for of in BY_TASK.values() for name, measure in of.items() if not measure.higher_is_better
}


def measures_of(metrics: Metrics, task: str, classes: int, is_text: bool) -> dict[str, Measure]:
    """Those that the settings name, but for the headline; UserError for one that these data do not have."""
    found = {}
    asked = (metric for metric in metrics if metric not in HEADLINES.values())
    for name, metric in zip(measure_names(metrics), asked, strict=True):
        found[name] = measure = own_measure(metric) if isinstance(metric, Own) else BY_TASK[task][name]
        if task != "classification":
            _try(measure, task, classes)
            continue
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
            _try(measure, task, classes)
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


def _try(measure: Measure, task: str, classes: int) -> None:
    """Raise UserError for what takes no made-up examples: of every class, and a single one.

    What it imports is loaded then, and not in the first evaluation.
    """
    random = np.random.default_rng(0)
    for count in (3 * classes, 1):
        made = {
            "classification": (
                np.arange(count, dtype=np.int32) % classes,
                random.dirichlet(np.ones(classes), count),
            ),
            "multilabel": (random.integers(2, size=(count, classes)), random.random((count, classes))),
            "regression": (*random.normal(size=(2, count, classes)),),
        }
        measure.of(*made[task])


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole, NaN of nothing."""
    return np.asarray(part / np.where(whole > 0, whole, np.nan))


def _mean_of_known(values: np.ndarray) -> np.ndarray:
    """[...] mean over the last axis of what is not NaN; NaN where all are."""
    known = ~np.isnan(values)
    return _share(np.where(known, values, 0.0).sum(-1), known.sum(-1))
