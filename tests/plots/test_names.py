"""Pictures show a user's names: every class by its own, and no $ as mathematics."""

import numpy as np
import pytest
from matplotlib.text import Text
from tiny_run import TINY

from fedtp_jax import UserError, compare, from_arrays, simulate
from fedtp_jax.plots.style import to_png


@pytest.fixture(scope="module")
def run():
    random = np.random.default_rng(0)
    labels = np.array([10, 20, 37])[np.arange(120) % 3]
    x = random.integers(0, 256, (120, 8, 8, 1)).astype(np.uint8)
    data = from_arrays(x, labels)
    few = {"rounds": 1, "cohort_size": 2}
    partition = {"name": "pathological", "clients": 6, "classes_per_client": 1}
    return simulate(TINY, data=data, partition=partition, training=few), data


def words(figure):
    return {text.get_text() for text in figure.findobj(Text)}


def test_clients_are_named_by_the_classes_that_they_hold(run):
    result, data = run
    figure = result.plot_embeddings(data)
    assert {"10", "20", "37"} <= words(figure)
    assert {"u", "v"} <= words(result.plot_embeddings(data, superclass=["u", "v", "v"]))


@pytest.mark.slow
def test_a_dollar_is_a_dollar(run):
    result, _ = run
    for figure in (
        result.plot_gains(result, name="$\\bad$", than="cost $5"),
        compare({"$\\bad$": result, "cost $5 and $6": result}).plot(),
    ):
        assert to_png(figure)
        named = [
            text for text in figure.findobj(Text) if "$" in text.get_text() and "math" not in text.get_text()
        ]
        assert named and not any(text.get_parse_math() for text in named)


def test_data_that_only_python_has_are_asked_for_by_the_right_name(run):
    result, _ = run
    with pytest.raises(UserError, match="images: the run's data were made in Python"):
        result.plot_attention(0)
    with pytest.raises(UserError, match="data: the run's data were made in Python"):
        result.plot_partition()
