"""Several processes that evaluate one checkpoint: who says what is done, and joining the parts."""

import logging
import signal
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from prolip import distributed
from prolip.checkpoint.agreement import agree
from prolip.evals.context import host_gaussian
from prolip.exit_codes import RESTART
from prolip.gaussian import Gaussian

# Besides steps, which are not negative; END - code ends with that exit code, and SET - number
# means a set beside the split, with the model of the last step.
IDLE, END, SET = -1, -2, -1_000

log = logging.getLogger(__name__)


class Leader:
    """Process 0: says to the others what it is about to do. Alone it has nobody to tell."""

    def __init__(self, evaluate: Callable[[int], Any]):
        self._evaluate = evaluate

    def evaluate(self, step: int) -> Any:
        """Evaluates with the others, who embed their parts."""
        agree(step)
        return self._evaluate(step)

    def set(self, number: int) -> None:
        """Says which set comes next; the others embed their parts of it."""
        agree(SET - number)

    def idle(self) -> None:
        """Lets the others know that this process is there; collectives don't wait for ever."""
        agree(IDLE)

    def end(self, code: int) -> None:
        """Lets the others go, with this exit code."""
        agree(END - code)


def follow(
    evaluate: Callable[[int], Any],
    idle: Callable[[str], None],
    embed_set: Callable[[int], Any] = lambda number: None,
) -> int:
    """Does what process 0 says until it ends; gives its exit code.

    Args:
      evaluate: embeds with the model of a step.
      embed_set: embeds a set with the model of the last step.
      idle: told before waiting for process 0, who may be busy with an evaluator.
    """
    # Nothing here needs to be saved, and a collective would be waited for to the end.
    signal.signal(signal.SIGTERM, lambda *_: distributed.abandon(RESTART))
    while True:
        idle("waiting for process 0")
        said = agree(0)
        if SET < said <= END:
            return END - said
        if said != IDLE:
            try:
                evaluate(said) if said >= 0 else embed_set(SET - said)
            except Exception as error:
                # Process 0 records that it went wrong, and only this one knows why.
                lost = distributed.peer_lost(error)
                if lost is not None:
                    raise lost from error
                log.error("%s: %s: %s", distributed.who(), type(error).__name__, error)


def gather_batches(encode: Callable[[], list[Gaussian]], batch: int) -> Gaussian:
    """All rows in order, on every process.

    Args:
      encode: gives the batches i, i + n, i + 2n ... of process i of n, in order.
      batch: rows of each batch, except the last one of all.

    Raises:
      ValueError: on every process, if `encode` failed on one; that one raises its own error.
    """
    from jax.experimental import multihost_utils

    parts, failure = list[Gaussian](), None
    try:
        parts = encode()
    except Exception as error:
        failure = error
    rows = sum(len(part.mean) for part in parts)
    dim = parts[0].mean.shape[1] if parts else 0
    mine = np.array([rows, dim, failure is not None], np.int32)
    told = np.asarray(multihost_utils.process_allgather(mine))
    if failure is not None:
        raise failure
    if told[:, 2].any():
        bad = ", ".join(map(str, np.flatnonzero(told[:, 2])))
        raise ValueError(f"process {bad} could not embed its part; its output says why")
    most, dim = told[:, 0].max(), told[:, 1].max()
    sent = np.zeros((2, most, dim), np.float32)
    if rows:
        sent[0, :rows] = np.concatenate([part.mean for part in parts])
        sent[1, :rows] = np.concatenate([part.log_var for part in parts])
    # [process, 2, rows, dim], then every process's batches dealt out in turn.
    got = np.asarray(multihost_utils.process_allgather(sent))
    order = _order(told[:, 0], batch)
    mean, log_var = (got[order[:, 0], i, order[:, 1]] for i in range(2))
    return host_gaussian(mean, log_var)


def _order(rows: np.ndarray, batch: int) -> np.ndarray:
    """(process, row) of each row of the whole, when whole batches are dealt out in turn."""
    total, count = int(rows.sum()), len(rows)
    number = np.arange(total)
    turn, within = number // batch, number % batch
    assert count == jax.process_count()
    return np.stack([turn % count, turn // count * batch + within], axis=1)
