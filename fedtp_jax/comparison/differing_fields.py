"""In what several configurations differ, and how to call each of them in few words."""

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fedtp_jax.config import SimulationConfig
from fedtp_jax.config.plain import flat

NAME = ".name"
SEED = ("seed",)
# These change the order of sums at most, and what is kept on disk.
MACHINE = (
    *("engine.devices", "engine.lanes", "engine.wave_size", "engine.rows"),
    *("checkpoint.every", "checkpoint.keep"),
)
SECTIONS = [field.name for field in dataclasses.fields(SimulationConfig)]


class DifferingFields:
    """The fields in which configurations, as `to_dict` gives them, differ; in their order.

    An option counts only among those that have it from the same part: methods differ in their name, and not
    in that one has a hypernetwork and the other has none.
    """

    def __init__(self, configs: Iterable[Mapping[str, Any]], ignored: Sequence[str] = SEED) -> None:
        self._ignored = set(ignored)
        values: dict[str, dict[Any, dict[str, Any]]] = defaultdict(lambda: defaultdict(dict))
        for facts in map(self.facts, configs):
            for field, value in facts.items():
                values[field][_part(field, facts)][repr(value)] = value
        self._split = {
            field: {part for part, different in parts.items() if len(different) > 1}
            for field, parts in values.items()
        }
        found = [field for field, parts in self._split.items() if parts]
        self.fields = sorted(found, key=lambda field: SECTIONS.index(field.split(".")[0]))
        short = Counter(map(_last_word, self.fields))
        self._short = {
            field: _last_word(field) if short[_last_word(field)] == 1 else field.removesuffix(NAME)
            for field in self.fields
        }

    def facts(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """{dotted field: value} of all that counts."""
        return {name: v for name, v in flat(config).items() if name not in self._ignored}

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
            show(value) if field.endswith(NAME) and not names else f"{self.short(field)}={show(value)}"
            for field, value in values.items()
        ]


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
    return field.removesuffix(NAME).rpartition(".")[2]
