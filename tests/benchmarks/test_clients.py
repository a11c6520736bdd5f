"""The trained clients that are given away are what their cards say."""

import dataclasses
import re

import pytest
from paths import ROOT

from fedtp_jax import load_config, simulate

FOLDER = ROOT / "benchmarks/results/clients"


def test_the_digits_client_reaches_what_its_card_says():
    pytest.importorskip("safetensors")
    card = (FOLDER / "digits.md").read_text("utf-8")
    said = float(re.search(r"accuracy on its own test examples \| ([\d.]+) %", card)[1])
    config = load_config(ROOT / "configs/quickstart.yaml", {"method": "fedavg", "training.rounds": 1})
    still = dataclasses.replace(config.training, learning_rate=1e-12, weight_decay=0.0)
    config = dataclasses.replace(config, training=still)
    result = simulate(config, init=str(FOLDER / "digits.safetensors"))
    reached = result.clients.set_index("client")["test_accuracy"]
    assert 100 * reached[7] == pytest.approx(said, abs=0.05)
    assert reached.drop(7).mean() < 0.5, "others hold other classes"


def test_files_stay_small():
    files = [*FOLDER.glob("*.safetensors")]
    assert {file.stem for file in files} == {"digits", "fashion_mnist"}
    assert sum(file.stat().st_size for file in files) < 2_000_000
