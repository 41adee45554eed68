"""Stops a run when its machine is about to go, or a person has had enough."""

import contextlib
import os
import signal
from types import FrameType

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

STOPPING = b"the run stops and is saved after the next step; the same signal again ends it now\n"


class StopNotice:
    """Remembers SIGTERM and Ctrl-C until the loop has finished its step; a second one kills.

    One of several processes that has received a signal stops all of them at the same step: at each
    step all processes exchange whether they have been told to stop, and read the answer one step
    later, so that neither host nor device waits for it. This needs no count of steps and no clock,
    so a run that resumes at any step stops like one that begins. Ctrl-C counts as a SIGTERM then.
    """

    def __init__(self) -> None:
        """Listens from now on; no device is touched before `reached`."""
        self.signal: int | None = None
        self._exchange: _Exchange | None = None
        self._previous = {
            number: signal.signal(number, self._receive)
            for number in (signal.SIGTERM, signal.SIGINT)
        }

    def reached(self, step: int) -> bool:
        """Returns whether to save and stop now; every process must ask at every step."""
        if jax.process_count() == 1:
            return self.signal is not None
        self._exchange = self._exchange or _Exchange()
        told = self._exchange.next(self.signal is not None)
        if told:
            self.signal = signal.SIGTERM
        return told

    def close(self) -> None:
        """Restores the handlers from before."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        self.signal = number
        # Not `print`: the signal may have come in the middle of one.
        with contextlib.suppress(OSError):
            os.write(2, STOPPING)


class _Exchange:
    """The maximum of one flag per process, one call late."""

    def __init__(self) -> None:
        # Of its own: flags come from processes, however the batch is divided.
        self._mesh = Mesh(np.array(jax.devices()), ("device",))
        self._by_device = NamedSharding(self._mesh, PartitionSpec("device"))
        self._max = jax.jit(jnp.max, out_shardings=NamedSharding(self._mesh, PartitionSpec()))
        self._pending: jax.Array | None = None

    def next(self, flag: bool) -> bool:
        """Sends `flag`; returns whether any process sent a true one in the call before."""
        before, mine = self._pending, np.full(len(jax.local_devices()), flag, np.int32)
        with jax.set_mesh(self._mesh):
            flags = jax.make_array_from_process_local_data(self._by_device, mine)
            self._pending = self._max(flags)
        return before is not None and bool(jax.device_get(before))
