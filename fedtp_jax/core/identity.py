"""What a part made in Python is, in a text that another process can compare: code, closures and values.

A name does not tell: two lambdas, two closures of one factory and two modules of one class share theirs.
"""

import dataclasses
import dis
import functools
import hashlib
import sys
import types
from collections.abc import Iterable, Mapping, MutableMapping, MutableSequence, MutableSet
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

UNKNOWN = "unknown"
# of a class: what Python, dataclasses, Flax and abc keep there of their own
NOT_ITS_OWN = {
    *("__dict__", "__weakref__", "__doc__", "__module__", "__qualname__", "__annotations__", "__slots__"),
    *("__dataclass_fields__", "__dataclass_params__", "__match_args__", "__parameters__", "__orig_bases__"),
    *("__firstlineno__", "__static_attributes__", "__annotate__", "__annotate_func__", "__hash__", "__eq__"),
    *("__repr__", "_abc_impl", "__abstractmethods__", "_state", "_parent_ref", "scope", "parent", "name"),
}
FLAX_FIELDS = {"parent", "name"}  # where a module stands, not what it is
# a container on which a function calls one of these is its notebook, and no part of what it does
WRITES = {*("append", "extend", "insert", "add", "update", "setdefault", "pop", "popitem", "remove", "clear")}
STORES = {"STORE_SUBSCR", "DELETE_SUBSCR"}
CONTAINERS = (MutableSequence, MutableMapping, MutableSet)


def identity(value: Any) -> str:
    """A text that changes with what `value` does: "cpython-311 5d41402abc4b2a76".

    It names the Python whose bytecode it is of, if any of the user's code is in it. Installed packages enter
    by name, the user's own functions and classes by their code, with the globals that they read. An object
    with a method `fingerprint()` says itself what it is. "unknown (holds a _thread.lock)" where an object
    cannot be looked into.
    """
    look = _Look()
    try:
        digest = look.token(value).hex()[:16]
    except _Opaque as error:
        return f"{UNKNOWN} ({error})"
    return f"{sys.implementation.cache_tag} {digest}" if look.found_code else digest


def comparable(a: str, b: str) -> bool:
    """Whether two identities, where they differ, are of different things."""
    return not any(text.startswith(UNKNOWN) for text in (a, b)) and a.split()[:-1] == b.split()[:-1]


class _Opaque(Exception):
    """What cannot be looked into."""


class _Look:
    """One walk through an object and all that it holds."""

    def __init__(self) -> None:
        self.found_code = False
        self._known: dict[int, bytes] = {}  # of what is being walked too: objects may hold themselves
        self._alive: list[Any] = []  # so that no id is given twice

    def token(self, value: Any) -> bytes:
        if id(value) not in self._known:
            self._alive.append(value)
            self._known[id(value)] = _digest("again", len(self._known))
            self._known[id(value)] = self._token(value)
        return self._known[id(value)]

    def _all(self, kind: str, values: Iterable[Any]) -> bytes:
        return _digest(kind, *[self.token(value) for value in values])

    def _token(self, value: Any) -> bytes:
        if value is None or value is ... or isinstance(value, bool | int | float | complex | str | bytes):
            return _digest(type(value).__name__, repr(value))
        if not isinstance(value, type) and callable(getattr(value, "fingerprint", None)):
            return _digest("fingerprint", str(value.fingerprint()))
        if isinstance(value, jax.Array):
            key = jnp.issubdtype(value.dtype, jax.dtypes.prng_key)
            return self._array(np.asarray(jax.random.key_data(value) if key else value))
        if isinstance(value, np.ndarray | np.generic):
            return self._array(np.asarray(value))
        if isinstance(value, tuple | list):
            return self._all(type(value).__name__, value)
        if isinstance(value, set | frozenset):
            return _digest("set", *sorted(map(self.token, value)))
        if isinstance(value, Mapping):
            return _digest("mapping", *sorted(self._all("", pair) for pair in value.items()))
        if isinstance(value, types.ModuleType):
            return _digest("module", value.__name__)
        return self._code(value) or self._object(value)

    def _array(self, array: np.ndarray) -> bytes:
        if array.dtype.hasobject:
            return self._all(f"array {array.shape}", array.ravel().tolist())
        return _digest(f"array {array.dtype} {array.shape}", np.ascontiguousarray(array).tobytes())

    def _code(self, value: Any) -> bytes | None:
        """Of what is called, or describes what is."""
        if isinstance(value, types.CodeType):
            return self._bytecode(value, None)
        if isinstance(value, staticmethod | classmethod | types.MethodType):
            kind = "method" if isinstance(value, types.MethodType) else type(value).__name__
            return self._all(kind, (value.__func__, getattr(value, "__self__", None)))
        if isinstance(value, property):
            return self._all("property", (value.fget, value.fset, value.fdel))
        if isinstance(value, functools.partial):
            return self._all("partial", (value.func, value.args, value.keywords))
        if isinstance(value, types.FunctionType):
            return self._function(value)
        if isinstance(value, type):
            return self._class(value)
        if name := _library_name(value):
            return _digest("library", name)
        if wrapped := getattr(value, "__wrapped__", None):  # jax.jit and the like
            inner = {k: v for k, v in getattr(value, "__dict__", {}).items() if not k.startswith("__")}
            return self._all("wrapped", (type(value), wrapped, inner))
        return None

    def _function(self, function: types.FunctionType) -> bytes:
        code, name, scope = function.__code__, _library_name(function), function.__globals__
        cells = zip(code.co_freevars, function.__closure__ or (), strict=True)
        values = {variable: _content(cell) for variable, cell in cells}
        if not name:
            values |= {variable: scope[variable] for variable in _globals(code) if variable in scope}
        given = function.__defaults__, function.__kwdefaults__, _without_notes(code, values)
        if name:
            return self._all(name, given)
        return _digest("function", self._bytecode(code, function.__doc__), self._all("", given))

    def _bytecode(self, code: types.CodeType, doc: str | None) -> bytes:
        self.found_code = True
        consts = code.co_consts[1:] if doc is not None and code.co_consts[:1] == (doc,) else code.co_consts
        names = code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars
        return self._all("code", (code.co_code, code.co_exceptiontable, code.co_flags, *names, *consts))

    def _class(self, kind: type) -> bytes:
        if name := _library_name(kind):
            return _digest("library", name)
        own = {name: value for name, value in vars(kind).items() if name not in NOT_ITS_OWN}
        return self._all(kind.__name__, (kind.__bases__, own))

    def _object(self, value: Any) -> bytes:
        if dataclasses.is_dataclass(value):
            flax = hasattr(value, "init") and hasattr(value, "apply")
            names = {field.name for field in dataclasses.fields(value)} - (FLAX_FIELDS if flax else set())
            fields = {name: getattr(value, name) for name in names if hasattr(value, name)}
            return self._all("dataclass", (type(value), fields))
        try:
            made = value.__reduce_ex__(4)
        except Exception:  # whatever an object of the user's raises there
            raise _Opaque(f"holds a {type(value).__module__}.{type(value).__qualname__}") from None
        if isinstance(made, str):
            return _digest("named", made)
        parts = [list(part) if hasattr(part, "__next__") else part for part in made]
        return self._all("object", (type(value), *parts))


