"""Time-to-accuracy against times worked out by hand."""

import dataclasses

import numpy as np
import pytest
from made_up_results import FEDAVG, FEDTP, made

from fedtp_jax import UserError, compare, config
from fedtp_jax.comparison.sheet import MISSING


def timed(method, seed, curve, seconds, **changes):
    """A run of four rounds, each of which takes so many seconds."""
    run = made(method, seed, curve, (50,) * 8, **changes)
    history = run.history.assign(virtual_seconds=seconds, virtual_time=np.cumsum([seconds] * len(curve)))
    return dataclasses.replace(run, history=history)


RUNS = [
    timed(FEDTP, 0, [0.2, 0.7, 0.6, 0.9], 100.0),
    timed(FEDTP, 1, [0.2, 0.5, 0.8, 0.9], 50.0),
    timed(FEDAVG, 0, [0.1, 0.3, 0.5, 0.7], 30.0),
    timed(FEDAVG, 1, [0.2, 0.3, 0.75, 0.6], 40.0),
]


def test_it_is_that_of_the_first_evaluation_that_reaches_what_all_reach():
    result = compare(RUNS, "time_to_accuracy")
    cells = result.table.set_index("method.name")
    assert cells["mean"].to_dict() == {"fedtp": (200 + 150) / 2, "fedavg": (120 + 120) / 2}
    assert cells["std"].to_dict() == pytest.approx({"fedtp": 50 / 2**0.5, "fedavg": 0})
    assert cells["best"].to_dict() == {"fedtp": False, "fedavg": True}
    assert "Target: a test accuracy of 70.00 %, the best that all runs reach" in str(result)
    assert "| fedavg | **120.0 ± 0** |" in result.to_markdown()


def test_a_target_may_be_given_and_missed():
    some = compare(RUNS, target=0.75)
    assert some.metric == "time_to_accuracy"
    assert some.table["method.name"].tolist() == ["fedtp"]
    assert some.table["mean"].tolist() == [(400 + 150) / 2]
    assert some.sheet.notes[1] == "Not reached: fedavg, 1 of 2 seeds."
    assert f"| fedavg | {MISSING} |" in some.to_markdown()
    nobody = compare(RUNS, target=0.95)
    assert len(nobody.table) == 0
    assert nobody.sheet.notes[1] == "Not reached: fedtp, 2 of 2 seeds; fedavg, 2 of 2 seeds."


def test_each_column_has_its_target():
    other = {"partition": config.Dirichlet(clients=8)}
    runs = [*RUNS, timed(FEDTP, 0, [0.1, 0.2, 0.3, 0.4], 10.0, **other)]
    runs.append(timed(FEDAVG, 0, [0.1, 0.2, 0.2, 0.3], 10.0, **other))
    result = compare(runs, "time_to_accuracy")
    assert result.sheet.notes[0].startswith(
        "Target: a test accuracy of 70.00 % (pathological); a test accuracy of 30.00 % (dirichlet)"
    )
    assert result.table["mean"].tolist() == [175, 120, 30, 40]


def test_smaller_errors_are_reached():
    def error(run, curve):
        history = run.history.drop(columns="test_accuracy").assign(test_mae=curve)
        return dataclasses.replace(run, history=history)

    runs = [error(RUNS[0], [9.0, 5.0, 3.0, 4.0]), error(RUNS[2], [9.0, 8.0, 7.0, 4.5])]
    result = compare(runs, "time_to_accuracy")
    assert result.table["mean"].tolist() == [300, 120]
    assert "a test mean absolute error of 4.5, the best" in str(result)


def test_curves_are_over_virtual_time():
    (axes,) = compare(RUNS, "time_to_accuracy").plot().axes
    assert axes.get_xlabel() == "virtual time (min)"
    np.testing.assert_allclose(axes.lines[0].get_xdata(), np.arange(1, 5) * (100 + 50) / 2 / 60)
    np.testing.assert_allclose(axes.lines[0].get_ydata(), [20, 60, 70, 90])
    (axes,) = compare(RUNS).plot().axes
    np.testing.assert_array_equal(axes.lines[0].get_xdata(), np.arange(1, 5))


def test_what_has_no_time_or_no_target_is_told():
    without = dataclasses.replace(RUNS[0], history=RUNS[0].history.drop(columns="virtual_time"))
    with pytest.raises(
        UserError, match=r"but fedtp, seed 0 has no clock; run it with training\.clock\.speed"
    ):
        compare([without, RUNS[1]], "time_to_accuracy")
    for target in (0.0, 70, "70%", True, float("nan")):
        with pytest.raises(UserError, match=r"target: got .*, expected an accuracy up to 1"):
            compare(RUNS, target=target)
    with pytest.raises(UserError, match=r"target: got 0\.5, but metric 'accuracy' has none"):
        compare(RUNS, "accuracy", target=0.5)
