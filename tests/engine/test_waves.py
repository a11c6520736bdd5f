"""Waves are prepared ahead, in order, and never more of them than the queue holds."""

import threading
import time
from types import SimpleNamespace

import pytest
from method_cases import simulator

from fedtp_jax.engine.waves import Prefetch


def test_rounds_come_in_order_each_with_its_waves():
    prefetch = Prefetch(iter([iter("ab"), iter(""), iter("c")]))
    assert [list(prefetch.take()) for _ in range(3)] == [["a", "b"], [], ["c"]]
    prefetch.close()


def test_it_runs_ahead_by_what_the_queue_holds_and_no_further():
    made = []

    def waves():
        for number in range(10):
            made.append(number)
            yield number

    prefetch = Prefetch(iter([waves()]), ahead=2)
    taking = prefetch.take()
    assert next(taking) == 0
    deadline = time.monotonic() + 10
    while len(made) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)
    assert made == [0, 1, 2, 3]  # one was taken, two wait, one waits for its place
    prefetch.close()
    assert not any(thread.name == "prefetch" for thread in threading.enumerate())


def test_an_error_is_raised_where_the_wave_is_taken():
    def waves():
        yield "a"
        raise ValueError("no more memory")

    taking = Prefetch(iter([waves()])).take()
    assert next(taking) == "a"
    with pytest.raises(ValueError, match="no more memory"):
        next(taking)


def test_a_copy_to_the_host_starts_before_it_is_asked_for():
    started = []
    array = SimpleNamespace(copy_to_host_async=lambda: started.append(True))
    simulator("fedavg", "cnn").bench.fetch({"row": array})
    assert started
