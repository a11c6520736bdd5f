"""Combinations of methods, models and settings that do not exist: refused before anything is compiled."""

import dataclasses

import jax
import numpy as np
import pytest
from method_cases import CLIENTS, TRAINING, simulator

from fedtp_jax import UserError, config

compiled = []
jax.monitoring.register_event_duration_secs_listener(
    lambda event, duration, **_: (
        compiled.append(event) if event.endswith("backend_compile_duration") else None
    )
)

MOMENTUM = config.Server(optimizer=config.Optimizer("sgd", {"momentum": 0.9}))
KNN = config.Evaluation(knn=config.Knn(weight=0.5))
NEEDS_FEATURES = "one feature vector per example.*choose another model"


def clients(name, **arguments):
    return dataclasses.replace(TRAINING, optimizer=config.Optimizer(name, arguments))


@pytest.fixture(scope="module")
def warm():
    """JAX compiles pieces of its own when keys and arrays are first made."""
    simulator("fedavg", "vit")
    simulator("fedavg", "lstm")


@pytest.mark.parametrize(
    ("method", "model", "settings", "message"),
    [
        ("fedbn", "cnn", {}, r"method.personal: .*norm.* matches no leaf of the model"),
        ("fedbn", "lstm", {}, r"method.personal: .*norm.* matches no leaf of the model"),
        *[
            (method, model, {}, f"method {method}: needs {NEEDS_FEATURES}")
            for method in ("fedrod", "fedproto", "fedpac")
            for model in ("transformer", "lstm")
        ],
        ("fedtp_rod", "transformer", {}, f"method fedtp_rod: needs {NEEDS_FEATURES}"),
        ("fedtp_rod", "lstm", {}, "method"),
        *[
            ("fedavg", model, {"evaluation": KNN}, f"evaluation.knn: needs {NEEDS_FEATURES}")
            for model in ("transformer", "lstm")
        ],
        *[
            (
                method,
                model,
                {},
                f"method.{role}: .*query.* matches no leaf of the model.*the leaves are params/",
            )
            for method, role in (("fedtp", "generated"), ("fedtp_per", "generated"), ("vanilla", "personal"))
            for model in ("cnn", "lstm")
        ],
        *[
            (
                "fedperfix",
                model,
                {},
                "model.adapter.size: the model has no adapter.*size=256, or choose fedper",
            )
            for model in ("cnn", "lstm")
        ],
        *[
            (method, "vit", {"server": MOMENTUM}, "server.optimizer: this method shares no parameters")
            for method in ("local", "pfedhn", "fedproto", "fedamp")
        ],
        (
            "fedrep",
            "vit",
            {"training": TRAINING},
            "method.body_epochs: 1, but training.local_epochs is 1, so no pass would train the head",
        ),
        (
            "fedrep",
            "vit",
            {"training": dataclasses.replace(TRAINING, local_steps=3)},
            "training.local_steps: 3, but fedrep parts a round by passes; give training.local_epochs",
        ),
        ("fedpac", "vit", {"training": TRAINING}, "training.local_epochs: 1, but fedpac trains the head in"),
        *[
            ("fedpac", "vit", {"training": dataclasses.replace(TRAINING, **given)}, message)
            for given, message in (
                ({"local_steps": 3}, "training.local_steps: 3, but fedpac parts a round by passes"),
                (
                    {"local_epochs": 2, "role_learning_rates": config.RoleRates(personal=0.1)},
                    "training.role_learning_rates.personal: 0.1, .* set method.head_learning_rate",
                ),
            )
        ],
        (
            "ditto",
            "vit",
            {"training": dataclasses.replace(TRAINING, role_learning_rates=config.RoleRates(shared=0.1))},
            "training.role_learning_rates: ditto has two models",
        ),
        (
            "fedala",
            "vit",
            {"training": dataclasses.replace(TRAINING, role_learning_rates=config.RoleRates(personal=0.1))},
            "training.role_learning_rates: fedala shares the whole model; set training.learning_rate",
        ),
        *[
            (
                config.FedALA(personal=nothing),
                "cnn_bn",
                {},
                r"method.personal: \[.*\] names no parameter, so there is nothing to mix; name some",
            )
            for nothing in ((), ("batch_stats/",))
        ],
        *[
            (
                config.FedBABU(fixed=everything),
                "vit",
                {},
                "method.fixed: matches every parameter of the model",
            )
            for everything in (("params/",), (".",))
        ],
        (
            config.FedPer(fixed=("head",)),
            "vit",
            {},
            r"method.personal: .*head/' matches only leaves that are fixed already; a leaf has one role",
        ),
        (
            "fedavg",
            "vit",
            {"training": clients("sdg")},
            "training.optimizer.name: optax has no optimizer 'sdg'.*sgd",
        ),
        (
            "fedavg",
            "vit",
            {"training": clients("sgd", momentun=0.9)},
            "training.optimizer.momentun: optax.sgd has no such argument.*momentum",
        ),
        (
            "fedavg",
            "vit",
            {"server": config.Server(optimizer=config.Optimizer("adamm"))},
            "server.optimizer.name: optax has no optimizer 'adamm'.*adam",
        ),
        (
            "scaffold",
            "vit",
            {"training": TRAINING},
            "training.optimizer: got sgd, momentum=0.9, but scaffold .*set training.optimizer=sgd",
        ),
        ("scaffold", "vit", {"training": clients("adam")}, "training.optimizer: got adam, but scaffold"),
        ("fedavg", "vit", {"data": "lstm"}, "model.name: vit takes images .*choose transformer, lstm"),
        ("fedavg", "lstm", {"data": "vit"}, "model.name: lstm takes windows of a text .*choose vit, cnn"),
        (
            "fedavg",
            "lstm",
            {"noise": np.ones(CLIENTS, np.float32)},
            "partition.name: feature_noise .*is text",
        ),
    ],
)
def test_combinations_that_do_not_exist_say_so_before_anything_runs(method, model, settings, message, warm):
    compiled.clear()
    with pytest.raises(UserError, match=f"(?s){message}"):
        simulator(method, model, **settings)
    assert compiled == []
