"""YAML as configurations and sweeps are written in: plain values, each key once, no tags, no bombs."""

import itertools
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from fedtp_jax.config.convert import show
from fedtp_jax.core.errors import UserError, in_one_line

MOST_VALUES = 10_000  # in a file


def read_yaml(path: Path, example: str) -> dict[str, Any]:
    """The sections in a YAML file, none if it is empty; `example` is one for the message to who has none."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(
            f"{path}: there is no such configuration file; give the path of a .yaml file"
        ) from None
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}: no UTF-8 text (byte {error.start + 1} is {error.object[error.start]:#04x}); "
            "give a .yaml file, saved as UTF-8"
        ) from None
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path}: cannot be read ({in_one_line(error)}); give the path of a .yaml file"
        ) from None
    try:
        tree = parse_yaml(text)
    except ValueError as error:
        raise UserError(f"{path}: no valid YAML ({error}); mend it") from None
    if tree is None:
        tree = {}
    if not isinstance(tree, dict):
        raise UserError(f"{path}: expected sections such as '{example}', got {show(tree)}")
    return tree


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses bombs, and a key given twice, of which plain YAML silently takes the last."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._sizes: dict[yaml.Node, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """A node, counted with all that its aliases repeat: a short text can name billions of values."""
        node = super().compose_node(parent, index)
        if isinstance(node, yaml.CollectionNode):
            parts = itertools.chain(*node.value) if isinstance(node, yaml.MappingNode) else node.value
            self._sizes[node] = 1 + sum(self._sizes.get(part, 1) for part in parts)
            if self._sizes[node] > MOST_VALUES:
                raise _wrong(node, f"more than {MOST_VALUES} values, aliases counted")
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, AttributeError):  # of dates and numbers that are none
            raise _wrong(node, f"{show(node.value)} is no {node.tag.rpartition(':')[2]}") from None

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise _wrong(key_node, "a key that is a list or a section")
            if key in seen:
                raise _wrong(key_node, f"the key {key!r} stands twice in one section")
            seen.add(key)
        return super().construct_mapping(node, deep)


def _wrong(node: yaml.Node, problem: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)


def _refuse_tag(loader: yaml.SafeLoader, node: yaml.Node) -> Any:
    raise _wrong(node, f"the tag {node.tag!r} is for no configuration")


_Loader.add_constructor(None, _refuse_tag)


def parse_yaml(text: str) -> Any:
    """What a YAML text says; ValueError with its place and one line where it is none."""
    try:
        return yaml.load(text, _Loader)
    except yaml.reader.ReaderError as error:
        raise ValueError(f"character {error.position + 1} is {chr(error.character)!r}") from None
    except yaml.MarkedYAMLError as error:
        problem = error.problem or ""
        words = f"{error.context} {problem}" if problem.startswith("but ") else problem
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ValueError(where + words) from None
    except RecursionError:
        raise ValueError("nested too deeply") from None
