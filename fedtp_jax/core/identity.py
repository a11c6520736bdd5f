"""What a part made in Python is, in a text that another process can compare: code, closures and values.

A name does not tell: two lambdas, two closures of one factory and two modules of one class share theirs. A
part is a graph of all that it holds (objects may hold themselves); its nodes' digests take up those of their
children round by round (Weisfeiler and Leman's refinement), and the part's is made of them all.
"""

import copyreg
import functools
import hashlib
import inspect
import itertools
import secrets
import sys
import types
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fedtp_jax.core import bytecode
from fedtp_jax.core.origin import defined, is_jax_array, is_library, of_flax

UNKNOWN = "unknown"
ROUNDS = 16  # of refinement: children so far below change what is above them
SCALARS = (bool, int, float, complex, str, bytes, type(None), types.EllipsisType)
# of a class: what Python and its own tools keep there
NOT_ITS_OWN = {
    *("__dict__", "__weakref__", "__doc__", "__module__", "__qualname__", "__annotations__", "__slots__"),
    *("__dataclass_fields__", "__dataclass_params__", "__match_args__", "__parameters__", "__orig_bases__"),
    *("__firstlineno__", "__static_attributes__", "__annotate__", "__annotate_func__", "__hash__", "__eq__"),
    *("__repr__", "_abc_impl", "__abstractmethods__"),
}
FLAX_KEEPS = {"_state", "_parent_ref", "_id", "scope", "parent", "name"}  # in its modules: where they stand
_process = secrets.token_hex(4)
_opaque: list[Any] = []  # kept alive, so that no id is given twice


def identity(value: Any) -> str:
    """A text that changes with what `value` does: "cpython-311 5d41402abc4b2a76".

    It names the Python whose bytecode it is of, if any of the user's code is in it. Installed packages enter
    by name, the user's own functions and classes by their code, with the globals and modules that they read.
    An object with a method `fingerprint()` says itself what it is. "unknown (holds a _thread.lock) 3f2a-0" of
    what cannot be looked into: the last word is that object's alone.
    """
    graph = _Graph()
    try:
        digest = graph.digest(value)
    except _Opaque as error:
        number = next((n for n, known in enumerate(_opaque) if known is value), len(_opaque))
        if number == len(_opaque):
            _opaque.append(value)
        return f"{UNKNOWN} ({error}) {_process}-{number}"
    return f"{sys.implementation.cache_tag} {digest}" if graph.found_code else digest


def comparable(a: str, b: str) -> bool:
    """Whether two identities, where they differ, are of different things."""
    if any(text.startswith(UNKNOWN) for text in (a, b)):
        return False
    return " " not in a or " " not in b or a.split()[0] == b.split()[0]


class _Opaque(Exception):
    """What cannot be looked into."""


class _Node(NamedTuple):
    kind: str
    children: tuple[Any, ...] = ()
    ordered: bool = True


