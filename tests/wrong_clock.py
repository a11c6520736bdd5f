"""A wrong clock: fields that do not go together, deadlines that nobody meets, traces, times nobody told."""

import dataclasses

from wrong_runs import after, load
from wrong_settings import given

from fedtp_jax import compare

HEAD = "client,speed,down,up\n"


def timed():
    """A result whose rounds took two seconds each."""
    result = load()
    return dataclasses.replace(
        result, history=result.history.assign(virtual_time=2.0 * result.history["round"])
    )


def trace(text, overrides=""):
    return given(f"training.clock.trace=trace.csv {overrides}", {"trace.csv": text})


CLOCK = {
    "`training.clock.speed=0`": given("training.clock.speed=0"),
    "`training.clock.unit=epochs`": given("training.clock.unit=epochs"),
    "`training.clock.speed_sigma=-1`": given("training.clock.speed_sigma=-1"),
    "`training.clock.link_sigma=11`": given("training.clock.link_sigma=11"),
    "`training.clock.late=wait`": given("training.clock.late=wait"),
    "`training.clock.deadline=30` alone": given("training.clock.deadline=30"),
    "a deadline that nobody meets": given("training.clock.speed=1 training.clock.deadline=0.5"),
    "a deadline that two of six clients meet, and a round needs three": trace(
        HEAD + "".join(f"{k},{999 if k < 2 else 0.1},9e9,9e9\n" for k in range(6)),
        "training.clock.deadline=30 training.participation.minimum=3",
    ),
    "a trace and `training.clock.up=1000`": trace(HEAD, "training.clock.up=1000"),
}
TRACE = {
    "no trace": given("training.clock.trace=trace.csv"),
    "a trace with another head": trace("client,speed\n"),
    "three numbers": trace(HEAD + "0,1,1\n"),
    "a word": trace(HEAD + "0,1,1,fast\n"),
    "a speed of 0": trace(HEAD + "0,0,1,1\n"),
    "an infinite link": trace(HEAD + "0,1,inf,1\n"),
    "a client that is none": trace(HEAD + "6,1,1,1\n"),
    "a client twice": trace(HEAD + "0,1,1,1\n0,1,1,1\n"),
    "a client without a line": trace(HEAD + "0,1,1,1\n2,1,1,1\n"),
}
COMPARED = {
    "`fedtp compare run --metric time_to_accuracy` of a run without a clock": after(
        None, "fedtp compare run --metric time_to_accuracy"
    ),
    "`fedtp compare run --metric client_mean --target 0.5`": after(
        None, "fedtp compare run --metric client_mean --target 0.5"
    ),
    "`compare(result, target=80)` of a run with a clock": after(None, lambda: compare(timed(), target=80)),
    '`result.plot_curves("time")` of a run without a clock': after(None, lambda: load().plot_curves("time")),
    '`result.plot_curves("hours")`': after(None, lambda: load().plot_curves("hours")),
}
KINDS = {"Clock": CLOCK, "`training.clock.trace=trace.csv`": TRACE, "Virtual time": COMPARED}
