"""How a process finds the others of its run, and how it leaves them.

Nothing here touches a device before `join` has returned. Who waits in a collective for a process
that is gone waits for ever, so a process that ends early ends at once (`abandon`).
"""

import dataclasses
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn

from prolip.config import ConfigError
from prolip.exit_codes import PEER_LOST

COORDINATOR, NUM_PROCESSES, PROCESS_ID, DISTRIBUTED = (
    *("PROLIP_COORDINATOR", "PROLIP_NUM_PROCESSES", "PROLIP_PROCESS_ID", "PROLIP_DISTRIBUTED"),
)
LATER = 60  # Seconds after `Timeouts.initialization` at which JAX would give up by itself.
# What collectives and the coordination service say when another process is gone. All of them are
# general errors of their libraries, so that only the text tells.
SIGNS = (
    *("gloo", "connection reset by peer", "connection closed by peer", "socket closed"),
    *("coordination service", "coordinationservice", "heartbeat", "nccl", "barrier timed out"),
    *("barrier failed", "task has crashed", "tasks have crashed", "failed to connect to remote"),
)


class PeerLostError(RuntimeError):
    """Another process of the run is gone; all stop, and a restart goes on."""


@dataclasses.dataclass(frozen=True)
class Timeouts:
    """Seconds; a process that is gone is known after `heartbeat` at the latest."""

    initialization: int = 300  # Until all processes have come.
    heartbeat: int = 45
    shutdown: int = 60  # Until all have gone, once they have agreed to go.


@dataclasses.dataclass(frozen=True)
class Place:
    """Which process of how many this one is; all empty where JAX is to find out itself."""

    coordinator: str = ""
    num_processes: int | None = None
    process_id: int | None = None

    @property
    def known(self) -> bool:
        """Whether it was said, rather than left to JAX to find out."""
        return bool(self.coordinator)


def find_place(
    coordinator: str = "",
    num_processes: int | None = None,
    process_id: int | None = None,
    distributed: str = "",
    environment: Mapping[str, str] = os.environ,
) -> Place | None:
    """The place that the options say, or else the environment; None for a process alone.

    Args:
      coordinator: HOST:PORT of process 0, or `PROLIP_COORDINATOR`.
      num_processes: of the run, or `PROLIP_NUM_PROCESSES`.
      process_id: from 0, or `PROLIP_PROCESS_ID`.
      distributed: "auto" leaves all three to JAX, which knows SLURM, Open MPI, Kubernetes jobs and
        Cloud TPU; "off" is one process whatever the environment says; or `PROLIP_DISTRIBUTED`.
      environment: of the process.

    Raises:
      ConfigError: only some of the three are known, or they don't fit each other.
    """
    distributed = distributed or environment.get(DISTRIBUTED, "")
    if distributed not in ("", "auto", "off"):
        raise ConfigError(f"{DISTRIBUTED} is auto or off; got {distributed!r}")
    if distributed == "off":
        return None
    if distributed == "auto":
        return Place()
    coordinator = coordinator or environment.get(COORDINATOR, "")
    count = _number(num_processes, NUM_PROCESSES, environment)
    index = _number(process_id, PROCESS_ID, environment)
    if not coordinator and count is None and index is None:
        return None
    if not coordinator or count is None or index is None:
        raise ConfigError(
            "several processes need all of --coordinator HOST:PORT, --num-processes N and "
            f"--process-id I (or {COORDINATOR}, {NUM_PROCESSES} and {PROCESS_ID}), "
            "or --distributed auto"
        )
    host, _, port = coordinator.rpartition(":")
    if not host or not (port.isdecimal() and 0 < int(port) < 1 << 16):
        raise ConfigError(f"--coordinator is like 10.0.0.1:8476; got {coordinator!r}")
    if not 0 <= index < count:
        raise ConfigError(f"--process-id counts from 0 to {count - 1}; got {index}")
    return Place(coordinator, count, index)


def _number(given: int | None, name: str, environment: Mapping[str, str]) -> int | None:
    if given is not None:
        return given
    text = environment.get(name, "")
    if text and not text.isdecimal():
        raise ConfigError(f"{name} is a number; got {text!r}")
    return int(text) if text else None


