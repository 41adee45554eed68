"""From the start of `prolip train` to its first step done, with and without compiled programs.

    python benchmarks/startup.py --config emoji --repeats 3

Runs the command in processes of its own, in a temporary folder, until it prints its first step, and
ends it there. `first` finds nothing prepared and nothing compiled; `cold` an empty cache of
compiled programs, but the data set; `warm` both. `import` only imports and looks for devices.
`--config.key=value` overrides a key.
"""

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from timing import json_argument, print_header, print_row, save

STARTS = ("import", "first", "cold", "warm")
IMPORT = "import prolip.cli.train, prolip.train.loop, jax; jax.devices(); print('step 1')"
PREPARED, DONE = ("starting:", "resuming"), ("step 1",)  # How lines of the trainer begin.


class Start(NamedTuple):
    """Seconds from the start of the process."""

    prepared: float  # Until imports, data, tokenizer and state are there.
    done: float  # Until the first step is done: its program was compiled, or found.
    cpu: float  # Of processors.


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--config", default="emoji")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--starts", nargs="+", choices=STARTS, default=list(STARTS))
    json_argument(parser)
    args, overrides = parser.parse_known_args()
    with tempfile.TemporaryDirectory(prefix="prolip-startup-") as folder:
        ways = {name: starter(name, args.config, overrides, Path(folder)) for name in args.starts}
        starts: dict[str, list[Start]] = {name: [] for name in ways}
        for _ in range(args.repeats):
            for name, way in ways.items():
                starts[name].append(way())
    print_header("start", "import, data, state: s", "compile and first step: s", "all: s", "cpu s")
    rows = []
    for name, several in starts.items():
        prepared, done, cpu = (statistics.median(x) for x in zip(*several, strict=True))
        print_row(name, f"{prepared:.1f}", f"{done - prepared:.1f}", f"{done:.1f}", f"{cpu:.1f}")
        rows.append({"start": name, "prepared": prepared, "seconds": done, "cpu": cpu})
    save(args.json, rows)


def starter(name: str, config: str, overrides: list[str], folder: Path) -> Callable[[], Start]:
    """What starts a process as `name` says."""
    data, programs, workdir = (folder / part for part in ("data", "programs", "run"))
    command = [sys.executable, "-m", "prolip", "train", "--config", config]
    command += ["--workdir", str(workdir), f"--config.data.data_dir={data}", *overrides]
    if name == "import":
        command = [sys.executable, "-c", IMPORT]
    emptied = {"first": (data, programs), "cold": (programs,)}.get(name, ())

    def run() -> Start:
        if name == "warm" and not programs.exists():
            starter("first", config, overrides, folder)()
        for place in (workdir, *emptied):
            shutil.rmtree(place, ignore_errors=True)
        return timed(command, {"JAX_COMPILATION_CACHE_DIR": str(programs)})

    return run


def timed(command: list[str], environment: dict[str, str]) -> Start:
    """Runs a command until its first step is done."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", **environment}
    prepared = done = 0.0
    said = []
    cpu, clock = cpu_of_children(), time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        for line in process.stdout or ():
            said.append(line)
            if line.startswith(PREPARED):
                prepared = time.perf_counter() - clock
            if line.startswith(DONE):
                done = time.perf_counter() - clock
                break
        process.kill()
    if not done:
        raise SystemExit(f"{' '.join(command)} ended before its first step:\n{''.join(said)}")
    return Start(prepared or done, done, cpu_of_children() - cpu)


def cpu_of_children() -> float:
    """Seconds of processors of the children that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