class _Graph:
    """All that an object holds."""

    def __init__(self) -> None:
        self.found_code = False

    def digest(self, value: Any) -> str:
        """16 hex digits of the graph that begins with `value`."""
        nodes, edges = self._walk(value)
        content = [_hash(node.kind.encode("utf-8", "surrogatepass")) for node in nodes]
        now = content
        for _ in range(min(len(nodes), ROUNDS)):
            below = [[now[child] for child in children] for children in edges]
            now = [
                _hash(own, *(found if node.ordered else sorted(found)))
                for own, found, node in zip(content, below, nodes, strict=True)
            ]
        return _hash(now[0], *sorted(now)).hex()[:16]

    def _walk(self, first: Any) -> tuple[list[_Node], list[list[int]]]:
        """(nodes, the numbers of each one's children)."""
        number, nodes, edges = {id(first): 0}, list[_Node](), list[list[int]]()
        waiting = deque([first])
        alive = [first]  # so that no id is given twice
        while waiting:
            value = waiting.popleft()
            nodes.append(self._look(value))
            edges.append([])
            for child in nodes[-1].children:
                if id(child) not in number:
                    number[id(child)] = len(number)
                    waiting.append(child)
                    alive.append(child)
                edges[-1].append(number[id(child)])
        return nodes, edges

    def _look(self, value: Any) -> _Node:
        try:
            return self._plain(value) or self._told(value) or self._code(value) or self._object(value)
        except _Opaque:
            raise
        except Exception as error:  # whatever an object of the user's raises when it is asked
            raise _Opaque(f"holds a {_kind(value)}, which raises {type(error).__name__}") from None

    def _plain(self, value: Any) -> _Node | None:
        """Of numbers, texts, arrays and plain containers of these."""
        if type(value) in SCALARS:
            return _Node(_scalar(value))
        if is_jax_array(value):
            import jax  # it is loaded, where there is such a value

            if jax.numpy.issubdtype(value.dtype, jax.dtypes.prng_key):
                return _Node(f"key {value.dtype}", (np.asarray(jax.random.key_data(value)),))
            return _array(np.asarray(value))
        if isinstance(value, np.generic) or type(value) is np.ndarray:
            return _array(np.asarray(value))
        if type(value) in (list, tuple, set, frozenset):
            kind, ordered = type(value).__name__, not isinstance(value, set | frozenset)
            if ordered and all(type(entry) in SCALARS for entry in value):
                return _Node(f"{kind} {list(map(_scalar, value))}")
            return _Node(kind, tuple(value), ordered)
        if type(value) in (dict, types.MappingProxyType):
            return _Node("dict", tuple(itertools.chain(*value.items())))
        if isinstance(value, types.ModuleType):
            return self._module(value)
        return None

    def _told(self, value: Any) -> _Node | None:
        """Of an object that says itself what it is."""
        found = None if isinstance(value, type) else inspect.getattr_static(value, "fingerprint", None)
        return _Node(f"fingerprint {value.fingerprint()}") if callable(found) else None

    def _module(self, module: types.ModuleType) -> _Node:
        """By name; the user's own, of which anything may be read, by its file and those that it has read."""
        file = getattr(module, "__file__", None)
        if is_library(module.__name__) or not file:
            return _Node(f"module {module.__name__}")
        self.found_code = True
        others = (
            value
            if isinstance(value, types.ModuleType)
            else sys.modules.get(getattr(value, "__module__", ""))
            for value in vars(module).values()
        )
        used = {other.__name__: other for other in others if other and not is_library(other.__name__)}
        used.pop("__main__", None)
        return _Node(
            f"module {hashlib.sha256(Path(file).read_bytes()).hexdigest()}", tuple(used.values()), False
        )

    def _code(self, value: Any) -> _Node | None:
        """Of what is called, or describes what is."""
        if isinstance(value, types.CodeType):
            return self._bytecode(value)
        if isinstance(value, staticmethod | classmethod | types.MethodType):
            kind = "method" if isinstance(value, types.MethodType) else type(value).__name__
            return _Node(kind, (value.__func__, getattr(value, "__self__", None)))
        if isinstance(value, property):
            return _Node("property", (value.fget, value.fset, value.fdel))
        if isinstance(value, functools.cached_property):
            return _Node("cached_property", (value.func,))
        if type(value) is functools.partial:
            return _Node("partial", (value.func, value.args, value.keywords, value.__dict__))
        if isinstance(value, types.FunctionType):
            return self._function(value)
        if isinstance(value, type):
            return self._class(value)
        if isinstance(value, types.BuiltinFunctionType) and not isinstance(value.__self__, types.ModuleType):
            return _Node(f"builtin {value.__name__}", (value.__self__,))
        wrapped = getattr(value, "__wrapped__", None)
        if wrapped is not None:  # jax.jit and the like
            inner = {k: v for k, v in getattr(value, "__dict__", {}).items() if not k.startswith("__")}
            return _Node("wrapped", (type(value), wrapped, inner))
        return None

    def _function(self, function: types.FunctionType) -> _Node:
        code, scope = function.__code__, function.__globals__
        own = {name: v for name, v in vars(function).items() if name not in ("__wrapped__", "fingerprint")}
        values = {variable: _content(cell) for variable, cell in bytecode.cells(function)}
        given = [function.__defaults__, function.__kwdefaults__, own]
        notes = bytecode.notes(code)
        closed = {n: v for n, v in sorted(values.items()) if not notes.keeps("free", n, v)}
        if is_library(str(scope.get("__name__"))):
            return _Node(f"library {scope.get('__name__')}.{code.co_qualname}", (*given, closed))
        names = sorted(bytecode.globals_read(code) & scope.keys())
        read = {n: scope[n] for n in names if not notes.keeps("global", n, scope[n])}
        for name in [n for n, v in read.items() if isinstance(v, types.ModuleType)]:
            if (attributes := bytecode.attributes_read(code, name)) is not None:
                module = read.pop(name)
                read |= {f"{name}.{a}": getattr(module, a, None) for a in sorted(attributes)}
        imported = [sys.modules.get(name, name) for name in sorted(bytecode.imports(code))]
        return _Node("function", (code, *given, closed, read, imported))

    def _bytecode(self, code: types.CodeType) -> _Node:
        self.found_code = True
        names = code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars
        flags = code.co_flags & ~bytecode.HAS_DOCSTRING
        consts = bytecode.without_docstring(code)
        return _Node("code", (code.co_code, code.co_exceptiontable, flags, *names, *consts))

    def _class(self, kind: type) -> _Node:
        name = f"{kind.__module__}.{kind.__qualname__}"
        made_here = any(isinstance(v, types.FunctionType) for v in vars(kind).values())
        if is_library(kind.__module__) and (not made_here or defined(kind) is kind):
            return _Node(f"library {name}", () if defined(kind) is kind else kind.__bases__)
        left_out = NOT_ITS_OWN | (FLAX_KEEPS if of_flax(kind) else set())
        own = {name: value for name, value in vars(kind).items() if name not in left_out}
        return _Node(f"class {kind.__name__}", (kind.__bases__, own))

    def _object(self, value: Any) -> _Node:
        kind = type(value)
        if of_flax(kind) and hasattr(value, "__dataclass_fields__"):
            names = [name for name in value.__dataclass_fields__ if name not in FLAX_KEEPS - {"name"}]
            return _Node("module", (kind, {name: getattr(value, name, None) for name in names}))
        reduce = copyreg.dispatch_table.get(kind)
        try:
            made = reduce(value) if reduce else value.__reduce_ex__(4)
        except Exception:  # of locks, files, generators, and whatever a user's object raises there
            name = getattr(value, "__qualname__", None)
            if isinstance(name, str) and is_library(str(getattr(value, "__module__", ""))):
                return _Node(f"library {value.__module__}.{name}")
            raise _Opaque(f"holds a {_kind(value)}") from None
        if isinstance(made, str):
            return _Node(f"named {made}")
        notes = set() if is_library(kind.__module__) else bytecode.notes_of_methods(kind)
        parts = [list(part) if isinstance(part, Iterator) else part for part in made]
        if len(parts) > 2 and type(parts[2]) is dict:
            parts[2] = {name: v for name, v in parts[2].items() if name not in notes} or None
        return _Node("object", (kind, *parts))


def _scalar(value: Any) -> str:
    text = hex(value) if type(value) is int else repr(value)  # Python writes no long number in decimals
    return f"{type(value).__name__} {text}"


def _array(array: np.ndarray) -> _Node:
    shape = f"array {array.dtype} {array.shape}"
    if array.dtype.hasobject:
        return _Node(shape, tuple(array.ravel().tolist()))
    return _Node(f"{shape} {hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()}")


def _hash(*parts: bytes) -> bytes:
    found = hashlib.sha256()
    for part in parts:
        found.update(len(part).to_bytes(8, "little") + part)
    return found.digest()


def _kind(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not assigned yet
        return None
