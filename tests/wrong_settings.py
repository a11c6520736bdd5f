"""Wrong settings: single fields, fields that do not go together, files that are no configuration."""

import shlex
from pathlib import Path

from fedtp_jax import load_config, simulate

TINY = """\
partition: {name: pathological, clients: 6, classes_per_client: 2}
model: {name: vit, patch_size: 4, dim: 8, depth: 1, heads: 2, dim_head: 4, mlp_dim: 8}
method: {name: fedtp, hypernetwork: {embedding: 4, hidden: 6, layers: 1}}
training: {rounds: 2, cohort_size: 3, learning_rate: 0.1}
checkpoint: {every: 1}
"""


def write(files):
    """Write {name: content}; a content may be a function that makes it."""
    for name, content in files.items():
        content = content() if callable(content) else content
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(content.encode() if isinstance(content, str) else content)


def given(overrides, files=None):
    """A run of TINY with these overrides, beside these files."""

    def case():
        write({"tiny.yaml": TINY, **(files or {})})
        return lambda: simulate(load_config("tiny.yaml", shlex.split(overrides)), out="run")

    return case


def each(lines):
    """A case for each line of overrides."""
    return {f"`{line}`": given(line) for line in lines.strip().splitlines()}


def file(content):
    """A run of a configuration file that holds `content`."""

    def case():
        write({"x.yaml": content})
        return lambda: simulate(load_config("x.yaml"), out="run")

    return case


def laughs(first, again):
    """Nine lines of YAML, each of which repeats the one above nine times."""
    lines = [f"&a0 {first}", *(f"&a{n} {again.format(', '.join([f'*a{n - 1}'] * 9))}" for n in range(1, 9))]
    return "\n".join(f"l{n}: {line}" for n, line in enumerate(lines))


FIELDS = """
trainin.rounds=3
training.round=3
rounds=3
training.lr=0.1
training=7
training.rounds
seed=-1
seed=2147483648
seed=
seed=2020-01-01
seed.x=1
compat=papers
data=5
data=digit
data.window=3
'data={name: npz, file: 3}'
'data={name: shakespeare, class_weights: 1}'
'partition={name: [iid]}'
partition.clients=10000000000000000000000000000000
partition.beta=3
partition.validation=1
'partition={name: dirichlet, alpha: 0}'
model=resnet
model.dropout=1
model.heads=8.0
model.kernels=3
method.name=fedtpp
method.name='[fedtp]'
method.mu=2
method.personal='[3]'
method.hypernetwork=150
method.hypernetwork.hiden=2
method.hypernetwork.rank=4
'method={name: fedproto, weight: .inf}'
'method={name: fedamp, sigma: 0}'
'method={name: fedpac, head_learning_rate: 0}'
training.rounds=x
training.rounds=2.5
training.rounds=true
training.rounds=0
training.learning_rate=-1
training.learning_rate=nan
training.learning_rate=1e400
training.momentum=1
training.optimizer='[adam]'
training.optimizer.momentum=fast
model.adapter=8
model.adapter.size=0
training.optimizer.momentun=0.5
training.schedule=warm
training.schedule=3
training.warmup_rounds=-1
training.warmup_rounds=0.1
'training.schedule={name: cosine, decay: 1}'
training.participation.dropout=1
training.participation.sampling=importance
training.participation.cohorts=[]
'training.participation.cohorts=[[0, 1], []]'
'training.participation.cohorts=[0, 1]'
'training.participation.cohorts=[[0, 6]]'
'training.participation.cohorts=[[0], [north]]'
'training.participation.cohorts=[[0], [1, 1]]'
training.stop.metric=test_accuracy
training.stop.patience=0
server.learning_rate=0
server.weighting=samples
evaluation.knn=0.5
evaluation.knn.weight=2
evaluation.metrics=f1
evaluation.metrics=3
'evaluation.metrics=[ece, ece]'
'evaluation.metrics=[{name: brier, of: brier, identity: 3f2a}]'
evaluation.clients_history=often
evaluation.adapt=5
evaluation.adapt.epochs=0
evaluation.adapt.epoch=5
evaluation.adapt.learning_rate=0
evaluation.adapt.leaves=3
engine.devices=0
engine.devices=64
engine.lanes=many
engine.precision=float64
engine.attention=flash
checkpoint.keep=0
checkpoint.best=test_accuracy
"""