def join(place: Place, timeouts: Timeouts, say: Callable[[str], None]) -> None:
    """Meets the other processes; devices of all of them are then `jax.devices()`.

    A process that has waited in vain ends here: JAX's own way out of this wait is an abort with a
    stack of its service.

    Args:
      place: of this process.
      timeouts: how long to wait.
      say: gets the last sentence of a process that ends here.

    Raises:
      ConfigError: JAX can't find out the place, or the coordinator's port is in use.
      PeerLostError: not all processes came in time.
    """
    import jax

    jax.config.update("jax_cpu_collectives_implementation", "gloo")  # Of no account elsewhere.
    # Its handler would swallow SIGTERM in verbs that need not be told, and its sync point counts
    # from the first step of a run also where that is resumed.
    jax.config.update("jax_enable_preemption_service", False)
    options: dict[str, Any] = {}
    if place.known:
        options = dataclasses.asdict(place) | {"cluster_detection_method": "deactivate"}
        options["coordinator_address"] = options.pop("coordinator")
        if place.process_id == 0:
            _check_port(place.coordinator)
    waited = _end_after(place, timeouts.initialization, say)
    try:
        jax.distributed.initialize(
            **options,
            initialization_timeout=timeouts.initialization + LATER,
            heartbeat_timeout_seconds=timeouts.heartbeat,
            shutdown_timeout_seconds=timeouts.shutdown,
        )
    except ValueError as error:
        raise ConfigError(
            f"JAX finds no cluster here ({error}); say --coordinator, --num-processes and "
            "--process-id"
        ) from error
    except jax.errors.JaxRuntimeError as error:
        sentence = _not_met(place, timeouts.initialization)
        raise PeerLostError(f"{sentence} ({_first_line(error)})") from error
    finally:
        waited.cancel()


def _not_met(place: Place, seconds: int) -> str:
    who = f"process {place.process_id} of {place.num_processes}" if place.known else "this process"
    others = "process 0 did not answer, or has not met all others itself"
    if place.process_id in (0, None):
        others = "not all processes have come"
    return (
        f"{who} has waited {seconds} s at {place.coordinator or 'the coordinator'}: {others}. "
        "Start all processes with the same --coordinator and --num-processes, and look at the "
        "output of the one that is missing; --initialization-timeout allows more time"
    )


def _end_after(place: Place, seconds: int, say: Callable[[str], None]) -> threading.Timer:
    """Starts a timer that ends this process when the others have not come."""

    def end() -> None:
        say(_not_met(place, seconds))
        abandon(PEER_LOST)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    return timer


def _check_port(coordinator: str) -> None:
    """Raises ConfigError where process 0 can't listen: JAX's service would abort the process."""
    port = int(coordinator.rpartition(":")[2])
    family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET
    try:
        with socket.create_server(
            ("", port), family=family, dualstack_ipv6=family == socket.AF_INET6
        ):
            pass
    except OSError as error:
        raise ConfigError(
            f"process 0 can't listen on port {port} ({os.strerror(error.errno or 0)}): give all "
            "processes another --coordinator, or stop what uses the port"
        ) from error


def joined() -> bool:
    """Whether this process has joined others, which it must not keep waiting."""
    jax = sys.modules.get("jax")
    return jax is not None and jax.distributed.is_initialized()


def leave() -> None:
    """Ends what `join` began, once every process has come to its end.

    Without this meeting those that have nothing to do would wait for the one that still writes no
    longer than the shutdown timeout.
    """
    import jax
    from jax.experimental import multihost_utils

    multihost_utils.sync_global_devices("prolip: end")
    jax.distributed.shutdown()


def abandon(code: int) -> NoReturn:
    """Ends this process now: one that went the orderly way would wait for the others."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def who() -> str:
    """This process, for sentences."""
    import jax

    return f"process {jax.process_index()} of {jax.process_count()}"


def peer_lost(error: BaseException) -> PeerLostError | None:
    """The sentence for an error that comes from the end of another process; None for others."""
    if isinstance(error, PeerLostError):
        return error
    if not joined():
        return None
    for cause in _chain(error):
        text = f"{type(cause).__name__} {cause}".lower()
        if any(sign in text for sign in SIGNS):
            return PeerLostError(
                f"{who()} has lost another process, whose own output says why, and stops "
                f"({_first_line(cause)}). The same command in all processes goes on from the last "
                "checkpoint."
            )
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:200]
