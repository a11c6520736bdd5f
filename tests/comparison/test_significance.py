"""Which rows are as good as the best: the test over clients."""

import numpy as np
import pytest
import scipy.stats
from made_up_results import BELOW, BEST, FEDAVG, FEDTP, MIXED, flat

from fedtp_jax import compare

# signs alone decide where all differences have one sign: 2 of the 2^8 ways are as extreme. Of fedavg's the
# ranks 1 to 7 are positive and 8 is negative: 25 of the 256 sums of ranks are at most 8, twice that is p.
ALL_AHEAD = 2 / 2**8
ALL_BUT_ONE = 2 * 25 / 2**8


def test_p_values_are_of_the_signed_rank_test_after_holms_correction(three):
    table = three.table.set_index("method.name")
    assert table["p_value"].to_dict() == pytest.approx(
        {"fedtp": np.nan, "vanilla": 2 * ALL_AHEAD, "fedavg": ALL_BUT_ONE}, nan_ok=True
    )
    assert table["tied"].to_dict() == {"fedtp": False, "vanilla": False, "fedavg": True}


def test_a_method_that_clients_fare_better_with_is_no_worse_than_the_best():
    table = compare([flat(FEDTP, 0, 0.9, BELOW), flat(FEDAVG, 0, 0.89, BEST)]).table
    assert table["best"].tolist() == [True, False]
    assert table["p_value"][1] == pytest.approx(ALL_AHEAD)
    assert table["tied"].tolist() == [False, True]


def test_who_is_far_behind_over_the_evaluations_is_not_tied_by_the_last_one():
    table = compare([flat(FEDTP, 0, 0.9, BEST), flat(FEDAVG, 0, 0.6, MIXED)]).table
    assert table["p_value"][1] == pytest.approx(ALL_BUT_ONE)
    assert table["tied"].tolist() == [False, False]


def test_equal_clients_are_tied_and_untested_ones_left_out():
    table = compare([flat(FEDTP, 0, 0.9), flat(FEDAVG, 0, 0.8)]).table
    assert table["p_value"][1] == 1
    held_out = [[*BEST[:6], np.nan, np.nan], BELOW]
    table = compare([flat(FEDTP, 0, 0.9, held_out[0]), flat(FEDAVG, 0, 0.8, held_out[1])]).table
    assert table["p_value"][1] == pytest.approx(2 / 2**6)


def test_accuracies_are_averaged_over_common_seeds_before_the_test():
    swing = np.array([9, -9] * 4)
    runs = [flat(FEDTP, seed, 0.9, BEST + sign * swing) for seed, sign in ((0, 1), (1, -1), (2, 5))]
    table = compare([*runs, flat(FEDAVG, 0, 0.8, BELOW), flat(FEDAVG, 1, 0.8, BELOW)]).table
    assert table["seeds"].tolist() == [3, 2]
    assert table["p_value"][1] == pytest.approx(ALL_AHEAD)


def test_a_client_of_another_partition_is_another_client():
    swing = np.array([9, -9] * 4)
    runs = [flat(FEDTP, seed, 0.9, BEST + sign * swing, shift=seed) for seed, sign in ((0, 1), (1, -1))]
    others = [flat(FEDAVG, seed, 0.8, BELOW, shift=seed) for seed in (0, 1)]
    made = compare([*runs, *others])
    pairs = np.concatenate([np.array(BEST) + sign * swing - BELOW for sign in (1, -1)])
    assert made.table["p_value"][1] == pytest.approx(scipy.stats.wilcoxon(pairs).pvalue)
    assert "over 2 seeds on 2 partitions of" in str(made)
    # a seed whose partitions differ says nothing
    made = compare([*runs, others[0], flat(FEDAVG, 1, 0.8, BELOW, shift=5)])
    assert made.table["p_value"][1] == pytest.approx(scipy.stats.wilcoxon(pairs[:8]).pvalue)


def test_what_is_tested_is_what_the_table_shows():
    best, other = flat(FEDTP, 0, 0.9, BEST), flat(FEDAVG, 0, 0.8, BELOW)
    other.clients["test_accuracy_mean"] = np.array(BEST[::-1]) / 100 - 0.001
    of_several = compare([best, other]).table["p_value"][1]
    assert of_several > 0.5
    last = compare([best, other], metric="client_mean").table["p_value"][1]
    assert last == pytest.approx(ALL_AHEAD)
    del other.clients["test_accuracy_mean"]
    made = compare([best, other])  # a run of version 0.1.0
    assert made.table["p_value"][1] == last
    assert "accuracies at the last evaluation" in " ".join(made.sheet.notes)


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (flat(FEDAVG, 0, 0.8, BELOW, shift=1), "other partition than the best's"),
        (flat(FEDAVG, 1, 0.8, BELOW), "no seed in common"),
        (flat(FEDAVG, 0, 0.8, [np.nan] * 8), "no client that was tested in both"),
    ],
)
def test_what_cannot_be_paired_is_not_tested(other, reason):
    made = compare([flat(FEDTP, 0, 0.9, BEST), other])
    assert made.table["p_value"].isna().all()
    assert not made.table["tied"].any()
    (note,) = [note for note in made.sheet.notes if reason in note]
    assert note.endswith(": fedavg.")
    assert "Wilcoxon" not in str(made)
