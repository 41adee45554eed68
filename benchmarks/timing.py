"""What the scripts here share: medians of runs in turn, memory, Markdown and JSON."""

import argparse
import json
import os
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple


class Time(NamedTuple):
    """Medians for one call."""

    seconds: float  # Of the clock.
    cpu: float  # Of all processors: other work may share the machine.


def in_turn(ways: Mapping[str, Callable[[], Any]], repeats: int, calls: int = 1) -> dict[str, Time]:
    """Runs each way once to warm up, then all of them in turn, so that all meet the same load.

    Args:
      ways: by name; what they return is waited for.
      repeats: how often each is timed.
      calls: of a way each time, where one alone is too short for the clock.
    """
    import jax

    times: dict[str, list[Time]] = {name: [] for name in ways}
    for repeat in range(repeats + 1):
        for name, way in ways.items():
            clock, cpu = time.perf_counter(), time.process_time()
            for _ in range(calls):
                result = way()
            jax.block_until_ready(result)
            if repeat:
                spent = time.perf_counter() - clock, time.process_time() - cpu
                times[name].append(Time(*(part / calls for part in spent)))
    return {name: median(several) for name, several in times.items()}


def median(times: Iterable[Time]) -> Time:
    """Each column by itself."""
    return Time(*(statistics.median(column) for column in zip(*times, strict=True)))


def peak_memory() -> int:
    """Bytes. Not `ru_maxrss`, which begins with the memory of the process that started this one."""
    return memory("VmHWM")


def memory(field: str = "VmRSS", process: int | str = "self") -> int:
    """Bytes, as Linux tells them of a process."""
    status = Path(f"/proc/{process}/status").read_text().splitlines()
    (line,) = (x for x in status if x.startswith(f"{field}:"))
    return int(line.split()[1]) * 1024


def print_header(*names: str) -> None:
    """Begins a Markdown table."""
    print_row(*names)
    print("|" + "---|" * len(names))


def print_row(*cells: object) -> None:
    """A row of it, at once."""
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def json_argument(parser: argparse.ArgumentParser) -> None:
    """`--json FILE`."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the rows go as well")


def save(path: Path | None, rows: list[dict[str, Any]], words: Sequence[str] | None = None) -> None:
    """Writes the rows, the command that made them, and how busy the machine was then.

    Args:
      path: of the file; None writes nothing.
      rows: of the tables, names to values without units: seconds, bytes, parts of one.
      words: of the command after the script's name; those of this process if not given.
    """
    if path is None:
        return
    words = sys.argv[1:] if words is None else words
    record = {
        "command": shlex.join(["python", os.path.relpath(sys.argv[0]), *words]),
        "load": round(os.getloadavg()[1], 2),
        "rows": rows,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n")
