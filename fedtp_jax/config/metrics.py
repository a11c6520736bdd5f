"""Measures of an evaluation by name, and what their columns in metrics.csv are called."""

from collections.abc import Collection

from fedtp_jax.config.fields import Metrics, Own
from fedtp_jax.core.errors import UserError

HEADLINES = {"classification": "accuracy", "multilabel": "accuracy", "regression": "mae"}  # in any evaluation
WORDS = {"accuracy": "accuracy", "mae": "mean absolute error"}
FURTHER = {  # measures beside it
    "classification": ("balanced_accuracy", "f1_macro", "auroc", "top5", "ece"),
    "multilabel": ("f1_macro", "auroc", "exact_match"),
    "regression": ("rmse", "r2"),
}
METRICS = tuple(dict.fromkeys([*HEADLINES.values(), *(name for names in FURTHER.values() for name in names)]))
NOT_SHARES = ("mae", "rmse", "r2")  # numbers that no table shows in percent
TIME_TO_ACCURACY = "time_to_accuracy"  # seconds of the virtual clock: compared, and in no column
STATISTICS = ("client_mean", "client_std", "worst_decile")  # over the clients
# columns that stand beside the measures in any run
TAKEN = {*METRICS, *STATISTICS, "loss", "correct", "examples"} | {
    f"{name}_{what}" for name in HEADLINES.values() for what in ("mean", "trained", "untrained")
}


def measure_names(metrics: Metrics) -> list[str]:
    """Of all measures but the headline, which every evaluation has, in their order."""
    return [name for name in map(_name, metrics) if name not in HEADLINES.values()]


def _name(metric: str | Own) -> str:
    """What it is called in columns; a function that is named from where it is imported by its own name."""
    return metric if isinstance(metric, str) else metric.name.rpartition(":")[2].rpartition(".")[2]


def columns_of(measure: str) -> list[str]:
    """Its columns without the test's name before them: pooled, and over the clients."""
    before = "" if measure == "accuracy" else f"{measure}_"
    return [measure, *(before + statistic for statistic in STATISTICS)]


def attack_columns(headline: str, backdoor: bool) -> list[str]:
    """Those of metrics.csv that an evaluation beside adversaries has."""
    names = [f"honest_{name}" for name in columns_of(headline) if not name.endswith("client_std")]
    return names + ["attack_success", "attack_success_client_mean"] * backdoor


def measure_of(column: str) -> str:
    """What such a column is of: "f1_macro" of f1_macro_client_mean, "accuracy" of client_mean."""
    for statistic in STATISTICS:
        column = column.removesuffix(statistic).removesuffix("_")
    return column or "accuracy"


def headline_of(columns: Collection[str]) -> str:
    """The measure that every evaluation of a run has, by the columns of its history or its clients."""
    return "mae" if "test_mae" in columns else "accuracy"


def shown(measure: str, value: float) -> str:
    """A value as tables and pictures have it: in percent, but for what is no share."""
    if measure == TIME_TO_ACCURACY:
        return f"{value:,.1f}" if value >= 100 else f"{value:.3g}"
    return f"{value:.4g}" if measure in NOT_SHARES else f"{100 * value:.2f}"


def told(measure: str, value: float, digits: int = 4) -> str:
    """A value in words: a share with so many decimals, of others four digits that count."""
    return f"{value:.4g}" if measure in NOT_SHARES else f"{value:.{digits}f}"


def check_choice(field: str, metric: str, metrics: Metrics, task: str) -> None:
    """Raise UserError where one of validation shards is to be chosen by that is not measured."""
    measure, headline = measure_of(metric.removeprefix("val_")), HEADLINES[task]
    if measure in ("loss", headline, *measure_names(metrics)):
        return
    if measure in HEADLINES.values():
        raise UserError(
            f"{field}: {metric!r}, but task.kind is {task}, which has no {measure}; choose val_{headline}, "
            f"or val_loss"
        )
    raise UserError(
        f"{field}: {metric!r}, but {measure} is not measured; give evaluation.metrics=[{measure}] too"
    )


def check_measures(metrics: Metrics, where: str) -> None:
    """Raise UserError for a measure that is there twice, or a function whose name cannot be a column's."""
    names = [_name(metric) for metric in metrics]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UserError(f"{where}: {twice[0]} is there twice; name it once")
    for metric in metrics:
        if not isinstance(metric, str):
            others = [column for name in names if name != _name(metric) for column in columns_of(name)]
            _check_own(_name(metric), {*TAKEN, *others}, where)


def _check_own(name: str, taken: Collection[str], where: str) -> None:
    if not name.isidentifier():
        raise UserError(
            f"{where}: the function {name} has no name that a column could have; write it with def"
        )
    if found := [column for column in columns_of(name) if column in taken]:
        raise UserError(
            f"{where}: a function is called {name}, but there is a column {found[0]} already; rename it"
        )
