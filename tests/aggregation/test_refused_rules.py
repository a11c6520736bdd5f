"""Rules in place of the mean: which methods have them, and what is refused."""

import dataclasses

import numpy as np
import pytest
from marks import every_day
from method_cases import METHODS, simulator

from fedtp_jax import UserError, config
from fedtp_jax.config.load import from_dict
from fedtp_jax.simulation import held_changes

UNIFORM = config.Server(weighting="uniform")
SENDS_MORE = ("local", "fedproto", "scaffold", "fedpac", "fedamp", "pefll")


@pytest.mark.parametrize("name", every_day(list(METHODS), ["fedbn", "scaffold"]))
def test_every_method_has_rules_or_says_why_not(name):
    model = (
        "cnn_bn"
        if name in ("fedbn", "fedavg")
        else "cnn"
        if name in ("pfedhn", "pefll", "fedproto")
        else "vit"
    )
    server = config.Server(weighting="uniform", aggregation=config.Krum())
    if name in SENDS_MORE:
        with pytest.raises(UserError, match=f"server.aggregation: the clients of method {name} send "):
            simulator(name, model, server=server)
        return
    sim = simulator(name, model, server=server)
    assert sim.traffic == simulator(name, model, server=UNIFORM).traffic
    state, _ = sim.round(sim.init(), 0, sim.prepare(0))
    assert all(np.isfinite(leaf).all() for leaf in sim.fetch(state).shared.values())
    assert sim.evaluate(state).examples.sum() > 0


def test_a_cohort_that_the_host_cannot_hold(monkeypatch):
    monkeypatch.setattr(held_changes.os, "sysconf", lambda name: 2**6)
    with pytest.raises(
        UserError, match=r"server.aggregation: needs the changes of 3 clients at once, .* host has"
    ):
        simulator("fedavg", "mlp", server=dataclasses.replace(UNIFORM, aggregation=config.Median()))


def test_mistakes():
    uniform = {"weighting": "uniform"}
    for server, more, message in (
        ({"aggregation": "medan"}, {}, r"got 'medan'.*'median'"),
        (
            {"aggregation": "median"},
            {},
            "counts every client as much as any other; set server.weighting=uniform",
        ),
        (
            {"aggregation": "median", **uniform},
            {"training": {"participation": {"sampling": "by_examples"}}},
            "counts a client once",
        ),
        ({"aggregation": {"name": "trimmed_mean", "share": 0.5}, **uniform}, {}, "less than 0.5"),
        (
            {"aggregation": {"name": "krum", "attackers": 2}, **uniform},
            {},
            "attackers: 2 of training.cohort_size 5.* at least 7",
        ),
        (
            {"aggregation": {"name": "trimmed_mean", "share": 0.1}, **uniform},
            {},
            "share: 0.1 of training.cohort_size 5 is nobody",
        ),
        ({"aggregation": {"name": "krum", "selected": 5}, **uniform}, {}, "selected: 5, but only 4"),
        (
            {"aggregation": {"name": "krum", "attackers": 1, "selected": 5}, **uniform},
            {},
            "selected: 5, but only 4",
        ),
        (
            {"aggregation": "geometric_median", **uniform},
            {"privacy": {"epsilon": 3}, "training": {"participation": {"sampling": "poisson"}}},
            "geometric_median beside privacy",
        ),
    ):
        with pytest.raises(UserError, match=message):
            from_dict({"server": server, **more})
