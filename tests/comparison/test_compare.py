"""Comparisons against numbers worked out by hand: cells, marks, rows, columns, formats, curves, mistakes."""

import numpy as np
import pytest
from made_up_results import BEST, TEST, THREE

from fedtp_jax import compare


def test_a_cell_is_mean_and_sample_std_over_seeds_of_the_last_evaluations(three):
    table = three.table.set_index("method.name")
    assert table["mean"].to_dict() == pytest.approx({"fedtp": 0.94, "vanilla": 0.90, "fedavg": 0.89})
    # two numbers a and b have the sample std |a - b| / sqrt(2)
    std = {"fedtp": 0.04 / 2**0.5, "vanilla": 0.02 / 2**0.5, "fedavg": 0.02 / 2**0.5}
    assert table["std"].to_dict() == pytest.approx(std)
    assert table["seeds"].tolist() == [2, 2, 2]
    assert table["best"].to_dict() == {"fedtp": True, "vanilla": False, "fedavg": False}
    for result in THREE:
        assert compare(result).table["mean"][0] == result.accuracy["mean"]
    assert compare(THREE[0]).table["std"].isna().all()  # one seed has none


def test_the_other_metrics_are_of_the_last_evaluation():
    assert compare(THREE[0], "client_mean").table["mean"][0] == pytest.approx(np.mean(BEST) / TEST)
    assert compare(THREE[0], "worst_decile").table["mean"][0] == 0.9
    assert "worst decile" in compare(THREE[0], "worst_decile").sheet.columns
