"""Wrong parts of the user's own, as a configuration names them."""

from wrong_runs import shell

MODULE = """\
import flax.linen as nn
import jax.numpy as jnp
import optax
from flax import nnx

from fedtp_jax.methods import role_method

WIDTH = 8


class Net(nn.Module):
    classes: int
    width: int = 8

    def __post_init__(self):
        super().__post_init__()
        if self.width > 100:
            raise ValueError(f"{self.width} is too wide")

    @nn.compact
    def __call__(self, x, train=False):
        return nn.Dense(self.classes, name="head")(nn.Dense(self.width)(x.reshape(len(x), -1)))


class OfNnx(nnx.Module):
    pass


net = Net(10)


def nothing(**arguments):
    return None


def heads(task, role, rate: float = 0.1):
    return role_method(task, [(role, ("head/",)), ("shared", (".",))])


def broken(task):
    return {}["rules"]


def of_me(task, of):
    return heads(task, of)


def without_task():
    return None


def pair():
    return jnp.zeros(3), jnp.zeros(3)


def lists(data, seed):
    return [[0, 1], [2, 3]]


def warm(learning_rate, steps: int = 5):
    return optax.sgd(learning_rate)


def falling(round, step=0.6):
    return 1.0 - step * round
"""
BAD = {
    "tiny.yaml": "method: {name: fedavg}\ntraining: {rounds: 2, cohort_size: 2}\n",  # no name drops any of it
    "theirs.py": MODULE,
    "divides.py": "import json\n\nSHARE = 1 / 0\n",
    "half.py": "def net(:\n",
    "needs.py": "import no_such_package\n",
    "script.py": "import sys\n\nsys.exit(3)\n",
}
NAMES = """
method=:heads
model=theirs.Net
model=nowhere:Net
model=theirs.nets:Net
model=theirs:Nett
model=divides:Net
model=half:net
model=needs:Net
model=script:Net
model=theirs:WIDTH
model=theirs:net
model=theirs:OfNnx
model=theirs:nothing
method=theirs:Net
data=theirs:WIDTH
training.schedule=theirs:Net
training.optimizer=theirs:Net
"""
ARGUMENTS = """
model=theirs:Net
model='{name: theirs:Net, classes: 10, widht: 3}'
model='{name: theirs:Net, classes: ten}'
model='{name: theirs:Net, classes: 10, width: 1.5}'
model='{name: theirs:Net, classes: 10, width: 101}'
model='{name: theirs:Net, classes: 7}'
model='{name: theirs:nothing, day: 2020-01-01}'
method=theirs:heads
method='{name: theirs:heads, role: persnal}'
method='{name: theirs:heads, role: personal, rate: fast}'
method='{name: theirs:heads, role: personal, task: mine}'
method='{name: theirs:of_me, of: personal}'
method=theirs:without_task
method=theirs:broken
method=theirs:warm
data=theirs:pair
data='{name: theirs:pair, examples: 3}'
partition=theirs:lists
training.optimizer='{name: theirs:warm, steps: 1.5}'
training.optimizer=theirs:heads
training.schedule='{name: theirs:falling, step: 2}'
server.optimizer='{name: theirs:warm, step: 3}'
"""


def each(lines):
    return {f"`{line}`": shell(f"fedtp run tiny.yaml {line}", BAD) for line in lines.strip().splitlines()}


KINDS = {
    "Parts of your own by name (`fedtp run` with this override)": {
        **each(NAMES),
        **each(ARGUMENTS),
    }
}
