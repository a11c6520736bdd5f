"""Rows and columns of a comparison: which runs share a cell, and what it is called."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fedtp_jax.comparison.compared_run import ComparedRun
from fedtp_jax.comparison.differing_fields import IDENTITY, MACHINE, NAME, SEED, DifferingFields

METHOD, ROUNDS = "method.name", "training.rounds"
# sections that say what is solved, and how it is measured
OF_METHODS = "evaluation.knn.", "evaluation.adapt."  # rather than of how these are measured
TASK = ("data", "partition", "evaluation", "compat")
NAMED = "name"
Place = tuple[str, str]


class CrossTab:
    """Lays runs out by the fields in which they differ, their seeds and machines aside.

    Rows are methods or, where there is but one, the first other field that differs. Options of the method
    belong to the row, and so does what never varies within a row, such as a learning rate that each method
    has for itself. What says which task is solved, and for how long, is always a column.

    Args:
      found: the runs, each with its row's name, or None for rows by the fields.
      alone: what the column is called if there is but one.

    Attributes:
      corner: what the rows are. rows, columns: their names, in order.
      cells: {(row, column): runs that differ in their seed alone}. fields: {(row, column): {field: value}}.
      alike: notes of what is called alike and is not.
      twins: what was left out, because another run has the same configuration and seed.
    """

    def __init__(self, found: Sequence[tuple[str | None, ComparedRun]], alone: str) -> None:
        self._alone = alone
        self._differing = DifferingFields([run.config for _, run in found], (*SEED, *MACHINE))
        named = found[0][0] is not None
        self._row_fields = [] if named else _leading(self._differing.fields)
        self._column_fields = self._columns_of(found)
        if not named:
            rest = [field for field in self._differing.fields if field not in self._column_fields]
            self._row_fields = [*dict.fromkeys([*self._row_fields, *rest])]
        self.corner = "" if named else self._differing.short(self._row_fields[0])
        self.cells: dict[Place, list[ComparedRun]] = {}
        self.fields: dict[Place, dict[str, Any]] = {}
        self.twins: list[str] = []
        for name, run in found:
            self._add(name, run)
        self.alike = self._differing.alike()
        self.rows = [*dict.fromkeys(row for row, _ in self.fields)]  # as they came
        self.columns = self._columns_in_order()

    def _columns_of(self, found: Sequence[tuple[str | None, ComparedRun]]) -> list[str]:
        """The fields that make columns."""
        values: dict[Any, dict[str, set[str]]] = {}
        for name, run in found:
            row = values.setdefault((name, repr(self._of(run, self._row_fields))), {})
            for field, value in self._differing.facts(run.config).items():
                row.setdefault(field, set()).add(repr(value))
        return [
            field
            for field in self._differing.fields
            if field not in self._row_fields
            and (is_task(field) or any(len(row.get(field, ())) > 1 for row in values.values()))
        ]

    def _of(self, run: ComparedRun, fields: Iterable[str]) -> dict[str, Any]:
        """The run's values of those of `fields` that tell it from others; the method's name in any case."""
        own, facts = self._differing.of(run.config), self._differing.facts(run.config)
        return {field: facts[field] for field in fields if field in own or field == METHOD}

    def _add(self, name: str | None, run: ComparedRun) -> None:
        row, column = self._of(run, self._row_fields), self._of(run, self._column_fields)
        label = name
        if label is None:
            label = self._label(row)
        place = label, ", ".join(self._differing.words(column, names=False)) or self._alone
        own = ({} if name is None else {NAMED: name}) | row | column
        while self.fields.setdefault(place, own) != own:  # other fields of the same words
            place = f"{place[0]}'", place[1]
        cell = self.cells.setdefault(place, [])
        if twin := next((o for o in cell if o.seed == run.seed), None):
            self.twins.append(f"{run.where} (configuration and seed of {twin.where})")
            return
        cell.append(run)

    def _label(self, row: Mapping[str, Any]) -> str:
        """What a row is called: its first field, then the others; of an own part not its bare name too."""
        (field, lead), *options = row.items()
        words = self._differing.words(dict(options), names=False)
        if field.removesuffix(NAME) + IDENTITY not in dict(options):
            words = [self._differing.value(field, lead), *words]
        return ", ".join(words)

    def _columns_in_order(self) -> list[str]:
        """The columns' names: numbers by size, anything else as it came."""
        fields = self._column_fields
        keys = {column: [values.get(f) for f in fields] for (_, column), values in self.fields.items()}
        came = {repr(value): k for k, value in enumerate(v for key in keys.values() for v in key)}

        def rank(name: str) -> list[tuple[int, float]]:
            return [
                (0, value) if isinstance(value, int | float) else (1, came[repr(value)])
                for value in keys[name]
            ]

        return sorted(keys, key=rank)

    def long_form(self, numbers: Mapping[Place, Mapping[str, Any]]) -> list[dict[str, Any]]:
        """A row per cell: its fields, and its numbers."""
        places = [(row, column) for column in self.columns for row in self.rows if (row, column) in numbers]
        names = [*dict.fromkeys(field for place in places for field in self.fields[place])]
        return [
            {name: self._plain(name, self.fields[place].get(name)) for name in names} | dict(numbers[place])
            for place in places
        ]

    def _plain(self, field: str, value: Any) -> Any:
        """A field's value as a table holds it."""
        if value is not None and (field.endswith(IDENTITY) or isinstance(value, list | tuple)):
            return self._differing.value(field, value)
        return value


def is_task(field: str) -> bool:
    """Whether runs that differ in `field` solve different tasks, or are measured in another way."""
    return field == ROUNDS or (field.split(".")[0] in TASK and not field.startswith(OF_METHODS))


def _leading(fields: Sequence[str]) -> list[str]:
    """The fields that make rows before any other."""
    options = [field for field in fields if field.startswith("method.")]
    if METHOD in fields:
        return options
    chosen = options or [field for field in fields if not is_task(field)][:1] or [*fields[:1]]
    return chosen or [METHOD]
