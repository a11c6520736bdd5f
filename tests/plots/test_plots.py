"""Learning curves, clients and partitions as pictures."""

import io

import numpy as np
import pytest
from histories import clients, history, line
from matplotlib.collections import FillBetweenPolyCollection, PathCollection, QuadMesh
from matplotlib.patches import StepPatch
from PIL import Image

from fedtp_jax.plots.clients import Embedded, client_accuracies, embedding_map
from fedtp_jax.plots.curves import learning_curves
from fedtp_jax.plots.partition import partition_bubbles
from fedtp_jax.plots.style import to_png


def test_learning_curves_show_every_evaluation_in_percent_and_every_rounds_loss():
    frame = history(150, 10)
    left, right = learning_curves(frame).axes
    rounds = np.arange(10, 151, 10)
    assert len(left.lines) == 3
    np.testing.assert_array_equal(line(left, "all examples").get_xdata(), rounds)
    np.testing.assert_allclose(line(left, "all examples").get_ydata(), 100 - 50 / rounds)
    np.testing.assert_allclose(line(left, "mean of clients").get_ydata(), 100 - 60 / rounds)
    np.testing.assert_allclose(line(left, "worst tenth").get_ydata(), 90 - 60 / rounds)
    assert line(left, "all examples").get_label() == "all examples: 99.7 %"
    np.testing.assert_allclose(line(right, "train, each round").get_ydata(), frame["train_loss"])
    means = line(right, "train, mean over 5 rounds").get_ydata()
    assert means[75] == pytest.approx(frame["train_loss"][73:78].mean())
    np.testing.assert_array_equal(line(right, "test").get_xdata(), rounds)
    for axes, unit in ((left, "%"), (right, "nats")):
        assert axes.get_xlabel() == "communication round"
        assert unit in axes.get_ylabel()


def test_the_band_is_one_std_around_the_clients_mean_within_0_and_100_percent():
    left, _ = learning_curves(history(20, 1)).axes
    (band,) = [item for item in left.collections if isinstance(item, FillBetweenPolyCollection)]
    corners = band.get_paths()[0].vertices
    at = {round_: corners[corners[:, 0] == round_, 1] for round_ in (2, 20)}
    assert (at[2].min(), at[2].max()) == pytest.approx((60, 80))
    assert (at[20].min(), at[20].max()) == pytest.approx((87, 100))


def test_a_single_evaluation_is_marked_with_an_error_bar():
    left, right = learning_curves(history(1, 1)).axes
    assert line(left, "all examples").get_marker() == "o"
    (container,) = left.containers
    ((low, high),) = [segment[:, 1] for segment in container.lines[2][0].get_segments()]
    assert (low, high) == pytest.approx((30, 50))
    assert line(right, "train").get_marker() == line(right, "test").get_marker() == "o"


def test_many_evaluations_are_drawn_without_markers():
    left, _ = learning_curves(history(1500, 5)).axes
    assert len(line(left, "all examples").get_xdata()) == 300
    assert line(left, "all examples").get_marker() in ("", "None")


def test_curves_survive_no_evaluation_and_a_diverged_round():
    frame = history(8, 4)
    frame.loc[:, frame.columns.str.startswith(("test_", "clients_tested"))] = np.nan
    frame.loc[3, "train_loss"] = np.inf
    figure = learning_curves(frame)
    left, right = figure.axes
    assert left.get_title(loc="left") == "No evaluation yet"
    assert np.isnan(right.lines[0].get_ydata()).tolist() == [k == 3 for k in range(8)]
    to_png(figure)


def test_client_bars_are_sorted_and_leave_out_clients_without_test_examples():
    (axes,) = client_accuracies(clients([9, 2, 0, 5], [10, 10, 0, 10])).axes
    assert [bar.get_height() for bar in axes.patches] == pytest.approx([20, 50, 90])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "3", "0"]
    assert line(axes, "mean").get_ydata()[0] == pytest.approx(160 / 3)
    assert line(axes, "worst tenth").get_ydata()[0] == pytest.approx(20)
    assert axes.get_title(loc="left") == "Clients tested: 3, without test examples: 1"


def test_who_is_not_evaluated_is_not_called_without_test_examples():
    table = clients([9, 2, 0, 5], [10, 10, 0, 10])
    table.loc[3, "test_accuracy"] = np.nan
    (axes,) = client_accuracies(table).axes
    title = "Clients tested: 2, not evaluated: 1, without test examples: 1"
    assert axes.get_title(loc="left") == title
    (axes,) = client_accuracies(clients([9, 2], [10, 10])).axes
    assert axes.get_title(loc="left") == "Clients tested: 2"


