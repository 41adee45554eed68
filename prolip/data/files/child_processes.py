"""Processes that read or write for this one, and end with it however it ends."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import active_children, get_context, parent_process
from typing import Any

CONTEXT = get_context("spawn")


class ChildProcesses(ProcessPoolExecutor):
    """A pool whose processes leave Ctrl-C to this one, and end with the `with` that it ends."""

    def __init__(self, count: int, begin: Callable[..., None] | None, arguments: tuple[Any, ...]):
        self._others = active_children()
        super().__init__(count, CONTEXT, _begin, (begin, arguments))

    def submit(self, task: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Queues a task; starts a process where one is missing."""
        with _interrupts_ignored():  # Which a process inherits that is started now.
            return super().submit(task, *args, **kwargs)

    def __exit__(self, kind: Any, error: Any, trace: Any) -> Any:
        """Waits for what is queued; after Ctrl-C it ends the processes instead."""
        if kind is not None and not issubclass(kind, Exception):
            self.shutdown(wait=False, cancel_futures=True)
            for process in active_children():
                if process not in self._others:
                    process.terminate()
        return super().__exit__(kind, error, trace)


def child_processes(
    count: int, begin: Callable[..., None] | None = None, arguments: tuple[Any, ...] = ()
) -> ChildProcesses:
    """A pool of `count` processes, each of which first calls `begin`."""
    return ChildProcesses(count, begin, arguments)


@contextlib.contextmanager
def _interrupts_ignored() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler if before is None else before)


def _begin(begin: Callable[..., None] | None, arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A parent that is killed can't end its children: they would finish what is queued beside those
    # of the next start, and then wait forever, for they hold both ends of the queue.
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if begin is not None:
        begin(*arguments)


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
