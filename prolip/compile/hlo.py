"""What a compiled program does, read from its text: collectives, loops, cycles, large arrays.

The text is that of XLA after scheduling: computations of instructions, one a line. A loop's body
stands there once, so that everything in it counts as often as the loop turns.
"""

import math
import re
from collections.abc import Iterator
from typing import NamedTuple

KINDS = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")

BYTES = {"pred": 1, "bf16": 2, "f16": 2, "f32": 4, "f64": 8, "c64": 8, "c128": 16}

_HEADER = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{\s*$")
_SHAPE = re.compile(r"\b(pred|bf16|c64|c128|[fsu]\d+\w*)\[([\d,]*)\]")
_INSTRUCTION = re.compile(r"^\s*(?:ROOT )?%?([\w.\-]+) = ")
_OPERATION = re.compile(r"[\])}] ([a-z][\w\-]*)\(")
_CALLED = re.compile(r"\b(calls|body|condition|to_apply)=%?([\w.\-]+)")
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
_CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')
_CHAIN = re.compile(r'chain_id="(\d+)"')


class Array(NamedTuple):
    """An array in the program."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Without the padding that a layout adds."""
        return math.ceil(self.size * _width(self.dtype))


class Instruction(NamedTuple):
    """A line of a computation."""

    name: str
    operation: str
    results: tuple[Array, ...]
    text: str


class Collective(NamedTuple):
    """One exchange between devices, all turns of its loops together."""

    kind: str  # Of KINDS.
    name: str
    source: str  # Name that JAX gave the operation; "" where the compiler made it.
    arrays: tuple[Array, ...]  # Whole: what is reduced, or what has been gathered.
    devices: int  # That exchange with each other; 0 for permutes, whose groups have no size.
    times: int  # In a step.

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays, times the number of exchanges."""
        return self.times * sum(array.nbytes for array in self.arrays)

    @property
    def moved(self) -> int:
        """Bytes that each device sends at least, as a ring does."""
        part = (self.devices - 1) / self.devices if self.devices else 1.0
        return round(part * self.nbytes * (2 if self.kind == "all-reduce" else 1))


class Program(NamedTuple):
    """Computations by name; `entry` is the one that runs."""

    computations: dict[str, list[Instruction]]
    entry: str


def parse(text: str) -> Program:
    """Reads the text of a compiled module.

    Raises:
      ValueError: it has no entry computation.
    """
    computations: dict[str, list[Instruction]] = {}
    entry, current = "", None
    for line in text.splitlines():
        header = _HEADER.match(line)
        if header:
            current = computations.setdefault(header[2], [])
            entry = header[2] if header[1] else entry
        elif current is not None and (found := _INSTRUCTION.match(line)):
            current.append(_instruction(found[1], line[found.end() :]))
        elif line.startswith("}"):
            current = None
    if not entry:
        raise ValueError("the text of the program has no ENTRY computation")
    return Program(computations, entry)


def collectives(program: Program) -> list[Collective]:
    """Every exchange of a step, the largest first."""
    found: dict[str, Collective] = {}
    for times, _, instruction in _walk(program, program.entry, 1, inside_fusions=True):
        kind = next((k for k in KINDS if instruction.operation in (k, f"{k}-start")), "")
        if not kind:
            continue
        # An exchange that runs beside products stands in each of the fusions that it runs beside,
        # also in those of a loop that it outlasts.
        chain = _CHAIN.search(instruction.text)
        key = f"{kind} {chain[1]}" if chain else instruction.name
        if key not in found or times < found[key].times:
            found[key] = _collective(kind, instruction, times)
    return sorted(found.values(), key=lambda c: -c.nbytes)


def cycles(program: Program) -> int:
    """Sum of the cycles that the compiler estimates, loops by their turns; 0 where it gives none.

    Exchanges between devices and copies carry no estimate: this is computation alone.
    """
    return sum(
        times * int(found[1])
        for times, _, instruction in _walk(program, program.entry, 1)
        if (found := _CYCLES.search(instruction.text))
    )


def cycles_by_source(program: Program) -> dict[str, int]:
    """The same by the name that JAX gave an operation, the largest first."""
    sums: dict[str, int] = {}
    for times, _, instruction in _walk(program, program.entry, 1):
        if found := _CYCLES.search(instruction.text):
            name = source(instruction)
            sums[name] = sums.get(name, 0) + times * int(found[1])
    return dict(sorted(sums.items(), key=lambda item: -item[1]))


def arrays(program: Program) -> Iterator[Array]:
    """Every array that an instruction leaves in memory; those inside fusions never exist."""
    for _, _, instruction in _walk(program, program.entry, 1):
        if instruction.operation not in ("get-tuple-element", "tuple", "parameter", "bitcast"):
            yield from instruction.results


def source(instruction: Instruction) -> str:
    """The name that JAX gave an operation, without the function that was compiled."""
    found = re.search(r'op_name="([^"]*)"', instruction.text)
    return found[1].removeprefix("jit(train_step)/") if found else ""


def _walk(
    program: Program, name: str, times: int, *, inside_fusions: bool = False
) -> Iterator[tuple[int, str, Instruction]]:
    """(times it runs, computation, instruction) of a computation and all that it calls."""
    for instruction in program.computations[name]:
        yield times, name, instruction
        if not inside_fusions and instruction.operation == "fusion":
            continue
        called = dict(_CALLED.findall(instruction.text))
        if instruction.operation == "while":
            turns = _turns(program, instruction, called["condition"])
            inner = [(called["body"], times * turns)]
        else:
            # What a reduction applies to its elements is no program of its own.
            reduces = instruction.operation not in ("call", "fusion", "async-start")
            inner = [
                (target, times)
                for word, target in called.items()
                if word == "calls" or not (word == "to_apply" and reduces)
            ]
            branches = _BRANCHES.search(instruction.text)
            if branches:
                names = re.findall(r"%?([\w.\-]+)", branches[1])
                inner += [(target, times) for target in names]
        for target, count in inner:
            yield from _walk(program, target, count, inside_fusions=inside_fusions)


def _turns(program: Program, loop: Instruction, condition: str) -> int:
    known = _TRIPS.search(loop.text)
    if known:
        return int(known[1])
    # A scan counts up to a constant, which stands in the condition or in what that calls.
    constants = [
        int(found[1])
        for _, _, instruction in _walk(program, condition, 1, inside_fusions=True)
        if (found := re.search(r"\bconstant\((\d+)\)", instruction.text))
    ]
    return max(constants, default=1)


def _instruction(name: str, text: str) -> Instruction:
    operation = _OPERATION.search(text)
    end = operation.start() + 1 if operation else len(text)
    results = tuple(
        Array(dtype, tuple(map(int, filter(None, shape.split(",")))))
        for dtype, shape in _SHAPE.findall(text[:end])
    )
    return Instruction(name, operation[1] if operation else "", results, text)


def _collective(kind: str, instruction: Instruction, times: int) -> Collective:
    devices = _group(instruction.text)
    arrays = instruction.results
    if instruction.operation.endswith("-start") and kind != "all-reduce":
        # Its result is (what goes in, what comes out, flags).
        arrays = tuple(a for a in arrays if a.shape)
        arrays = arrays[len(arrays) // 2 :]
    if kind == "reduce-scatter":
        arrays = tuple(Array(a.dtype, (devices, *a.shape)) for a in arrays)
    return Collective(kind, instruction.name, source(instruction), arrays, devices, times)


def _group(text: str) -> int:
    """Devices of a group, in any of the three ways that XLA writes them."""
    listed = re.search(r"replica_groups=\{\{([\d,]*)\}", text)
    if listed:
        return len(listed[1].split(","))
    tiled = re.search(r"replica_groups=\[(\d+),(\d+)\]", text)
    if tiled:
        return int(tiled[2])
    named = re.search(r"replica_groups=mesh\[([^\]]*)\]\s*\{([^}]*)\}", text)
    if named:
        sizes = dict(re.findall(r"'([^']+)'=(\d+)", named[1]))
        return math.prod(int(sizes.get(axis, 1)) for axis in re.findall(r"'([^']+)'", named[2]))
    return 0


def _width(dtype: str) -> float:
    if dtype in BYTES:
        return BYTES[dtype]
    digits = re.search(r"\d+", dtype)
    return int(digits[0]) / 8 if digits else 1
