"""What a part made in Python is: what must tell two apart, and what must not."""

import functools
import subprocess
import sys
import threading

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from fedtp_jax.core.identity import comparable, identity

WIDTH = 8
SEEN: list[int] = []
COUNTS = {"calls": 0}
LOCK = threading.Lock()
TABLE = {"rate": 1.0}


class Small(nn.Module):
    """Reads a global, and keeps notes in another."""

    width: int = 4
    activation: object = nn.relu

    @nn.compact
    def __call__(self, x, train=False):
        SEEN.append(len(x))
        return self.activation(nn.Dense(WIDTH)(nn.Dense(self.width)(x)))


class OtherSmall(nn.Module):
    """The same fields, another network."""

    width: int = 4
    activation: object = nn.relu

    @nn.compact
    def __call__(self, x, train=False):
        return self.activation(nn.Dense(self.width)(x))


OtherSmall.__name__ = "Small"


def closes_over(value):
    def part(task):
        return value

    return part


def counts(x):
    COUNTS["calls"] += 1
    return x


def reads(x):
    return x * TABLE["rate"]


def documented(x):
    """Doubles."""
    return 2 * x


def otherwise_documented(x):
    """Twice as much."""
    return 2 * x


def counted():
    calls, heard = 0, []

    def part(x):
        nonlocal calls
        calls += 1
        heard.append(x)
        return x

    return part


def locked(x):
    with LOCK:
        return x


class Holder:
    def __init__(self, value):
        self.value, self.me = value, self  # an object that holds itself


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (lambda rate: optax.sgd(rate), lambda rate: optax.adam(rate)),
        (lambda rate: optax.sgd(rate), lambda rate: optax.sgd(rate, 0.9)),
        (lambda rate, momentum=0.0: optax.sgd(rate), lambda rate, momentum=0.9: optax.sgd(rate)),
        (closes_over("head/"), closes_over("body/")),
        (closes_over([1, 2]), closes_over([2, 1])),
        (closes_over(np.zeros(3)), closes_over(np.zeros(4))),
        (closes_over(jnp.zeros(3)), closes_over(jnp.ones(3))),
        (closes_over(jax.random.key(0)), closes_over(jax.random.key(1))),
        (closes_over(1), closes_over(1.0)),
        (closes_over({1, 2}), closes_over({1, 3})),
        (closes_over(lambda x: x), closes_over(lambda x: -x)),
        (closes_over(Holder(1)), closes_over(Holder(2))),
        (functools.partial(optax.sgd, momentum=0.1), functools.partial(optax.sgd, momentum=0.2)),
        (jax.jit(lambda x: x), jax.jit(lambda x: x + 1)),
        (Small(4), Small(5)),
        (Small(), Small(activation=nn.gelu)),
        (Small(), OtherSmall()),
        (optax.adam(1e-3), optax.adam(1e-2)),
        (nn.initializers.normal(0.1), nn.initializers.normal(0.2)),
    ],
)
def test_what_does_something_else_is_something_else(one, other):
    assert identity(one) != identity(other)
    assert comparable(identity(one), identity(other))


def test_what_does_the_same_is_the_same():
    assert identity(lambda rate: optax.sgd(rate)) == identity(lambda rate: optax.sgd(rate))
    assert identity(closes_over([1, 2])) == identity(closes_over([1, 2]))
    assert identity(closes_over(Holder(1))) == identity(closes_over(Holder(1)))
    assert identity(documented).split()[0] == sys.implementation.cache_tag
    assert identity(optax.sgd) == identity(optax.sgd)
    assert " " not in identity(optax.sgd)  # nothing of it depends on a Python's bytecode


def test_what_raises_when_it_is_asked_is_unknown():
    class Raises:
        def fingerprint(self):
            raise ValueError("no")

    class Answers:
        def __getattr__(self, name):
            return lambda *_: None

    assert identity(Raises()).startswith("unknown (holds a ") and "raises ValueError" in identity(Raises())
    assert not identity(Answers()).startswith("fingerprint")


def test_documentation_is_not_code():
    texts = {identity(part) for part in (documented, otherwise_documented)}
    assert len(texts) == 1


def test_notes_that_a_part_keeps_are_not_what_it_is():
    module, part = Small(), counted()
    before = [identity(one) for one in (module, part, counts)]
    module.init(jax.random.key(0), jnp.zeros((1, 3)))
    part(1)
    counts(1)
    assert SEEN and COUNTS["calls"] == 1
    assert [identity(one) for one in (module, part, counts)] == before


def test_a_global_that_is_read_counts(monkeypatch):
    before = identity(Small()), identity(reads)
    monkeypatch.setitem(TABLE, "rate", 2.0)
    assert identity(reads) != before[1]
    monkeypatch.setattr(sys.modules[__name__], "WIDTH", 9)
    assert identity(Small()) != before[0]


def test_what_cannot_be_looked_into_says_why():
    found = identity(locked)
    assert found.startswith("unknown (holds a _thread.lock) ")
    assert identity(locked) == found  # the very same object
    assert not comparable(found, found)
    assert not comparable("cpython-311 5d41402abc4b2a76", "cpython-312 a1b2c3d4e5f60718")
    assert comparable("cpython-311 5d41402abc4b2a76", "a1b2c3d4e5f60718")  # one is of no user's code
    locked.fingerprint = lambda: "first try"
    try:
        told = identity(locked)
        locked.fingerprint = lambda: "second try"
        assert not told.startswith("unknown") and identity(locked) != told
    finally:
        del locked.fingerprint


@pytest.mark.slow
def test_another_process_finds_the_same(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from flax import linen as nn\n"
        "NAMES = {'a', 'b', 'c', 'd'}\n"
        "class Base(nn.Module):\n"
        "    def help(self):\n"
        "        return even(4)\n"
        "def even(n): return n == 0 or odd(n - 1)\n"
        "def odd(n): return n != 0 and even(n - 1)\n"
        "class Net(Base):\n"
        "    width: int = 3\n"
        "    @nn.compact\n"
        "    def __call__(self, x, train=False):\n"
        "        return nn.Dense(len(NAMES) * self.width)(x) if super().help() else odd(x)\n"
        "if __name__ == '__main__':\n"
        "    from fedtp_jax.core.identity import identity\n"
        "    print(identity(Net()))\n"
    )
    imported = "import mine; from fedtp_jax.core.identity import identity; print(identity(mine.Net()))"
    outputs = {
        subprocess.run(
            [sys.executable, *call], cwd=tmp_path, capture_output=True, text=True, check=True
        ).stdout
        for call in (["mine.py"], ["-c", imported])
    }
    assert len(outputs) == 1