def test_clients_are_shown_by_their_names():
    names = ["Ann", "Ben", "Hamlet, Prince of Denmark: OPHELIA"]
    table = clients([9, 2, 5], [10, 10, 10]).assign(name=names)
    (axes,) = client_accuracies(table).axes
    shown = ["0 (Ann)", "1 (Ben)", "2 (Hamlet…mark: OPHELIA)"]
    assert [label.get_text() for label in axes.get_xticklabels()] == [shown[k] for k in (1, 2, 0)]
    axes = partition_bubbles(np.ones((3, 2), int), None, names).axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == shown
    axes = embedding_map(
        Embedded(np.eye(3)[:, :2], ("", ""), ["u", "v", "u"], ["u", "v"], clients=names)
    ).axes[0]
    assert [text.get_text() for text in axes.texts] == shown
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["u", "v"]
    many = [f"writer {k}" for k in range(200)]
    labels = partition_bubbles(np.ones((200, 2), int), None, many).axes[0].get_xticklabels()
    assert not any("writer" in label.get_text() for label in labels)


def test_many_clients_are_drawn_as_steps_with_the_worst_tenth_apart():
    (axes,) = client_accuracies(clients(np.arange(101)[::-1], np.full(101, 100))).axes
    everyone, worst = [patch.get_data().values for patch in axes.patches if isinstance(patch, StepPatch)]
    np.testing.assert_allclose(everyone, np.arange(101))
    np.testing.assert_allclose(worst, np.arange(11))  # a tenth of 101, rounded up
    assert line(axes, "worst tenth").get_ydata()[0] == pytest.approx(5)


def test_very_many_clients_are_drawn_as_means_of_neighbours():
    (axes,) = client_accuracies(clients(np.arange(2503) % 101, np.full(2503, 100))).axes
    everyone, worst = [patch.get_data() for patch in axes.patches if isinstance(patch, StepPatch)]
    values = np.sort(np.arange(2503) % 101)
    assert len(everyone.values) <= 837
    np.testing.assert_allclose(everyone.values[:2], [values[:3].mean(), values[3:6].mean()])
    assert everyone.edges[-1] == 2502.5 and worst.edges[-1] == 250.5  # a tenth of 2503, rounded up
    for steps, end in ((everyone, 2503), (worst, 251)):
        assert steps.values @ np.diff(steps.edges) == pytest.approx(values[:end].sum())


def test_a_bubbles_area_is_proportional_to_its_count():
    counts = np.array([[100, 0, 25], [0, 1, 0]])
    figure = partition_bubbles(counts, ["a$", "$b", "c"])
    (bubbles,) = [item for item in figure.axes[0].collections if isinstance(item, PathCollection)]
    assert bubbles.get_offsets().tolist() == [[0, 0], [0, 2], [1, 1]]  # client, class
    areas = bubbles.get_sizes()
    assert (areas / areas[0]).tolist() == pytest.approx([1, 0.25, 0.01])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["10", "50", "100"]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["a$", "$b", "c"]
    title = figure.axes[0].get_title(loc="left")
    assert title == "Clients: 2, classes: 3\nExamples per client: smallest 1, median 63, largest 125"
    to_png(figure)


@pytest.mark.parametrize("shape", [(101, 10), (10, 41), (300, 100)])
def test_large_partitions_become_a_heat_map_of_the_counts(shape):
    counts = np.arange(np.prod(shape)).reshape(shape) % 7
    axes, bar = partition_bubbles(counts).axes
    (mesh,) = [item for item in axes.collections if isinstance(item, QuadMesh)]
    np.testing.assert_array_equal(mesh.get_array().filled(0), counts.T)
    assert "examples" in bar.get_ylabel()


def test_a_heat_map_of_very_many_clients_averages_neighbours():
    counts = np.repeat(np.arange(2500)[:, None], 2, 1)
    axes, bar = partition_bubbles(counts).axes
    (mesh,) = [item for item in axes.collections if isinstance(item, QuadMesh)]
    assert mesh.get_array().shape == (2, 834)
    assert mesh.get_array()[0, [1, 833]].tolist() == [4, 2499]  # clients 3 to 5, and the last one alone
    assert "mean of 3 clients" in bar.get_ylabel()


@pytest.mark.parametrize("shape", [(1, 2), (5, 2), (50, 10), (100, 40), (1, 60)])
def test_png_of_any_partition(shape):
    counts = np.random.default_rng(0).poisson(3, shape)
    figure = partition_bubbles(counts)
    png = to_png(figure, dpi=50)
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    assert Image.open(io.BytesIO(png)).size == pytest.approx(50 * figure.get_size_inches(), abs=1)
    assert to_png(partition_bubbles(counts), dpi=50) == png
