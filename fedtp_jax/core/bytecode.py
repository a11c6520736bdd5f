"""What a function's bytecode reads, and where it writes: notes that it keeps are not what it is."""

import dis
import functools
import types
from collections.abc import Iterator, MutableMapping, MutableSequence, MutableSet
from typing import Any, NamedTuple

CONTAINERS = (MutableSequence, MutableMapping, MutableSet)
# a container on which a function itself calls one of these is its notebook
WRITES = {
    *("append", "appendleft", "extend", "insert", "add", "update", "setdefault", "pop", "popitem", "remove"),
    *("clear", "discard"),
}
STORES = {"STORE_SUBSCR", "DELETE_SUBSCR"}
LOADS = {"LOAD_GLOBAL": "global", "LOAD_NAME": "global", "LOAD_DEREF": "free"}
ATTRIBUTES = ("LOAD_ATTR", "LOAD_METHOD")
HAS_DOCSTRING = 0x4000000  # of Python 3.13
MAKING = ("__init__", "__new__", "__post_init__", "setup")  # what they write is what an object is made of


class Notes(NamedTuple):
    """(scope, name) of the variables that a function sets anew, and of those whose contents it changes."""

    set_anew: frozenset[tuple[str, str]]
    changed: frozenset[tuple[str, str]]

    def keeps(self, scope: str, name: str, value: Any) -> bool:
        """Whether a variable ("global" or "free") is where the function keeps something."""
        place = scope, name
        return place in self.set_anew or (place in self.changed and isinstance(value, CONTAINERS))


def cells(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    """(name, cell) of the variables that a function closes over."""
    return zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)


def without_docstring(code: types.CodeType) -> tuple[Any, ...]:
    """Its constants but for its documentation."""
    named = code.co_name[:1] != "<"  # a lambda or a comprehension has none
    first = code.co_consts[:1]
    if named and first and isinstance(first[0], str):
        return code.co_consts[1:]
    return code.co_consts


def globals_read(code: types.CodeType) -> set[str]:
    """Names of the globals that a function reads, or those in it."""
    return {i.argval for each in _all(code) for i in _steps(each) if i.opname in ("LOAD_GLOBAL", "LOAD_NAME")}


def attributes_read(code: types.CodeType, name: str) -> set[str] | None:
    """What is read of the global `name`, "a" of name.a; None where it is used as it stands."""
    found = set()
    for each in _all(code):
        steps = _steps(each)
        for step, after in zip(steps, [*steps[1:], None], strict=True):
            if step.opname in ("LOAD_GLOBAL", "LOAD_NAME") and step.argval == name:
                if after is None or after.opname not in ATTRIBUTES:
                    return None
                found.add(after.argval)
    return found


def imports(code: types.CodeType) -> set[str]:
    """Names of the modules that a function imports when it is called."""
    return {i.argval for each in _all(code) for i in _steps(each) if i.opname == "IMPORT_NAME"}


@functools.cache
def notes(code: types.CodeType) -> Notes:
    """Where a function, or one in it, writes outside of itself."""
    steps = _steps(code)
    set_anew = {("global", i.argval) for i in steps if i.opname == "STORE_GLOBAL"}
    set_anew |= {("free", i.argval) for i in steps if i.opname == "STORE_DEREF"}
    stored = {_begin(i) for i in steps if i.opname in STORES}
    changed = {
        (LOADS[step.opname], step.argval)
        for step, after in zip(steps, [*steps[1:], None], strict=True)
        if step.opname in LOADS and (_begin(step) in stored or _writes(after))
    }
    for inner in (const for const in code.co_consts if isinstance(const, types.CodeType)):
        below = notes(inner)
        set_anew |= below.set_anew
        changed |= below.changed
    outside = {("free", name) for name in code.co_freevars}
    return Notes(
        *(frozenset(p for p in found if p[0] == "global" or p in outside) for found in (set_anew, changed))
    )


def notes_of_methods(kind: type) -> set[str]:
    """Attributes that a class's methods write once an object is made."""
    found: set[str] = set()
    for name, method in vars(kind).items():
        if isinstance(method, types.FunctionType) and name not in MAKING and method.__code__.co_argcount:
            found |= _attributes_written(method.__code__)
    return found


def _attributes_written(code: types.CodeType) -> set[str]:
    """x of self.x = ..., self.x.append(...) and self.x[k] = ..."""
    me, steps = code.co_varnames[0], _steps(code)
    stored = {_begin(i) for i in steps if i.opname in STORES}
    found = set()
    for step, after, then in zip(steps, [*steps[1:], None], [*steps[2:], None, None], strict=True):
        if _loads_last(step, me) and after is not None:
            changed = after.opname in ATTRIBUTES and (_begin(after) in stored or _writes(then))
            if changed or after.opname == "STORE_ATTR":
                found.add(after.argval)
    # an augmented assignment loads the object, copies it, and stores last
    begins = {_begin(i) for i in steps if _loads_last(i, me)}
    return found | {i.argval for i in steps if i.opname == "STORE_ATTR" and _begin(i) in begins}


def _loads_last(step: dis.Instruction, name: str) -> bool:
    """Whether it loads a local variable, be it the second of two (Python 3.13)."""
    if not step.opname.startswith("LOAD_FAST"):
        return False
    return bool((step.argval[-1] if isinstance(step.argval, tuple) else step.argval) == name)


def _writes(step: dis.Instruction | None) -> bool:
    return step is not None and step.opname in ATTRIBUTES and step.argval in WRITES


def _all(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            yield from _all(const)


@functools.cache
def _steps(code: types.CodeType) -> list[dis.Instruction]:
    return list(dis.get_instructions(code))


def _begin(step: dis.Instruction) -> Any:
    """Where its expression begins in the source; of its own where that was not kept."""
    place = step.positions
    return (place.lineno, place.col_offset) if place and place.col_offset is not None else step.offset
