"""Processes that read or write for this one, and end with it however it ends."""

import os
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, parent_process
from typing import Any

CONTEXT = get_context("spawn")


def child_processes(
    count: int, begin: Callable[..., None] | None = None, arguments: tuple[Any, ...] = ()
) -> ProcessPoolExecutor:
    """A pool of `count` processes, each of which first calls `begin`."""
    return ProcessPoolExecutor(count, CONTEXT, _begin, (begin, arguments))


def _begin(begin: Callable[..., None] | None, arguments: tuple[Any, ...]) -> None:
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
