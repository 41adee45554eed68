"""Saves that go on while training does: Orbax writes, then a thread of ours finishes the step."""

import contextlib
import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import orbax.checkpoint as ocp

from prolip.checkpoint import trees
from prolip.checkpoint.alias import without_patterns
from prolip.checkpoint.errors import CheckpointError, is_disk_full

# Seconds between the attempts to remove what a failed save left: writes under way when the first of
# them failed make their directory again.
LATE_WRITES = (0.0, 0.1, 0.4)


class _KnownErrors(logging.Filter):
    """Drops the tracebacks of failed saves that are logged besides the error that `check` raises.

    Orbax logs its own, asyncio those of writes that nobody waited for after the first had failed.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        if not isinstance(record.exc_info, tuple):
            return True
        frames = traceback.extract_tb(record.exc_info[2])
        texts = (record.pathname, str(record.exc_info[1]), *(frame.filename for frame in frames))
        return not any("orbax" in text for text in texts)


_KNOWN_ERRORS = _KnownErrors()


def _drop_late_answers() -> None:
    """Keeps writes that end after a failed save from printing a traceback each.

    They report from threads of TensorStore to an event loop that has been closed by then.
    """
    before = sys.unraisablehook
    if getattr(before, "drops_late_answers", False):
        return

    def hook(unraisable: "sys.UnraisableHookArgs") -> None:
        frames = traceback.extract_tb(unraisable.exc_traceback)[:1]
        late = frames and frames[0].name == "call_soon_threadsafe"
        if not late or "loop is closed" not in str(unraisable.exc_value):
            before(unraisable)

    hook.drops_late_answers = True  # type: ignore[attr-defined]
    sys.unraisablehook = hook


class Saver:
    """One save at a time, with the failure of the last ones kept until somebody asks."""

    def __init__(self, timeout_seconds: int = 1200):
        """Starts nothing yet.

        Args:
          timeout_seconds: after which processes stop waiting for each other.
        """
        self._timeout = timeout_seconds
        self._orbax: ocp.AsyncCheckpointer | None = None
        self._thread: threading.Thread | None = None
        self._failures: list[CheckpointError] = []
        for name in ("absl", "asyncio"):
            logging.getLogger(name).addFilter(_KNOWN_ERRORS)
        _drop_late_answers()

    def start(
        self,
        step: int,
        directory: Path,
        items: Mapping[str, Any],
        *,
        before: Callable[[], None],
        finish: Callable[[], None],
        abandon: Callable[[], None],
    ) -> None:
        """Copies `items` to the host, then goes on in a thread; waits for the save before.

        Args:
          step: named in the failure.
          directory: where Orbax puts the items.
          items: name -> tree of arrays.
          before: makes room for the directory; called here.
          finish: called in the thread when Orbax is done; the save has failed if it raises.
          abandon: removes what a failed save left; called in the thread or here.
        """
        self.join()
        try:
            before()
            if self._orbax is None:
                handler = ocp.CompositeCheckpointHandler()
                self._orbax = ocp.AsyncCheckpointer(handler, timeout_secs=self._timeout)
            self._orbax.save(without_patterns(directory), args=trees.composite(items))
        except Exception as e:
            self._fail(step, directory, e, abandon)
            return
        self._thread = threading.Thread(
            target=self._run, args=(step, directory, finish, abandon), name=f"save {step}"
        )
        self._thread.start()

    def run(self, work: Callable[[], None]) -> None:
        """Does `work` in the thread, for what need not be waited for; it must not raise."""
        self.join()
        self._thread = threading.Thread(target=work, name="checkpoint")
        self._thread.start()

    def join(self) -> None:
        """Waits until nothing is under way; raises nothing."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def raise_failure(self) -> None:
        """Raises the oldest failure that was not raised yet."""
        if self._failures:
            raise self._failures.pop(0)

    def close(self) -> None:
        """Waits, and ends the threads."""
        self.join()
        self._reset()

    def _run(
        self, step: int, directory: Path, finish: Callable[[], None], abandon: Callable[[], None]
    ) -> None:
        assert self._orbax is not None
        try:
            self._orbax.wait_until_finished()
            finish()
        except BaseException as e:
            self._fail(step, directory, e, abandon)

    def _fail(
        self, step: int, directory: Path, error: BaseException, abandon: Callable[[], None]
    ) -> None:
        self._reset()
        for wait in LATE_WRITES:
            time.sleep(wait)
            with contextlib.suppress(Exception):
                abandon()
        if is_disk_full(error):
            text = (
                f"Saving checkpoint {step} failed: the disk of {directory.parent} is full. Free "
                "space there and start again; the checkpoints before are intact."
            )
        else:
            text = f"Saving checkpoint {step} failed: {type(error).__name__}: {error}"
        failure = CheckpointError(text) if not isinstance(error, CheckpointError) else error
        failure.__cause__ = None if failure is error else error
        self._failures.append(failure)

    def _reset(self) -> None:
        """Ends Orbax's threads; an error that it still holds is known already."""
        checkpointer, self._orbax = self._orbax, None
        if checkpointer is not None:
            for _ in range(2):
                with contextlib.suppress(Exception):
                    checkpointer.close()
                    break
