"""Bytes that a compiled program moves between a device's memory and its cores, read in its optimised HLO.

Counted are the arrays that each kernel reads and writes, without padding; of an array of which a kernel takes
or replaces a slice, the slice. Arrays that the compiler keeps in a TPU's vector memory are not.
"""

import math
import re
from typing import NamedTuple

BITS = {"pred": 8, "s2": 2, "u2": 2, "s4": 4, "u4": 4, "bf16": 16, "c64": 64, "c128": 128}
ARRAY = re.compile(r"\b(pred|bf16|[suf]\d+|f8\w+|c64|c128)\[([\d,]*)\](\{[^{}]*\})?")
ELSEWHERE = re.compile(r"S\([1-9]\d*\)")  # a memory space other than the device's main one
COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{\s*$")
INSTRUCTION = re.compile(r"^\s+(ROOT )?%?([\w.\-]+) = (.*)$")
CALLED = re.compile(r"\b(?:calls|to_apply|body)=%?([\w.\-]+)")
BRANCHES = re.compile(r"\bbranch_computations=\{([^}]*)\}|\b(?:true|false)_computation=(%[\w.\-]+)")
TURNS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
NAME = re.compile(r"%([\w.\-]+)")
FREE = {"parameter", "get-tuple-element", "tuple", "bitcast", "constant"}  # nothing moves
FREE |= {"after-all", "add-dependency", "opt-barrier", "partition-id", "replica-id"}
TAKES = {"slice", "dynamic-slice", "gather"}  # of their first operand what they give
REPLACES = {"dynamic-update-slice": 1, "scatter": 2}  # in their first operand what this one is


class Instruction(NamedTuple):
    """A line of a computation: its result's type, what it does, of which operands, and the whole line."""

    type: str
    op: str
    operands: list[str]
    line: str
    is_root: bool


Computation = dict[str, Instruction]


class Hlo:
    """An optimised HLO module, from its text."""

    def __init__(self, text: str) -> None:
        self.computations: dict[str, Computation] = {}
        current: Computation | None = None
        for line in text.splitlines():
            if found := COMPUTATION.match(line):
                current = self.computations.setdefault(found[2], {})
                if found[1]:
                    self.entry = found[2]
            elif line.startswith("}"):
                current = None
            elif current is not None and (found := INSTRUCTION.match(line)):
                current[found[2]] = _instruction(found[3], line, bool(found[1]))

    def bytes_of_tick(self) -> float:
        """Bytes of one tick of a program that runs a wave: the loop in its loop over segments."""
        return self.moved(self.largest_loop(self.largest_loop(self.entry)))

    def largest_loop(self, name: str) -> str:
        """The body of the loop that holds most, of those in this computation that are in no other."""
        bodies = list(self._loops(name))
        if not bodies:
            raise ValueError(f"{name} has no loop")
        return max(bodies, key=self._size)

    def moved(self, name: str) -> float:
        """Bytes that a computation moves; of loops without a known end those of one turn."""
        return sum(self._moved(one, self.computations[name]) for one in self.computations[name].values())

    def _loops(self, name: str) -> list[str]:
        found = []
        for one in self.computations[name].values():
            if one.op == "while":
                found += CALLED.findall(one.line)
            elif one.op in ("call", "conditional"):
                for part in _parts(one):
                    found += self._loops(part)
        return found

    def _size(self, name: str) -> int:
        inner = (part for one in self.computations[name].values() for part in _parts(one))
        return len(self.computations[name]) + sum(map(self._size, inner))

    def _moved(self, one: Instruction, inside: Computation) -> float:
        if one.op in FREE or one.op.endswith("-done") or one.op.endswith("-update"):
            return 0.0
        if one.op == "while":
            turns = TURNS.search(one.line)
            return (int(turns[1]) if turns else 1) * sum(map(self.moved, CALLED.findall(one.line)))
        if one.op in ("call", "async-start"):
            return sum(map(self.moved, _parts(one)))
        if one.op == "conditional":
            return min(map(self.moved, _parts(one)))
        types = {operand: inside[operand].type for operand in one.operands if operand in inside}
        if one.op.endswith("-start"):  # a copy beside other work: (where to, where from, ...)
            to = _arrays(one.type)[:1]
            travels = sum(size for size, _ in to)
            at_source = any(main for type in types.values() for _, main in _arrays(type))
            return travels * at_source + sum(size for size, main in to if main)
        if one.op == "fusion":
            (called,) = CALLED.findall(one.line)
            read = sum(
                min(_in_main(types[operand]), self._read(called, number))
                for number, operand in _once(one.operands)
                if operand in types and _in_main(types[operand])
            )
            return read + self._written(one, called)
        return self._read_and_written(one, types)

    def _read_and_written(self, one: Instruction, types: dict[str, str]) -> float:
        """Of an instruction that is a kernel of its own."""
        sizes = [_in_main(types.get(operand, "")) for operand in one.operands]
        if one.op in TAKES:
            return _in_main(one.type) + min(sizes[0], _size_of(one.type)) + sum(sizes[1:])
        if one.op in REPLACES:
            update = sizes[REPLACES[one.op]]
            return 2 * update + sum(sizes[1:]) - update
        result = one.type
        if one.op == "custom-call":  # without the room that a library's kernel works in
            result = re.sub(r"\b[su]8\[\d+\](\{[^{}]*\})?", "", result)
        return sum(_in_main(type) for type in types.values()) + _in_main(result)

    def _read(self, name: str, number: int) -> float:
        """Bytes that a fused computation reads of its parameter with this number."""
        inside = self.computations[name]
        for parameter, one in inside.items():
            if one.op == "parameter" and re.search(rf"parameter\({number}\)", one.line):
                return self._used(inside, parameter)
        return math.inf

    def _used(self, inside: Computation, name: str) -> float:
        """Bytes that the users of this value in a fused computation read of it."""
        whole = _size_of(inside[name].type)
        total = 0.0
        for user, one in inside.items():
            for number, operand in enumerate(one.operands):
                if operand != name:
                    continue
                if one.op == "bitcast":
                    total += self._used(inside, user)
                elif one.op in TAKES and number == 0:
                    total += _size_of(one.type)
                elif one.op in REPLACES and number == 0:
                    continue
                elif one.op == "fusion":
                    total += self._read(CALLED.findall(one.line)[0], number)
                else:
                    return whole
        return min(whole, total)

    def _written(self, one: Instruction, called: str) -> float:
        """Bytes that a fusion writes: where it replaces a slice in place, the slice."""
        inside = self.computations[called]
        root = next(name for name, inner in inside.items() if inner.is_root)
        roots = inside[root].operands if inside[root].op == "tuple" else [root]
        arrays = _arrays(one.type)
        if len(arrays) != len(roots):
            return sum(size for size, main in arrays if main)
        return sum(
            min(size, self._replaced(inside, root))
            for (size, main), root in zip(arrays, roots, strict=True)
            if main
        )

    def _replaced(self, inside: Computation, name: str) -> float:
        one = inside[name]
        if one.op == "bitcast" and one.operands[0] in inside:
            return self._replaced(inside, one.operands[0])
        if one.op in REPLACES:
            return _size_of(inside[one.operands[REPLACES[one.op]]].type)
        if one.op == "fusion":
            return self._written(one, CALLED.findall(one.line)[0])
        return math.inf


def _instruction(body: str, line: str, is_root: bool) -> Instruction:
    end = _closing(body, 0) + 1 if body.startswith("(") else body.index(" ")
    kind, rest = body[:end], body[end:].lstrip()
    begin = rest.index("(")
    inner = rest[begin + 1 : _closing(rest, begin)]
    return Instruction(kind, rest[:begin], NAME.findall(inner), line, is_root)


def _closing(text: str, begin: int) -> int:
    """Where the bracket that opens at `begin` is closed."""
    depth = 0
    for place in range(begin, len(text)):
        depth += (text[place] == "(") - (text[place] == ")")
        if not depth:
            return place
    raise ValueError(f"a bracket is not closed: {text[:80]}")


def _parts(one: Instruction) -> list[str]:
    """The computations that an instruction runs: bodies, branches, what it calls."""
    branches = ",".join(part for found in BRANCHES.findall(one.line) for part in found)
    return CALLED.findall(one.line) + NAME.findall(branches)


def _once(operands: list[str]) -> list[tuple[int, str]]:
    """Operands with their numbers, each where it comes first."""
    return [(operands.index(operand), operand) for operand in dict.fromkeys(operands)]


def _arrays(type: str) -> list[tuple[float, bool]]:
    """(bytes, whether they are in the device's main memory) of each array in a type."""
    return [
        (
            math.prod(int(size) for size in shape.split(",") if size) * _bits(kind) / 8,
            not ELSEWHERE.search(layout),
        )
        for kind, shape, layout in ARRAY.findall(type)
    ]


def _bits(kind: str) -> int:
    return BITS.get(kind) or (8 if kind.startswith("f8") else int(kind[1:]))


def _size_of(type: str) -> float:
    return sum(size for size, _ in _arrays(type))


def _in_main(type: str) -> float:
    return sum(size for size, main in _arrays(type) if main)
