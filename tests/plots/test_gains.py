"""Who gains and who loses: counted in the title, told apart by colour, and named where they lose most."""

import numpy as np
import pytest
from matplotlib.colors import same_color
from matplotlib.patches import StepPatch

from fedtp_jax.plots.gains import MOST_LISTED, gains
from fedtp_jax.plots.style import BLUE, VERMILION, to_png


def title(axes):
    return axes.get_title(loc="left")


def test_few_clients_have_a_bar_and_a_label_each():
    own, other = np.array([0.7, 0.9, np.nan, 0.5, 0.6]), np.array([0.6, 0.9, 0.5, 0.8, 0.65])
    left, right = gains(own, other, "fedtp", "local").axes
    assert title(left) == "fedtp against local\n1 gain, 2 lose, 1 equal (not tested in both: 1)"
    assert [label.get_text() for label in left.get_xticklabels()] == ["3", "4", "1", "0"]
    losses, wins = left.containers
    assert [bar.get_height() for bar in losses] == pytest.approx([-30, -5, 0, 0])
    assert [bar.get_height() for bar in wins] == pytest.approx([0, 0, 0, 10])
    assert same_color(losses[0].get_facecolor(), VERMILION) and same_color(wins[0].get_facecolor(), BLUE)
    assert title(right) == "Who loses"
    assert [label.get_text() for label in right.get_yticklabels()] == ["3", "4"]
    assert [text.get_text() for text in right.texts] == ["\N{MINUS SIGN}30.0", "\N{MINUS SIGN}5.0"]
    assert [text.get_text() for text in right.get_legend().get_texts()] == ["local", "fedtp"]


def test_of_many_those_who_lose_most_are_named():
    random = np.random.default_rng(0)
    other = random.uniform(0.5, 0.9, 5000)
    own = other + random.normal(0.03, 0.05, 5000)
    names = [f"{'a long name of a ' * 3}writer {k}" for k in range(5000)]
    figure = gains(own, other, "fedtp", "local", names)
    left, right = figure.axes
    lose = int((own < other).sum())
    assert title(left).splitlines()[1] == f"{5000 - lose:,} gain, {lose:,} lose, 0 equal"
    assert sum(isinstance(patch, StepPatch) for patch in left.patches) == 2
    worst = np.argsort(own - other)[:MOST_LISTED]
    labels = [label.get_text() for label in right.get_yticklabels()]
    assert title(right) == f"The {MOST_LISTED} who lose most"
    assert [label.split(" (")[0] for label in labels] == [*map(str, worst)]
    assert all(
        label.endswith(f"writer {k})") and len(label) < 30 for label, k in zip(labels, worst, strict=True)
    )
    assert to_png(figure, dpi=40)


def test_where_nobody_loses_there_is_nobody_to_list():
    (axes,) = gains(np.array([0.5, 0.1 + 0.2]), np.array([0.4, 0.3]), "a", "b").axes
    assert title(axes).splitlines()[1] == "1 gain, 0 lose, 1 equal"
    assert gains(np.full(3, np.nan), np.ones(3), "a", "b").axes
