"""What the findings on privacy, adversaries and compression are made of."""

import itertools
import re

import numpy as np
import pandas as pd
import pytest

from benchmarks.trust import page, run, tables
from fedtp_jax.sweeps.combinations import place, read_sweep


@pytest.mark.parametrize("name", run.SWEEPS)
def test_what_is_asked_is_told_apart(name, tmp_path):
    file = run.HERE / f"{name}.yaml"
    asked = read_sweep(file)
    told = [repr({"method": type(one.method), **tables._asked(one)}) for one in asked.configs]
    assert len({*told}) == len(asked.configs)
    assert len(place(file, run.short(asked), tmp_path)) == len(asked.configs)


def test_as_many_runs_as_the_page_says():
    asked = [read_sweep(run.HERE / f"{name}.yaml") for name in run.SWEEPS]
    count = sum(len(one.configs) * len(one.seeds) for one in asked)
    assert f"{count} runs" in (run.HERE / "README.md").read_text()


def test_the_page_has_means_over_seeds(tmp_path):
    rows = []
    for method, seed in itertools.product(page.METHODS, range(3)):
        common = {"method": method, "seed": seed, "upload": "none", "adversaries": "none", "defence": "mean"}
        common |= {"clients": 50, "noise": np.nan, "epsilon": np.nan, "bytes_up": 100.0}
        private = {**common, "noise": 1.0, "epsilon": 4.0}
        rows += [{**one, "sweep": "privacy", "test_accuracy": 60.0 + seed} for one in (common, private)]
        bad = {
            **common,
            "adversaries": "10 % backdoor",
            "attack_success": 10.0 * seed,
            "honest_accuracy": 70.0,
        }
        rows += [{**one, "sweep": "adversaries", "test_accuracy": 50.0} for one in (common, bad)]
        rows.append({**bad, "sweep": "clipped", "defence": "clip", "test_accuracy": 40.0})
        rows.append({**common, "sweep": "bits", "upload": "sign", "test_accuracy": 30.0})
    page.write_page(tmp_path, rows)
    text = (tmp_path / "trust.md").read_text()
    assert "| 50 | 4.00 |" + " 61.0 ± 1.0 |" * 4 in text
    assert "| 10 % backdoor | clip |" + " 70.0 ± 0.0 |" * 4 in text
    assert "| 10 % backdoor | mean |" + " 10.0 ± 10.0 |" * 4 in text
    assert "| sign | 100 |" + " 30.0 ± 0.0 |" * 4 in text
    pictures = re.findall(r"!\[\w+\]\((\w+\.png)\)", text)
    assert len(pictures) == 4 and all((tmp_path / name).stat().st_size > 5000 for name in pictures)
    assert len(pd.read_csv(tmp_path / "trust.csv")) == len(rows)
