"""Which runs share a cell of a comparison, and what rows and columns are called."""

import dataclasses
import io

import numpy as np
import pytest
from made_up_results import BASE, FEDAVG, FEDTP, THREE, flat
from matplotlib.collections import FillBetweenPolyCollection

from fedtp_jax import UserError, compare, config


def dirichlet(alpha):
    return {"partition": config.Dirichlet(clients=8, alpha=alpha)}


def test_columns_are_the_other_fields_that_differ_and_numbers_go_by_size():
    runs = [flat(FEDTP, 0, 0.9), *(flat(FEDTP, 0, 0.9, **dirichlet(a)) for a in (10.0, 0.5))]
    made = compare([*runs, flat(FEDAVG, 0, 0.8, **dirichlet(10.0))])
    assert made.sheet.corner == "method"
    assert made.sheet.rows == ["fedtp", "fedavg"]
    assert made.sheet.columns == ["pathological", "dirichlet, alpha=0.5", "dirichlet, alpha=10.0"]
    assert "| fedavg | ~ | ~ | 80.00 |" in made.to_markdown().replace("\N{EN DASH}", "~")
    assert made.table["partition.alpha"].fillna(0).tolist() == [0, 0.5, 10, 10]
    assert "fedavg" not in str(made.sheet.notes)  # nothing is said of a cell that is not there


def test_rounds_make_columns_and_machines_do_not():
    longer = dataclasses.replace(BASE.training, rounds=6)
    lanes = config.Engine(lanes=2, devices=1)
    made = compare(
        [flat(FEDTP, 0, 0.9), flat(FEDTP, 0, 0.9, training=longer), flat(FEDTP, 1, 0.9, engine=lanes)]
    )
    assert made.sheet.columns == ["rounds=4", "rounds=6"] or made.sheet.rows == ["4", "6"]
    assert sorted(made.table["seeds"]) == [1, 2]


def test_options_of_the_method_and_what_each_method_has_for_itself_belong_to_the_row():
    slow = dataclasses.replace(BASE.training, learning_rate=0.001)
    runs = [flat(config.FedProx(mu=mu), 0, mu) for mu in (0.9, 0.1)]
    made = compare([*runs, flat(FEDAVG, 0, 0.5, training=slow)])
    assert made.sheet.rows == [
        "fedprox, mu=0.9, learning_rate=0.01",
        "fedprox, mu=0.1, learning_rate=0.01",
        "fedavg, learning_rate=0.001",
    ]
    assert made.sheet.columns == ["accuracy"]
    # a field that varies within a row is a column
    made = compare([flat(m, 0, 0.5, training=t) for m in (FEDTP, FEDAVG) for t in (slow, BASE.training)])
    assert made.sheet.rows == ["fedtp", "fedavg"]
    assert made.sheet.columns == ["learning_rate=0.001", "learning_rate=0.01"]


def test_with_one_method_the_first_other_field_makes_the_rows():
    slow = dataclasses.replace(BASE.training, learning_rate=0.001)
    runs = [
        flat(FEDTP, 0, 0.5, training=training, **dirichlet(alpha))
        for training in (slow, BASE.training)
        for alpha in (0.1, 1.0)
    ]
    made = compare(runs)
    assert made.sheet.corner == "learning_rate"
    assert made.sheet.rows == ["0.001", "0.01"]
    assert made.sheet.columns == ["alpha=0.1", "alpha=1.0"]


def test_fields_of_the_same_words_stay_apart():
    methods = [config.FedPer(personal=patterns) for patterns in (("head", "norm"), ("head+norm",))]
    made = compare([flat(method, 0, 0.5 + k / 10) for k, method in enumerate(methods)])
    assert made.sheet.rows == ["head+norm", "head+norm'"]
    assert made.table["mean"].tolist() == pytest.approx([0.5, 0.6])


def test_names_given_are_the_rows():
    slow = dataclasses.replace(BASE.training, learning_rate=0.001)
    made = compare({"ours": [THREE[0], THREE[1]], "theirs": flat(FEDTP, 0, 0.5, training=slow)})
    assert made.sheet.rows == ["ours", "theirs"]
    assert made.sheet.columns == ["accuracy"]
    assert made.table["seeds"].tolist() == [2, 1]
    assert "over 1 to 2 seeds" in str(made)
    assert compare({"a": THREE[0], "b": THREE[0]}).table["seeds"].tolist() == [1, 1]


def test_the_same_run_twice_counts_once():
    made = compare([THREE[0], THREE[0], flat(FEDTP, 0, 0.1)])
    assert made.table["seeds"].tolist() == [1]
    (note,) = [note for note in made.sheet.notes if "twice" in note]
    assert note.count("fedtp, seed 0 (configuration and seed of fedtp, seed 0)") == 2


def test_results_that_ended_early_are_named_and_those_without_evaluation_left_out():
    whole = flat(FEDAVG, 3, 0.5)
    made = compare([*THREE[:4], dataclasses.replace(whole, history=whole.history[:3])])
    assert made.sheet.rows == ["fedtp", "vanilla", "fedavg"]
    assert "Ended early: fedavg, seed 3 (3 of 4 rounds)." in made.sheet.notes
    nothing = dataclasses.replace(whole, history=whole.history[:3].assign(clients_tested=np.nan))
    made = compare([*THREE[:4], nothing])
    assert made.sheet.rows == ["fedtp", "vanilla"]
    assert "Left out, not finished: fedavg, seed 3 (3 of 4 rounds)." in made.sheet.notes
    with pytest.raises(UserError, match=r"none is finished yet: fedavg, seed 3 \(3 of 4 rounds"):
        compare(nothing)


def test_curves_have_a_panel_per_column_and_a_band_of_one_std():
    runs = [*THREE, flat(FEDTP, 0, 0.5, **dirichlet(0.3))]
    left, right = compare(runs).plot().axes
    assert [axes.get_title(loc="left") for axes in (left, right)] == ["pathological", "dirichlet"]
    (legend,) = left.figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["fedtp", "vanilla", "fedavg"]
    np.testing.assert_allclose(left.lines[0].get_ydata(), [99, 20, 93, 95])
    band = next(item for item in left.collections if isinstance(item, FillBetweenPolyCollection))
    corners = band.get_paths()[0].vertices
    ends = corners[corners[:, 0] == 4, 1]
    assert (ends.min(), ends.max()) == pytest.approx((95 - 2**0.5, 95 + 2**0.5))
    assert len(right.lines) == 1
    assert right.lines[0].get_color() == left.lines[0].get_color()
    assert len({line.get_color() for line in left.lines}) == 3


def test_a_legend_of_long_names_stays_within_the_picture():
    names = [f"{k}: vanilla, personal=query/kernel+key/kernel+value/kernel" for k in range(5)]
    figure = compare({name: flat(FEDAVG, k, 0.5) for k, name in enumerate(names)}).plot()
    figure.savefig(io.BytesIO(), format="png")
    (legend,) = figure.legends
    box, frame = legend.get_window_extent(), figure.bbox
    assert frame.x0 <= box.x0 and box.x1 <= frame.x1
