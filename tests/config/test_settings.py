"""Configuration: files, overrides, round trips, and the one message that each mistake gets."""

import copy
import dataclasses

import numpy as np
import pytest

from fedtp_jax import SimulationConfig, UserError, config, load_config
from fedtp_jax.config.load import checked, from_dict, replaced
from fedtp_jax.config.plain import completed, differences, to_dict, to_yaml


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text(
        "training: {rounds: 5, learning_rate: 1e-3}\nmethod: {name: fedtp, hypernetwork: {hidden: 10}}\n"
    )
    return path


def test_defaults_live_in_config_and_files_override_them(file):
    settings = load_config(file)
    assert settings.training == dataclasses.replace(config.Training(), rounds=5, learning_rate=1e-3)
    assert settings.method.hypernetwork == config.Hypernetwork(hidden=10)
    assert settings.model == config.Vit()
    assert from_dict({}) == SimulationConfig()


@pytest.mark.parametrize("kinds", [config.DATASETS, config.PARTITIONS, config.MODELS, config.METHODS])
def test_every_named_part_survives_yaml(kinds, tmp_path):
    sections = {id(config.DATASETS): "data", id(config.PARTITIONS): "partition", id(config.MODELS): "model"}
    section = sections.get(id(kinds), "method")
    for kind in kinds.values():
        fields = {f.name for f in dataclasses.fields(kind)}
        part = kind(file="x.npz") if "file" in fields else kind()
        settings = dataclasses.replace(SimulationConfig(), **{section: part})
        path = tmp_path / "saved.yaml"
        path.write_text(to_yaml(settings))
        assert load_config(path) == settings


def test_overrides(file):
    settings = load_config(
        file, ["training.rounds=200", "method.hypernetwork.learning_rate=0.1", "partition.alpha=1"]
    )
    assert settings.training.rounds == 200
    assert settings.method.hypernetwork == config.Hypernetwork(hidden=10, learning_rate=0.1)
    assert settings.partition == config.Dirichlet(alpha=1.0)


def test_ablation_is_a_line(file):
    settings = load_config(file, ["method.generated=[query/kernel]", "method.personal=[head/, mlp_norm]"])
    assert settings.method.generated == ("query/kernel",)
    assert settings.method.personal == ("head/", "mlp_norm")


def test_optimizers_by_name_and_by_argument_in_any_order(file):
    for overrides in (["name=adam", "b1=0.5"], ["b1=0.5", "name=adam"]):
        settings = load_config(file, [f"training.optimizer.{text}" for text in overrides])
        assert settings.training.optimizer == config.Optimizer("adam", {"b1": 0.5})
    slower = load_config(file, ["training.optimizer.momentum=0.5", "training.optimizer.name=sgd"])
    assert slower.training.optimizer == config.Optimizer("sgd", {"momentum": 0.5})
    assert load_config(file, ["training.optimizer=sgd"]).training.optimizer == config.Optimizer("sgd", {})
    assert load_config(file).training.optimizer == config.Optimizer("sgd", {"momentum": 0.9})
    assert hash(settings) == hash(load_config(file, [f"training.optimizer.{text}" for text in overrides]))


def test_one_pattern_may_stand_without_a_list():
    settings = checked(SimulationConfig(method=config.FedPer(personal="head/")))
    assert settings.method.personal == ("head/",)


def test_short_form_and_overrides_go_together(tmp_path):
    path = tmp_path / "short.yaml"
    path.write_text("method: fedavg\npartition: iid\n")
    assert load_config(path).method == config.FedAvg()
    settings = load_config(path, ["method.name=fedprox", "method.mu=2", "partition.clients=9"])
    assert settings.method == config.FedProx(mu=2.0)
    assert settings.partition == config.Iid(clients=9)


def test_differences_name_the_fields():
    a, b = to_dict(SimulationConfig()), to_dict(SimulationConfig(seed=3, method=config.FedAvg()))
    text = "; ".join(differences(a, b))
    assert "seed: 0 there, 3 here" in text
    assert "method.name: 'fedtp' there, 'fedavg' here" in text
    assert differences(a, a) == []


