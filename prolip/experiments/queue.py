"""All runs of studies, one after the other; several processes may share them."""

import contextlib
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from prolip.checkpoint import LeaseHeld
from prolip.exit_codes import INTERRUPTED, RESTART
from prolip.experiments.runs import Place, Stopped, finish
from prolip.experiments.study import Cell, Study
from prolip.train.assembly import checked_mesh
from prolip.workdir import write_whole

FAILURE = "failure.txt"
POLL_SECONDS = 5.0


class Outcome(NamedTuple):
    """How a call of `work` ended."""

    failed: dict[str, str]  # "cell, seed" -> what is wrong.
    code: int  # 0, 1 if a run failed, 75 or 130 after a signal.


def work(place: Place, studies: Sequence[Study], say: Callable[[str], Any]) -> Outcome:
    """Finishes what is not done, all cells of one seed before the next.

    A run that fails is named, and the others go on. One that another process is at is waited for
    at the end, and taken over if that process dies.

    Args:
      place: where the runs are.
      studies: whose cells are run; equal ones once.
      say: gets a sentence for each run.
    """
    runs = _runs(place, studies)
    left = [run for run in runs if place.result(*run) is None]
    say(f"{len(runs)} runs, {len(runs) - len(left)} of them done, in {place.path}")
    failed: dict[str, str] = {}
    try:
        with _stopping():
            _work(place, left, failed, say)
    except Stopped as stop:
        say(f"{stop}; the same command goes on from there")
        return Outcome(failed, INTERRUPTED if stop.number == signal.SIGINT else RESTART)
    return Outcome(failed, 1 if failed else 0)


@contextlib.contextmanager
def _stopping() -> Iterator[None]:
    """Signals raise `Stopped`, but while training and evaluating, which take them themselves."""

    def stop(number: int, _frame: Any) -> None:
        raise Stopped(number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {s: signal.signal(s, stop) for s in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _work(
    place: Place,
    left: Sequence[tuple[Cell, int]],
    failed: dict[str, str],
    say: Callable[[str], Any],
) -> None:
    told: set[tuple[str, int]] = set()
    while left:
        waiting = []
        for cell, seed in left:
            name = f"{cell.name}, seed {seed}"
            try:
                result = finish(place, cell, seed)
            except LeaseHeld as held:
                waiting.append((cell, seed))
                if (cell.name, seed) not in told:
                    told.add((cell.name, seed))
                    say(f"{name}: left for later, {held}")
            except Exception as error:
                failed[name] = f"{type(error).__name__}: {error}"
                folder = place.run(cell, seed)
                folder.mkdir(parents=True, exist_ok=True)
                trace = "".join(traceback.format_exception(error))
                write_whole(folder / FAILURE, trace)
                say(f"{name} failed, see {folder / FAILURE}: {failed[name]}")
            else:
                (place.run(cell, seed) / FAILURE).unlink(missing_ok=True)
                say(f"{name}: {result['seconds']:.0f} s")
        left = [run for run in waiting if place.result(*run) is None]
        if left and len(left) == len(waiting):
            time.sleep(POLL_SECONDS)


def _runs(place: Place, studies: Sequence[Study]) -> list[tuple[Cell, int]]:
    seeds = range(1, 1 + max(study.seeds for study in studies))
    found: dict[Path, tuple[Cell, int]] = {}
    for seed in seeds:
        for study in studies:
            for cell in study.cells if seed <= study.seeds else ():
                checked_mesh(place.config(cell, seed))  # A slip is told before any work.
                found.setdefault(place.run(cell, seed), (cell, seed))
    return list(found.values())
