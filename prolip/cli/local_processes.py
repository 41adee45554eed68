"""The processes of one run on one machine: started together, ended together."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import IO

from prolip import distributed
from prolip.exit_codes import ABORTED, INTERRUPTED, PEER_LOST, RESTART, TERMINATED

LAST_LINES = 12  # Of a failed process, shown when it is not the one on the console.
# Ends that follow from the end of another process: the sentence of its own, and what the
# coordination service of JAX does to those that it can't tell otherwise.
FOLLOWING = (PEER_LOST, ABORTED)


def run_processes(
    command: Sequence[str],
    processes: int,
    devices: int | None,
    logs: Path | None,
    grace: float,
) -> int:
    """Runs `prolip COMMAND` in several processes until all have ended.

    SIGTERM and Ctrl-C become a SIGTERM to each process, which saves and stops; a second one kills.

    Args:
      command: verb and options.
      processes: how many.
      devices: of each process.
      logs: folder of `process_I.log`, to which a restart adds; None: processes other than 0 are
        silent.
      grace: seconds after the first bad end before the others are killed.

    Returns:
      0 if all ended well, else the code of the first that did not, preferring one that did not end
      because of another; 128 + the number of the signal that killed it.
    """
    if logs is not None:
        logs.mkdir(parents=True, exist_ok=True)
    port = free_port()
    with contextlib.ExitStack() as stack:
        signals = stack.enter_context(_Signals())
        children: list[subprocess.Popen[bytes]] = []
        stack.callback(_end_all, children)
        console: threading.Thread | None = None
        for index in range(processes):
            log: IO[bytes] | int = subprocess.DEVNULL
            if logs is not None:
                log = stack.enter_context((logs / f"process_{index}.log").open("ab"))
            child = subprocess.Popen(
                [sys.executable, "-m", "prolip", *command],
                env=os.environ | environment(index, processes, port, devices),
                stdin=subprocess.DEVNULL,
                stdout=log if index else subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is passed on from here, once.
            )
            children.append(child)
            if index == 0:
                console = threading.Thread(target=_show, args=(child, log), daemon=True)
                console.start()
        codes = _wait(children, signals, grace)
        if console is not None:
            console.join(timeout=5)
    cause = first_cause(codes)
    if cause is None:
        return 0
    index, code = cause
    if code == TERMINATED:  # Before it had anything to save, or by a second signal.
        print(f"prolip launch: process {index} was stopped by SIGTERM, and all with it")
        code = RESTART
    elif code != RESTART:
        _tell(index, code, logs)
    return INTERRUPTED if code == RESTART and signals.interrupted else code


def environment(index: int, processes: int, port: int, devices: int | None) -> dict[str, str]:
    """What tells a process its place."""
    place = {
        distributed.COORDINATOR: f"127.0.0.1:{port}",
        distributed.NUM_PROCESSES: str(processes),
        distributed.PROCESS_ID: str(index),
        distributed.DISTRIBUTED: "",
        "PYTHONUNBUFFERED": "1",
    }
    if devices is not None:
        place["JAX_NUM_CPU_DEVICES"] = str(devices)
        own = range(index * devices, (index + 1) * devices)
        place["JAX_LOCAL_DEVICE_IDS"] = ",".join(map(str, own))  # Of GPUs.
    return place


def first_cause(codes: Sequence[tuple[int, int]]) -> tuple[int, int] | None:
    """The (process, code) to blame, from those of all processes in the order of their end."""
    bad = [end for end in codes if end[1]]
    causes = [end for end in bad if end[1] not in FOLLOWING]
    return next(iter(causes or bad), None)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class _Signals:
    """Counts the requests to stop."""

    def __init__(self) -> None:
        self.count, self.interrupted = 0, False
        self.passed_on = False  # One of the processes has ended by a SIGTERM of its own.

    def __enter__(self) -> "_Signals":
        numbers = (signal.SIGTERM, signal.SIGINT)
        self._before = {number: signal.signal(number, self._received) for number in numbers}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _received(self, number: int, _frame: FrameType | None) -> None:
        self.count += 1
        self.interrupted |= number == signal.SIGINT


def _wait(
    children: Sequence[subprocess.Popen[bytes]], signals: _Signals, grace: float
) -> list[tuple[int, int]]:
    """(process, exit code) in the order of their end."""
    ended: list[tuple[int, int]] = []
    told, deadline = 0, float("inf")
    while len(ended) < len(children):
        done = {index for index, _ in ended}
        for index, child in enumerate(children):
            if index not in done and child.poll() is not None:
                code = child.returncode
                ended.append((index, code if code >= 0 else 128 - code))
                if code and deadline == float("inf"):
                    deadline = time.monotonic() + grace
                    # Told before it could tell the others, which may be waiting for it.
                    signals.passed_on |= code == -signal.SIGTERM
        running = [child for child in children if child.returncode is None]
        if time.monotonic() > deadline or signals.count > 1:
            for child in running:
                child.kill()
        elif signals.count + signals.passed_on > told:
            told = signals.count + signals.passed_on
            for child in running:
                child.terminate()
        time.sleep(0.05)
    return ended


def _end_all(children: Sequence[subprocess.Popen[bytes]]) -> None:
    """Leaves nothing behind, whatever ended the wait."""
    for child in children:
        if child.poll() is None:
            child.kill()
        child.wait()


def _show(child: subprocess.Popen[bytes], log: IO[bytes] | int) -> None:
    """Copies what process 0 says to the console and its log."""
    assert child.stdout is not None
    with child.stdout:
        for line in child.stdout:
            if not isinstance(log, int):
                log.write(line)
                log.flush()
            sys.stdout.write(line.decode(errors="replace"))
            sys.stdout.flush()


def _tell(index: int, code: int, logs: Path | None) -> None:
    how = f"was killed by {signal.Signals(code - 128).name}" if _is_signal(code) else "failed"
    where = f"; its output is in {logs / f'process_{index}.log'}" if logs else ""
    print(
        f"prolip launch: process {index} {how} (code {code}), and all were stopped{where}",
        file=sys.stderr,
    )
    if logs is not None and index:
        for line in _last_lines(logs / f"process_{index}.log"):
            print(f"  [{index}] {line}", file=sys.stderr)


def _is_signal(code: int) -> bool:
    return code - 128 in set(signal.Signals)


def _last_lines(path: Path) -> Iterator[str]:
    with contextlib.suppress(OSError):
        yield from path.read_text(errors="replace").splitlines()[-LAST_LINES:]
