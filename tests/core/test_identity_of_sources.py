"""What tells parts apart that are written alike: sources that differ in one place."""

import collections
import dataclasses
import functools
import importlib
import itertools
import re
import shutil
import sys

import jax
import numpy as np
import optax
import pytest
from flax import linen as nn

from fedtp_jax.core.identity import comparable, identity

# {what is tried: (source in which ¤ stands for what differs, two values)}
PAIRS = {
    "jit of a partial": ("part = jax.jit(functools.partial(pow, ¤))", "2", "3"),
    "wraps a library's": (
        """
@functools.wraps(optax.adamw)
def part(rate): return optax.adamw(rate, weight_decay=¤)
""",
        "0.1",
        "0.9",
    ),
    "remat": (
        """
class A(nn.Module):
    @nn.compact
    def __call__(self, x): return nn.Dense(¤)(x)
part = nn.remat(A)()
""",
        "4",
        "8",
    ),
    "make_dataclass": (
        "part = dataclasses.make_dataclass('M', ['a'], namespace={'__call__': lambda self, r: r * ¤})(1)",
        "2",
        "3",
    ),
    "a class's attribute called name": (
        """
class A:
    name = ¤
    def __call__(self): return self.name
part = A()
""",
        "1",
        "2",
    ),
    "an update that is none": (
        """
TX = {'a': optax.sgd(¤)}
def part(g, s): return TX['a'].update(g, s)
""",
        "1.0",
        "3.0",
    ),
    "a copy that is changed": (
        """
W = [1.0, ¤]
def part(): return W.copy().pop()
""",
        "1.0",
        "3.0",
    ),
    "a defaultdict's factory": (
        """
D = collections.defaultdict(lambda: ¤)
def part(): return D['x']
""",
        "1",
        "2",
    ),
    "a subclass of dict": (
        """
class D(dict):
    def __getitem__(self, k): return ¤
d = D()
def part(): return d['x']
""",
        "1",
        "2",
    ),
    "the order of a dict": (
        """
D = {¤}
def part(): return list(D)
""",
        "'a': 1, 'b': 2",
        "'b': 2, 'a': 1",
    ),
    "the order of fields": (
        """
C = collections.namedtuple('C', '¤')
c = C(1, 2)
def part(): return c.a
""",
        "a b",
        "b a",
    ),
    "InitVar": (
        """
@dataclasses.dataclass
class P:
    mu: dataclasses.InitVar[float]
    def __post_init__(self, mu): self.m = mu
part = P(¤)
""",
        "1.0",
        "2.0",
    ),
    "a function's attribute": (
        """
def part(): return part.scale
part.scale = ¤
""",
        "1",
        "2",
    ),
    "a sibling's variable of the same name": (
        """
scale = ¤
def part():
    def one():
        scale = 1
        def two():
            nonlocal scale
            scale = 2
        return two
    return one, (lambda: scale)
def part2(): return scale
part = (part, part2)
""",
        "1",
        "2",
    ),
    "a pattern": (
        """
HEAD = re.compile('¤')
def part(x): return HEAD.match(x)
""",
        "a",
        "b",
    ),
    "a cached property": (
        """
class A:
    @functools.cached_property
    def x(self): return ¤
part = A()
""",
        "1",
        "2",
    ),
    "a mask": (
        """
A = np.ma.array([1, 2], mask=[0, ¤])
def part(): return A
""",
        "0",
        "1",
    ),
    "a name in a model": ("part = nn.Sequential([nn.Dense(3, name='¤')])", "query", "key"),
    "an iterator": (
        """
C = itertools.count(¤)
def part(): return C
""",
        "1",
        "2",
    ),
    "np.vectorize": ("part = np.vectorize(lambda x: x * ¤)", "1", "2"),
    "a long number": (
        """
N = 10**¤
def part(): return N
""",
        "5000",
        "5001",
    ),
    "nested deeply": (
        """
N = ¤
for _ in range(5000): N = [N]
def part(): return N
""",
        "1",
        "2",
    ),
}
# {what is tried: source of a part that writes down something when it is called}
SAME = {
    "self.n += 1": """
class A:
    n = 0
    def __call__(self): self.n += 1
part = A()
""",
    "self.log.append": """
class A:
    def __init__(self): self.log = []
    def __call__(self): self.log.append(1)
part = A()
""",
    "self.cache[k] =": """
class A:
    def __init__(self): self.cache = {}
    def __call__(self): self.cache['k'] = 1
part = A()
""",
    "appendleft": """
L = collections.deque()
def part(): L.appendleft(1)
""",
}
MODULE_USES = {
    "attribute": "def part(x): return own_layers.scaled(x)",
    "whole": "def part(x): return getattr(own_layers, 'scaled')(x)",
    "import": "def part(x):\n    from own_layers import scaled\n    return scaled(x)",
}


def made(source):
    scope = {
        "__name__": "__main__",
        **{m.__name__: m for m in (collections, dataclasses, functools, itertools, re)},
    }
    scope |= {"jax": jax, "np": np, "nn": nn, "optax": optax}
    exec(source, scope)
    return scope["part"]


@pytest.mark.parametrize("name", PAIRS)
def test_what_differs_in_one_place_is_something_else(name):
    source, *values = PAIRS[name]
    one, again, other = (identity(made(source.replace("¤", value))) for value in (values[0], *values))
    assert one == again != other
    assert comparable(one, other)


@pytest.mark.parametrize("name", SAME)
def test_what_an_object_notes_is_not_what_it_is(name):
    part = made(SAME[name])
    before = identity(part)
    part()
    assert identity(part) == before


def test_a_module_of_the_user_is_told_by_what_is_read_of_it(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    scope = {"__name__": "__main__"}
    for name in ("attribute", "whole", "import"):
        monkeypatch.delitem(sys.modules, "own_layers", raising=False)
        found = []
        for factor in (1, 1, 2):
            (tmp_path / "own_layers.py").write_text(f"def scaled(x):\n    return x * {factor}\n")
            sys.modules.pop("own_layers", None)
            importlib.invalidate_caches()
            shutil.rmtree(tmp_path / "__pycache__", ignore_errors=True)
            exec("import own_layers\n" + MODULE_USES[name], scope)
            found.append(identity(scope["part"]))
        assert found[0] == found[1] != found[2], name
