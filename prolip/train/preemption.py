"""Notices that the machine is about to go, or that a person has had enough."""

import os
import signal
from types import FrameType

import jax


class StopNotice:
    """Remembers SIGTERM and Ctrl-C until the loop has finished its step; a second one kills.

    With several processes SIGTERM is left to `jax.distributed`, whose service tells all of them to
    stop at the same step when one has received it; Ctrl-C becomes a SIGTERM.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        several = jax.process_count() > 1
        mine = (signal.SIGINT,) if several else (signal.SIGTERM, signal.SIGINT)
        self._several = several
        self._previous = {s: signal.signal(s, self._notice) for s in mine}

    def reached(self, step: int) -> bool:
        """Whether to save and stop now; every process must ask at every step."""
        if jax.process_count() > 1:
            from jax.experimental import multihost_utils

            if multihost_utils.reached_preemption_sync_point(step):
                self.signal = signal.SIGTERM
        return self.signal is not None

    def close(self) -> None:
        """Gives the signals back."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _notice(self, number: int, _frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        if self._several:
            os.kill(os.getpid(), signal.SIGTERM)
        else:
            self.signal = number
