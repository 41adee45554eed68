"""Ends a process that does not get on, so that whoever started it can start it again."""

import faulthandler
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Protocol

from prolip.exit_codes import STUCK

# What a start may take, up to the first sign of life: data, restoring, compiling.
START_TIMES, START_SECONDS = 3, 300


class Signs(Protocol):
    """Takes signs of life: a watchdog, or what stands for one."""

    def alive(self, doing: str) -> None: ...

    def idle(self, doing: str) -> None: ...


# Says what begins now; a watchdog takes it as a sign of life.
Alive = Callable[[str], None]


def unwatched(doing: str) -> None:
    """Signs of life that nobody waits for."""


class Watchdog:
    """A thread that waits for signs of life.

    A collective whose other side never comes, a file system that does not answer or a reader that
    sleeps look the same from here: nothing happens. Waiting leaves the interpreter free, so that
    the thread runs all the same.
    """

    def __init__(self, seconds: float, dumps: Path, process: int, say: Callable[[str], None]):
        """Starts nothing yet.

        Args:
          seconds: without a sign of life that are too many; 0 never ends the process.
          dumps: folder for the stacks of all threads.
          process: number of this process.
          say: gets the last sentence.
        """
        self._seconds, self._dumps, self._process, self._say = seconds, dumps, process, say
        self._doing = "the start"
        self._limit = max(START_TIMES * seconds, START_SECONDS)
        self._last = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def __enter__(self) -> "Watchdog":
        if self._seconds > 0:
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def alive(self, doing: str) -> None:
        """A sign of life; `doing` is what begins now."""
        self._doing, self._limit, self._last = doing, self._seconds, time.monotonic()

    def idle(self, doing: str) -> None:
        """Waiting that may take any time begins."""
        self._doing, self._limit, self._last = doing, float("inf"), time.monotonic()

    def _watch(self) -> None:
        while not self._stop.wait(min(1.0, self._seconds / 10)):
            waited = time.monotonic() - self._last
            if waited > self._limit:
                self._end(waited)

    def _end(self, waited: float) -> None:
        path = self._dumps / f"stuck_{time.time_ns()}_process_{self._process}.txt"
        try:
            self._dumps.mkdir(parents=True, exist_ok=True)
            with path.open("w", encoding="utf8") as file:
                file.write(f"process {self._process}, {waited:.0f} s after: {self._doing}\n\n")
                file.flush()
                faulthandler.dump_traceback(file, all_threads=True)
            where = f"the stacks of all threads are in {path}"
        except OSError as error:  # The disk may be what does not answer as it should.
            where = f"the stacks of all threads could not be written ({error})"
        try:
            self._say(
                f"process {self._process} has made no progress for {waited:.0f} s since "
                f"{self._doing}; it ends with code {STUCK}, and {where}. The same command goes on "
                "from the last checkpoint; --watchdog-seconds allows more time, 0 any."
            )
        finally:
            os._exit(STUCK)
