"""What clients are called."""

import jax.numpy as jnp
import pytest

from fedtp_jax.core.client_names import called, shortened
from fedtp_jax.simulation.round_result import check_excluded


def test_a_client_is_called_by_number_and_name():
    assert called(1, ["Ann", "Ben"]) == "1 (Ben)"
    assert called(1, []) == called(1, ["Ann", None]) == "1"
    assert called(7, {7: "Ann"}) == "7 (Ann)"


def test_of_a_long_name_the_end_stays():
    name = "Hamlet, Prince of Denmark: OPHELIA"
    assert shortened(name, 20) == "Hamlet…mark: OPHELIA"
    assert shortened(name, len(name)) == name
    assert all(len(shortened(name, letters)) == letters for letters in range(4, len(name)))


def test_whose_numbers_are_not_finite_is_said_by_name():
    with pytest.raises(FloatingPointError, match=r"1 of 3 clients of the cohort \(2 \(Cy\)\) returned"):
        check_excluded(4, [2], 3, "stop", ["Ann", "Ben", "Cy"])


def test_of_a_message_that_was_not_finite_itself_the_learning_rate_is_not_to_blame():
    sent = {"params/head/bias": jnp.array([1.0, jnp.nan])}
    with pytest.raises(FloatingPointError, match=r"what the server sent them was not finite already: .*agg"):
        check_excluded(4, [0, 2], 2, "exclude", (), sent)
    with pytest.raises(FloatingPointError, match=r"; lower training\.learning_rate"):
        check_excluded(4, [0, 2], 2, "exclude", (), {"params/head/bias": jnp.zeros(2)})