def test_what_an_earlier_version_lacks_has_its_default():
    optimizer = config.Optimizer("sgd")  # without momentum, which the default has
    now = to_dict(
        SimulationConfig(
            partition=config.Iid(clients=3),
            method=config.FedProx(mu=2.0),
            training=config.Training(schedule=config.Cosine(), optimizer=optimizer),
        )
    )
    then = copy.deepcopy(now)
    del then["compat"], then["partition"]["validation"], then["training"]["stop"]
    del then["training"]["schedule"]["final"], then["evaluation"]["adapt"], then["checkpoint"]["best"]
    assert completed(then) == now == completed(now)
    own = {"name": "mine", "of": "mine.py", "identity": "0"}
    assert completed({**then, "method": own})["method"] == own


def test_every_field_has_help():
    def fields(kind):
        for field in dataclasses.fields(kind):
            yield field
            default = config.default_of(field)
            if dataclasses.is_dataclass(default) and not isinstance(default, config.Optimizer):
                yield from fields(type(default))

    kinds = [SimulationConfig, *config.DATASETS.values(), *config.PARTITIONS.values()]
    for kind in [*kinds, *config.MODELS.values(), *config.METHODS.values(), *config.SCHEDULES.values()]:
        assert kind.__doc__
        for field in fields(kind):
            assert field.metadata["help"], field.name


def test_to_dict_is_plain():
    plain = to_dict(SimulationConfig())
    assert plain["partition"] == {
        "name": "dirichlet",
        "validation": 0.0,
        "clients": 20,
        "alpha": 0.3,
        "min_size": 10,
        "seed": None,
    }


def test_keywords_do_what_overrides_do(file):
    base = load_config(file)
    for overrides, values in (
        (["method.name=vanilla", "training.rounds=7"], {"method": "vanilla", "training": {"rounds": 7}}),
        (
            ["partition.name=pathological", "partition.classes_per_client=3"],
            {"partition": {"classes_per_client": 3, "name": "pathological"}},
        ),
        (["training.schedule=cosine", "seed=3"], {"training": {"schedule": "cosine"}, "seed": 3}),
        (["training.optimizer=adam"], {"training": {"optimizer": config.Optimizer("adam", {})}}),
    ):
        assert replaced(base, values) == load_config(file, overrides)
    assert replaced(base, {"model": config.Cnn()}).model == config.Cnn()
    assert replaced(None, {"method": "fedavg"}) == SimulationConfig(method=config.FedAvg())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"methods": "fedtp"}, "methods: unknown field (did you mean 'method'?)"),
        ({"method": "fedpt"}, "method.name: got 'fedpt' (did you mean 'fedtp'?)"),
        ({"training": {"round": 3}}, "training.round: unknown field (did you mean 'rounds'?)"),
        ({"training": 3}, "training: expected a section with fields, got 3"),
        ({"method": config.Vit()}, "method"),
    ],
)
def test_wrong_keywords_get_the_same_messages(values, message):
    with pytest.raises(UserError) as caught:
        replaced(None, values)
    assert message in str(caught.value)


def test_every_section_tells_python_of_a_wrong_name():
    sections = [kind for kind in vars(config).values() if dataclasses.is_dataclass(kind)]
    for kind in sections:
        if kind not in (config.Own, config.ReferencePartition):  # which users do not make
            with pytest.raises(UserError, match=r"nonsense: unknown field.* are: "):
                kind(nonsense=1)
    assert len(sections) > 40
    with pytest.raises(UserError, match=r"training\.round: unknown field \(did you mean 'rounds'\?\)"):
        dataclasses.replace(config.Training(), round=3)


def test_numbers_of_numpy_are_numbers():
    settings = replaced(
        None,
        {
            "seed": np.int64(3),
            "training": {
                "rounds": np.arange(5, 7)[0],
                "learning_rate": np.float32(0.5),
                "cohort_size": np.array(2),
            },
            "method": {"name": "fedper", "personal": np.array(["head/"])},
        },
    )
    assert (settings.seed, settings.training.rounds, settings.training.cohort_size) == (3, 5, 2)
    assert settings.training.learning_rate == 0.5
    assert settings.method.personal == ("head/",)
    assert checked(SimulationConfig(seed=np.int32(4))).seed == 4
