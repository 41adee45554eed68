"""Runs `prolip` as a user does, and kills it at random moments."""

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
END = 20.0  # Seconds in which the children of a killed process end too.


class Ended(NamedTuple):
    """A command that has ended."""

    code: int
    said: str
    seconds: float


class Kills(NamedTuple):
    """How a command was killed, and that it then went on to its end."""

    whole: list[int]  # Files that were finished at each kill.
    starts: int
    orphans: int  # Children that outlived the killed process.
    last: Ended


class Commands:
    """Commands with a cache of their own.

    Args:
      cache: Folder of what would go to the user's cache.
    """

    def __init__(self, cache: Path):
        self._environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}

    def run(self, words: Sequence[str]) -> Ended:
        """Runs a command to its end."""
        clock = time.perf_counter()
        with self._start(words) as process:
            said, _ = process.communicate()
        return Ended(process.returncode, said, time.perf_counter() - clock)

    def kill(
        self,
        words: Sequence[str],
        kills: int,
        seconds: float,
        files: Callable[[], int],
        undo: Callable[[], None],
        chance: random.Random,
    ) -> Kills:
        """Starts a command again and again, kills it, and lets it end at last.

        Only the process that was started gets SIGKILL: its children have to see that themselves.

        Args:
          words: Of the command.
          kills: As many; a start that ends before its kill doesn't count, and its work is undone.
          seconds: Within which a start is killed.
          files: Counts those that are finished.
          undo: Removes all that was made.
          chance: Of the moments.
        """
        whole: list[int] = []
        starts = orphans = 0
        while len(whole) < kills:
            starts += 1
            with self._start(words) as process:
                try:
                    process.communicate(timeout=chance.uniform(0, seconds))
                    undo()
                    continue
                except subprocess.TimeoutExpired:
                    children = _children(process.pid)
                    process.kill()
                    process.communicate()
            whole.append(files())
            orphans += _outlive(children)
        return Kills(whole, starts + 1, orphans, self.run(words))

    def _start(self, words: Sequence[str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "prolip", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self._environment,
            cwd=ROOT,
        )


def _children(process: int) -> list[int]:
    tasks = Path(f"/proc/{process}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def _outlive(children: list[int]) -> int:
    end = time.monotonic() + END
    while (living := sum(map(_lives, children))) and time.monotonic() < end:
        time.sleep(0.02)
    return living


def _lives(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
