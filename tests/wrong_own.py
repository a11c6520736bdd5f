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
RULES = """\
from fedtp_jax.methods import local_training, role_method


def heads(task, **parts):
    return role_method(task, [("personal", ("head/",)), ("shared", (".",))], **parts)


def of_work(task, **parts):
    method = heads(task)
    return method._replace(work=method.work._replace(**parts))


def two_results(task):
    return of_work(task, step=local_training(task, heads(task).roles).step)


def no_upload(task):
    def finish(shared, row, carry):
        upload, kept = heads(task).work.finish(shared, row, carry)
        return upload._replace(shared={}), kept

    return of_work(task, finish=finish)


def no_rows(task):
    def finish(shared, row, carry):
        upload, kept = heads(task).work.finish(shared, row, carry)
        return upload, kept._replace(personal={})

    return of_work(task, finish=finish)


def swapped(task):
    return of_work(task, finish=lambda *given: heads(task).work.finish(*given)[::-1])


def leaves_alone(task):
    return heads(task)._replace(aggregate=lambda state, upload, gradient: upload.shared)


def one_row(task):
    method = heads(task)

    def init(key, ids):
        state = method.init(key, ids)
        return state._replace(rows={path: row[0] for path, row in state.rows.items()})

    return method._replace(init=init)


def each_loss(task):
    return heads(task, objective=lambda task, output, leaves, shared, row, batch: output.logits.sum(-1))


def misspelt(task):
    return heads(task)._replace(only_training=("params/haed/",))


def unfinished(task):
    def step(shared, row, carry, batch, key):
        return row.leaves["own/rate"]

    return of_work(task, step=step)


def no_head(task):
    def step(shared, row, carry, batch, key):
        task.forward(shared, batch.x, batch.mask, key)
        return carry

    return of_work(task, step=step)
"""
BAD = {
    "tiny.yaml": "method: {name: fedavg}\ntraining: {rounds: 2, cohort_size: 2}\n",  # no name drops any of it
    "theirs.py": MODULE,
    "rules.py": RULES,
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
METHODS = """
method=rules
method=rules:two_results
method=rules:no_upload
method=rules:no_rows
method=rules:swapped
method=rules:leaves_alone
method=rules:one_row
method=rules:each_loss
method=rules:misspelt
method=rules:unfinished
method=rules:no_head
"""


def each(lines):
    return {f"`{line}`": shell(f"fedtp run tiny.yaml {line}", BAD) for line in lines.strip().splitlines()}


KINDS = {
    "Parts of your own by name (`fedtp run` with this override)": {
        **each(NAMES),
        **each(ARGUMENTS),
        **each(METHODS),
    }
}
