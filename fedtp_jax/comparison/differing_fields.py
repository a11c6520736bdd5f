"""In what several configurations differ, and how to call each of them in few words."""

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fedtp_jax.config import UPLOADS, SimulationConfig
from fedtp_jax.config.places import PLACES
from fedtp_jax.config.plain import flat
from fedtp_jax.core.identity import UNKNOWN

NAME, OF, IDENTITY = ".name", ".of", ".identity"
SEED = ("seed",)
DIGITS = 16  # of an identity
# These change the order of sums at most, what is measured besides, and what is kept on disk.
MACHINE = (
    *("evaluation.metrics", "evaluation.clients_history"),
    *("engine.devices", "engine.lanes", "engine.wave_size", "engine.rows"),
    *("checkpoint.every", "checkpoint.keep", "checkpoint.best"),
)
SECTIONS = [*(field.name for field in dataclasses.fields(SimulationConfig)), "init"]


class DifferingFields:
    """The fields in which configurations, as `to_dict` gives them, differ; in their order.

    An option counts only among those that have it from the same part: methods differ in their name, and not
    in that one has a hypernetwork and the other has none.
    """

    def __init__(self, configs: Iterable[Mapping[str, Any]], ignored: Sequence[str] = SEED) -> None:
        self._ignored = set(ignored)
        values: dict[str, dict[Any, dict[str, Any]]] = defaultdict(lambda: defaultdict(dict))
        self._called: dict[str, dict[str, str]] = defaultdict(dict)  # {field: {identity: what it is called}}
        for config in configs:
            facts, texts = self.facts(config), flat(config)
            for field, value in facts.items():
                if field.endswith(IDENTITY):
                    part = field.removesuffix(IDENTITY)
                    self._called[field][value] = str(texts.get(part + OF, texts.get(part + NAME, "")))
                values[field][_part(field, facts)][repr(value)] = value
        self._split = {
            field: {part for part, different in parts.items() if len(different) > 1}
            for field, parts in values.items()
        }
        found = [field for field, parts in self._split.items() if parts]
        self.fields = sorted(found, key=lambda field: SECTIONS.index(field.split(".")[0]))
        short = Counter(map(_last_word, self.fields))
        self._short = {
            field: _last_word(field) if short[_last_word(field)] == 1 else _of_part(field)
            for field in self.fields
        }

    def facts(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """{dotted field: value} of all that counts; what a file holds does, not where it lies."""
        found = flat({**config, "upload": steps_in_words(config.get("upload", []))})
        told = {name.removesuffix(IDENTITY) for name in found if name.endswith(IDENTITY)}
        left_out = self._ignored.union(place for place in PLACES if place.rpartition(".")[0] in told)
        inside = tuple(f"{name}." for name in left_out)
        counts = {name: v for name, v in found.items() if name not in left_out and not name.endswith(OF)}
        return {name: v for name, v in counts.items() if not name.startswith(inside)}

    def of(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """{dotted field: value} that tell `config` from the others."""
        facts = self.facts(config)
        return {
            field: facts[field]
            for field in self.fields
            if field in facts and _part(field, facts) in self._split[field]
        }

    def short(self, field: str) -> str:
        """The field's last word, "method" for method.name; all of it where two would be called the same."""
        return self._short.get(field, _last_word(field))

    def words(self, values: Mapping[str, Any], names: bool = True) -> list[str]:
        """ "alpha=0.3" for each; with `names` False a part's name stands for itself, "dirichlet"."""
        return [
            self.value(field, value)
            if field.endswith((NAME, IDENTITY)) and not names
            else f"{self.short(field)}={self.value(field, value)}"
            for field, value in values.items()
            if names or not field.endswith(NAME) or field.removesuffix(NAME) + IDENTITY not in values
        ]

    def value(self, field: str, value: Any) -> str:
        """A field's value as `show` has it; of an identity what it is called, with digits if it must be."""
        if not field.endswith(IDENTITY):
            return show(value)
        of = self._called[field][value]
        alone = sum(other == of for other in self._called[field].values()) == 1
        last = value.split()[-1]
        return of if alone and of else f"{of} {last[:6] if len(last) == DIGITS else last}".strip()

    def alike(self) -> list[str]:
        """A note for what is called alike and is not."""
        notes = []
        for field in (field for field in self.fields if field.endswith(IDENTITY)):
            called = self._called[field]
            twice = [value for value in called if [*called.values()].count(called[value]) > 1]
            if twice := [value for value in twice if not value.startswith(UNKNOWN)]:
                names = ", ".join(self.value(field, value) for value in twice)
                known = len({value.split()[0] for value in twice if " " in value}) < 2
                why = "their contents, code or values differ" if known else "bytecode of different Pythons"
                notes.append(f"Kept apart though called alike, {why}: {names}.")
        return notes


def steps_in_words(steps: Sequence[Mapping[str, Any]]) -> str:
    """Of an upload: "clip(norm=0.5) + top_k", with what is not its default; "none" of none."""

    def words(step: Mapping[str, Any]) -> str:
        default = UPLOADS[step["name"]]()
        own = [f"{k}={show(v)}" for k, v in step.items() if k != "name" and v != getattr(default, k, None)]
        return str(step["name"]) + (f"({', '.join(own)})" if own else "")

    return " + ".join(map(words, steps)) or "none"


def show(value: Any) -> str:
    """A field's value as a configuration would have it, without brackets."""
    if value is None or isinstance(value, bool):
        return {None: "none", True: "true", False: "false"}[value]
    if isinstance(value, list | tuple):
        return "+".join(map(show, value)) or "none"
    return str(value)


def _part(field: str, facts: Mapping[str, Any]) -> tuple[str, Any] | None:
    """The innermost part that is chosen by name and that `field` is an option of, with its name."""
    words = field.removesuffix(NAME).split(".")
    for depth in range(len(words) - 1, 0, -1):
        name = ".".join(words[:depth]) + NAME
        if name in facts:
            return name, facts[name]
    return None


def _last_word(field: str) -> str:
    return _of_part(field).rpartition(".")[2]


def _of_part(field: str) -> str:
    """The field, or the part of which it is name or identity."""
    return field.removesuffix(NAME).removesuffix(IDENTITY)
