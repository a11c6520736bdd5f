"""Optimizers by name, schedules, learning rates of roles: what they compute, and the mistakes they refuse."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fedtp_jax import UserError, config
from fedtp_jax.learning.optimizers import learning_rate_factors, make_optimizer, scale_updates

LEAVES = {"w": jnp.array([1.0, -2.0, 3.0]), "b": jnp.array([0.5])}
GRADIENT = {"w": jnp.array([3.0, 0.0, 4.0]), "b": jnp.array([0.0])}


def step(optimizer):
    return optimizer.update(GRADIENT, optimizer.init(LEAVES), LEAVES)[0]


def test_sgd_is_that_of_pytorch():
    """Two steps of torch.optim.SGD by its documentation: the decay joins the gradient before the momentum."""
    optimizer = make_optimizer(config.Optimizer("sgd", {"momentum": 0.9}), "o", 0.1, weight_decay=0.01)
    state, w, velocity = (
        optimizer.init(LEAVES),
        dict(LEAVES),
        {p: np.zeros_like(v) for p, v in LEAVES.items()},
    )
    expected = {p: np.asarray(v) for p, v in LEAVES.items()}
    for _ in range(2):
        updates, state = optimizer.update(GRADIENT, state, w)
        w = optax.apply_updates(w, updates)
        for p in expected:
            velocity[p] = 0.9 * velocity[p] + GRADIENT[p] + 0.01 * expected[p]
            expected[p] = expected[p] - 0.1 * velocity[p]
    for p in expected:
        np.testing.assert_allclose(w[p], expected[p], rtol=1e-6)


def test_the_gradient_is_clipped_before_the_decay_joins_it():
    update = step(make_optimizer(config.Optimizer("sgd"), "o", 1.0, weight_decay=0.1, clip_norm=1.0))
    np.testing.assert_allclose(update["w"], -(GRADIENT["w"] / 5 + 0.1 * LEAVES["w"]), rtol=1e-6)
    short = step(make_optimizer(config.Optimizer("sgd"), "o", 1.0, clip_norm=100.0))
    np.testing.assert_allclose(short["w"], -GRADIENT["w"])


@pytest.mark.parametrize("name", ["adam", "adamw", "yogi", "rmsprop", "lion", "adagrad"])
def test_any_optax_optimizer_by_its_name(name):
    ours = step(make_optimizer(config.Optimizer(name), "o", 0.1))
    with jax.numpy_dtype_promotion("standard"):  # optax relies on it
        theirs = step(getattr(optax, name)(0.1))
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)


@pytest.mark.parametrize(
    ("optimizer", "words"),
    [
        (config.Optimizer("adm"), ["x.name", "'adm'", "did you mean 'adam'", "sgd"]),
        (config.Optimizer("sgd", {"momentun": 0.9}), ["x.momentun", "did you mean 'momentum'"]),
        (config.Optimizer("adam", {"learning_rate": 1.0}), ["x.learning_rate", "a field beside"]),
        (config.Optimizer("lbfgs"), ["x.name", "no optimizer 'lbfgs'"]),
        (config.Optimizer("scale_by_learning_rate"), ["x.name", "no optimizer"]),
    ],
    ids=lambda value: value.name if isinstance(value, config.Optimizer) else "",
)
def test_what_optax_does_not_know_is_one_message(optimizer, words):
    with pytest.raises(UserError) as caught:
        make_optimizer(optimizer, "x", 0.1)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_an_optimizer_whose_updates_do_not_scale_is_refused_where_they_must():
    fromage = config.Optimizer("fromage")
    assert step(make_optimizer(fromage, "o", 0.1))
    with pytest.raises(
        UserError, match=r"training\.schedule: scales the updates of optax\.fromage, which are not"
    ):
        make_optimizer(fromage, "o", 0.1, scaled="training.schedule")
    for name in ("sgd", "adam", "adamw", "lion", "rmsprop", "lars"):
        make_optimizer(config.Optimizer(name), "o", 0.1, scaled="training.schedule")


def test_whether_updates_scale_is_tried_while_a_program_is_traced_too():
    """As that of simulations side by side, which differ in a number of their method."""

    @jax.jit
    def program(x):
        optimizer = make_optimizer(config.Optimizer("adam"), "o", 0.1, scaled="training.schedule")
        return optimizer.update(x, optimizer.init(x), x)[0]

    assert program(jnp.ones(2)).shape == (2,)


def test_schedules():
    def factors(schedule):
        training = config.Training(rounds=5, schedule=schedule)
        return [round(factor, 6) for factor in learning_rate_factors(training)]

    assert factors(config.Constant()) == [1.0] * 5
    assert factors(config.Exponential(0.5)) == [1.0, 0.5, 0.25, 0.125, 0.0625]
    assert factors(config.Step(every=2, factor=0.1)) == pytest.approx([1.0, 1.0, 0.1, 0.1, 0.01])
    assert factors(config.Cosine(final=0.2)) == pytest.approx(
        [0.2 + 0.8 * (1 + np.cos(np.pi * r / 5)) / 2 for r in range(5)], abs=1e-6
    )
    assert learning_rate_factors(config.Training(rounds=1, schedule=config.Cosine())) == [1.0]


def own(function):
    return config.Own.part(function)


def test_a_warm_up_comes_before_any_schedule():
    def factors(rounds, warmup, schedule):
        training = config.Training(rounds=rounds, warmup_rounds=warmup, schedule=schedule)
        return learning_rate_factors(training)

    assert factors(6, 4, config.Step(every=1)) == [0.25, 0.5, 0.75, 1.0, 1.0, 0.5]
    for schedule in (config.Cosine(0.2), config.Exponential(0.5), own(lambda round: 0.9**round)):
        assert factors(8, 3, schedule)[3:] == factors(5, 0, schedule)
    assert factors(2, 4, config.Cosine()) == [0.25, 0.5]
    assert factors(3, 1, config.Constant()) == [1.0] * 3


def test_a_schedule_may_be_any_function_of_the_round():
    def factors(function):
        return learning_rate_factors(config.Training(rounds=4, schedule=own(function)))

    assert factors(lambda round: 1 / (1 + round)) == [1, 1 / 2, 1 / 3, 1 / 4]
    assert factors(optax.linear_schedule(1.0, 0.0, 4)) == [1.0, 0.75, 0.5, 0.25]


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda round: 1 - round, "gives -1 for round 2, expected a finite number, at least 0"),
        (lambda round: float("nan"), "gives nan for round 0"),
        (lambda round: "half", "fails for round 0 (ValueError: could not convert"),
        (lambda round: 1 / (2 - round), "fails for round 2 (ZeroDivisionError: division by zero)"),
        (lambda: 1.0, "fails for round 0 (TypeError: "),
    ],
)
def test_what_an_own_schedule_gives_is_looked_at(function, words):
    with pytest.raises(UserError) as caught:
        learning_rate_factors(config.Training(rounds=4, schedule=own(function)))
    assert str(caught.value).startswith("training.schedule: ") and words in str(caught.value)


def test_roles_have_their_own_learning_rates():
    roles = {"s": "shared", "p": "personal", "g": "generated"}
    training = config.Training(
        learning_rate=0.1, role_learning_rates=config.RoleRates(personal=0.3, generated=0.0)
    )
    updates = dict.fromkeys(roles, jnp.ones(2))
    scaled = scale_updates(updates, jnp.asarray(0.5), roles, training)
    assert {path: float(leaf[0]) for path, leaf in scaled.items()} == pytest.approx(
        {"s": 0.5, "p": 1.5, "g": 0.0}
    )