TOGETHER = """
training.cohort_size=99
training.held_out=4
training.held_out=6
training.local_steps=5 training.local_epochs=2
training.participation.minimum=4
training.participation.over_selection=2.5
training.participation.over_selection=1.5 training.participation.sampling=poisson
training.participation.minimum=3 'training.participation.cohorts=[[0, 1], [2]]'
training.held_out=3 'training.participation.cohorts=[[0, 1, 2, 3, 4, 5]]'
training.cohort_size=99 training.participation.sampling=with_replacement
engine.attention=fused
'partition={name: file}'
data.name=npz
data=arrays
partition=natural
method.personal='["(^|/)(query|key|value)/kernel$"]'
method.generated='[atention]'
method.generated='[]'
method.generated='["("]'
model.patch_size=3
model=cnn
model=lstm method=fedavg
method=pfedme training.role_learning_rates.shared=0.1
method=scaffold
method=scaffold training.optimizer=sgd training.role_learning_rates.shared=0.1
method=ditto training.role_learning_rates.shared=0.1
method=fedperfix
method=fedperfix model=lstm
method=fedala training.role_learning_rates.shared=0.1
method=fedala method.personal='[]'
method=fedrep
method=fedrep training.local_steps=5
method=fedpac
method=fedpac training.cohort_size=1 training.local_epochs=2
method=fedpac training.local_steps=5
method=fedpac training.local_epochs=2 training.role_learning_rates.personal=0.1
method=fedamp server.optimizer=adam
method=fedbabu method.fixed='[.]'
method=fedper method.fixed='[head]'
method.fixed='["(^|/)(query|key|value)/kernel$"]'
method=fedavg training.role_learning_rates.personal=0.5
method=local server.optimizer=adam
evaluation.clients=7
evaluation.clients='[]'
evaluation.clients='[0, 9]'
evaluation.clients='[0, 0]'
evaluation.clients='[0, north]'
training.held_out=3 evaluation.clients='[0, 1, 2, 3]'
evaluation.adapt.epochs=2 evaluation.adapt.steps=5
evaluation.adapt.steps=5 evaluation.knn.weight=0.5
evaluation.fit=true evaluation.knn.weight=0.5
evaluation.fit=much
evaluation.adapt.steps=5 evaluation.adapt.leaves='[haed/]'
method=fedala evaluation.adapt.steps=5 evaluation.adapt.leaves='[local/]'
method=fedrep method.personal='[.]' training.local_epochs=2
method=fedpac training.cohort_size=1 training.local_epochs=2
method=pefll method.hypernetwork.embedding=1
evaluation.adapt.steps=5 evaluation.adapt.leaves='["("]'
evaluation.adapt.steps=5 evaluation.adapt.leaves='[]'
'partition={name: dirichlet, clients: 400}'
'partition={name: pathological, classes_per_client: 11}'
training.stop.patience=3
checkpoint.best=val_accuracy
checkpoint.best=val_f1_macro partition.validation=0.2
training.stop='{patience: 2, metric: val_ece_client_mean}' partition.validation=0.2 evaluation.metrics=top5
'partition={name: iid, clients: 1439}'
'partition={name: iid, clients: 1438, validation: 0.5}'
'partition={name: sampled, train_examples: 1439}'
'partition={name: noniid-labeluni, clients: 7}'
partition=superclass
"""

FILES = {
    "no such file": lambda: lambda: load_config("none.yaml"),
    "a folder in place of the file": lambda: lambda: load_config("."),
    "bytes of an image": file(b"\x89PNG\r\n\x1a\n"),
    "Latin-1": file("# Ærø".encode("latin-1")),
    "UTF-16": file("seed: 1".encode("utf-16-le") + b"\xff\xfe"),
    "a zero byte": file("seed: 1\0"),
    "a list": file("- a"),
    "a bracket left open": file("training: {rounds: 5"),
    "a tab": file("training:\n\trounds: 3"),
    "two documents": file("seed: 1\n---\nseed: 2"),
    "a key twice": file("seed: 1\nseed: 2"),
    "a key twice in a section": file("training: {rounds: 1, rounds: 2}"),
    "a list as a key": file("{[1]: 2}"),
    "a number as a key": file("3: 4"),
    "an alias of nothing": file("seed: *x"),
    "brackets 5,000 deep": file("[" * 5000),
    "a whole number of 5,000 digits": file("seed: " + "9" * 5000),
    "the 45th of a 13th month": file("seed: 2020-13-45"),
    "a number that is tagged as a truth": file("seed: !!bool 2"),
    "lists that repeat each other to 9^9 values": file(laughs("[x, x, x, x, x, x, x, x, x]", "[{}]")),
    "sections that repeat each other to 9^9 values": file(laughs("{x: 1}", "{{<<: [{}]}}")),
    "a tag that would make a folder": file("seed: !!python/object/apply:os.mkdir [was_run]"),
}

KINDS = {
    "One setting (a run of a tiny configuration with this override)": each(FIELDS),
    "Settings that do not go together": each(TOGETHER),
    "Configuration files": FILES,
}
