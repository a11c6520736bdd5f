"""Another name begins with its own defaults: what goes with it, and what is said of the rest."""

import warnings

import pytest
import yaml

from fedtp_jax import SimulationConfig, config, load_config
from fedtp_jax.config.load import replaced
from fedtp_jax.sweeps.combinations import read_sweep

FILE = """\
partition: {name: dirichlet, alpha: 0.1, clients: 7}
method: {name: fedtp, personal: [head/]}
training: {cohort_size: 3, optimizer: {name: sgd, momentum: 0.5}, schedule: {name: step, every: 9}}
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "file.yaml"
    path.write_text(FILE)
    return path


@pytest.fixture
def said():
    """The messages of what was dropped."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield lambda: [str(w.message) for w in caught]


FITTING = ("method.personal", "partition.clients", "partition.alpha")


def dropped(*fields):
    what = f"dropped, as set for another name than the one chosen now: {', '.join(fields)}"
    kept = [field.partition("=")[0] for field in fields if field.startswith(FITTING)]
    return what + (f"; to keep {', '.join(kept)}, give it beside the name" if kept else "")


def test_a_name_does_not_inherit_the_settings_of_the_one_before(file, said):
    assert load_config(file, ["method.name=vanilla"]).method == config.Vanilla()
    assert said() == [dropped("method.personal=['head/']")]


def test_nothing_of_a_partition_goes_to_another(file, said):
    assert load_config(file, ["partition.name=quantity"]).partition == config.Quantity()
    assert said() == [dropped("partition.alpha=0.1", "partition.clients=7")]


def test_what_is_given_beside_the_name_counts_in_any_order(file, said):
    given = ["partition.clients=9", "partition.name=quantity", "method=vanilla", "method.personal=[mlp/]"]
    settings = load_config(file, given)
    assert settings.partition == config.Quantity(clients=9)
    assert settings.method == config.Vanilla(personal=("mlp/",))
    assert said() == [dropped("partition.alpha=0.1")]


def test_what_a_section_as_a_whole_gives_anew_is_not_dropped(file, said):
    settings = load_config(file, {"partition": {"name": "quantity", "clients": 9}})
    assert settings.partition == config.Quantity(clients=9)
    assert said() == [dropped("partition.alpha=0.1")]


@pytest.mark.parametrize("text", ["vanilla", "{name: vanilla}"])
def test_a_section_as_a_whole_says_it_too(text, file, said):
    assert load_config(file, [f"method={text}"]).method == config.Vanilla()
    assert said() == [dropped("method.personal=['head/']")]


def test_optimizers_and_schedules_are_names_as_well(file, said):
    settings = load_config(file, ["training.optimizer.name=adam", "training.schedule=cosine"])
    assert settings.training.optimizer == config.Optimizer("adam", {})
    assert settings.training.schedule == config.Cosine()
    assert said() == [dropped("training.optimizer.momentum=0.5", "training.schedule.every=9")]


PLAIN_SGD = config.Optimizer("sgd")


@pytest.mark.parametrize("given", ["sgd", {"name": "sgd"}, PLAIN_SGD])
def test_an_optimizer_as_a_whole_is_what_a_file_would_have(given, file):
    """Whatever the one before it had, be it by default."""
    for settings in (None, SimulationConfig(), load_config(file)):
        found = replaced(settings, {"training": {"optimizer": given}})
        assert found.training.optimizer == PLAIN_SGD
        nested = {"method": {"name": "fedtp", "hypernetwork": {"optimizer": given}}}
        assert replaced(settings, nested).method.hypernetwork.optimizer == PLAIN_SGD
    momentum = replaced(None, {"training": {"optimizer": {"momentum": 0.5}}})
    assert momentum.training.optimizer == config.Optimizer("sgd", {"momentum": 0.5})


def test_from_python(file, said):
    settings = load_config(file)
    for values in ({"method": "vanilla"}, {"method": {"name": "vanilla"}}):
        assert replaced(settings, values).method == config.Vanilla()
    assert said() == [dropped("method.personal=['head/']")] * 2
    assert replaced(settings, {"method": config.Vanilla()}).method == config.Vanilla()


def test_the_same_name_and_defaults_say_nothing(file, said):
    assert load_config(file, ["method.name=fedtp"]).method == config.FedTP(personal=("head/",))
    assert load_config(file, ["method=fedtp"]).method == config.FedTP(personal=("head/",))
    assert replaced(SimulationConfig(), {"method": "vanilla", "training": {"optimizer": "adam"}})
    assert said() == []


def test_a_sweep_over_names_is_of_different_runs(file, said):
    sweep = file.with_name("sweep.yaml")
    sweep.write_text(
        yaml.safe_dump({"base": file.name, "grid": {"method.name": ["fedtp", "fedper", "vanilla"]}})
    )
    configs = read_sweep(sweep).configs
    assert [one.method for one in configs] == [
        config.FedTP(personal=("head/",)),
        config.FedPer(),
        config.Vanilla(),
    ]
    assert set(said()) == {dropped("method.personal=['head/']")}