def _digest(kind: str, *parts: Any) -> bytes:
    found = hashlib.sha256(kind.encode())
    for part in parts:
        content = part if isinstance(part, bytes) else str(part).encode("utf-8", "surrogatepass")
        found.update(len(content).to_bytes(8, "little") + content)
    return found.digest()


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not assigned yet
        return None


def _globals(code: types.CodeType) -> set[str]:
    """The globals that a function reads, and the functions in it."""
    names = {i.argval for i in dis.get_instructions(code) if i.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    inner = (const for const in code.co_consts if isinstance(const, types.CodeType))
    return names.union(*map(_globals, inner))


def _without_notes(code: types.CodeType, values: Mapping[str, Any]) -> dict[str, Any]:
    """The variables that a function reads, without those that it writes to: what it keeps, not what it is."""
    set_anew, changed = _written(code)
    return {
        name: value
        for name, value in values.items()
        if name not in set_anew and not (name in changed and isinstance(value, CONTAINERS))
    }


def _written(code: types.CodeType) -> tuple[set[str], set[str]]:
    """(names that the function and those in it set anew, names whose contents they change)."""
    steps = list(dis.get_instructions(code))
    set_anew = {i.argval for i in steps if i.opname in ("STORE_GLOBAL", "STORE_DEREF")}
    changes = {
        _begin(i)
        for i in steps
        if i.opname in STORES or (i.opname in ("LOAD_ATTR", "LOAD_METHOD") and i.argval in WRITES)
    }
    loads = ("LOAD_GLOBAL", "LOAD_DEREF", "LOAD_NAME")
    changed = {i.argval for i in steps if i.opname in loads and _begin(i) in changes}
    for inner in (const for const in code.co_consts if isinstance(const, types.CodeType)):
        for found, more in zip((set_anew, changed), _written(inner), strict=True):
            found |= more
    return set_anew, changed


def _begin(step: dis.Instruction) -> Any:
    """Where its expression begins in the source; of its own where that was not kept."""
    place = step.positions
    return (place.lineno, place.col_offset) if place and place.col_offset is not None else step.offset


def _library_name(value: Any) -> str | None:
    """ "module.name" of what an installed package defines, None of anything else."""
    name = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
    module = getattr(value, "__module__", None)
    if not isinstance(name, str):
        return None
    return f"{module}.{name}" if _is_library(str(module)) else None


@functools.cache
def _is_library(module: str) -> bool:
    """Whether it is Python's, ours or installed, rather than the user's."""
    top = module.partition(".")[0]
    if top == "__main__":
        return False
    if top in sys.stdlib_module_names or top == __name__.partition(".")[0]:
        return True
    file = getattr(sys.modules.get(top), "__file__", None) or ""
    return not {"site-packages", "dist-packages"}.isdisjoint(Path(file).parts)
