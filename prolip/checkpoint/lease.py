"""Leases: files that say which process uses a directory, kept young by a thread.

A lease of a process of this machine is good as long as that process lives; one of another
machine as long as its file is touched. The holder touches the open file, not the name, so that
it can never write over the lease of a successor.
"""

import contextlib
import json
import math
import os
import socket
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from prolip.checkpoint import durable
from prolip.checkpoint.errors import LeaseHeld, LeaseLost
from prolip.workdir import naming

try:
    import fcntl
except ImportError:  # pragma: no cover - only where there is no POSIX.
    fcntl = None  # type: ignore[assignment]


class Holder(NamedTuple):
    """The process that holds a lease."""

    host: str
    machine: str  # Boot and process name space: where `pid` means something.
    pid: int
    started: str  # Of the process, in ticks since boot: tells a reused pid.
    token: str


class Lease:
    """A lease file and the thread that touches it until `release`."""

    def __init__(self, path: Path, seconds: float, *, exclusive: bool = False):
        """Writes the lease at `path`, over the one that may be there.

        Args:
          path: of the lease file.
          seconds: after which it has expired when it is not touched.
          exclusive: others compete for the same file; see `acquire`.
        """
        self.path = path
        self._exclusive = exclusive
        self.holder = this_process()
        self._lost = False
        self._stop = threading.Event()
        temporary = path.with_name(f".{path.name}.{self.holder.token}")
        self._fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        try:
            with naming(path):
                os.write(self._fd, json.dumps(self.holder._asdict()).encode())
                os.fsync(self._fd)
            os.rename(temporary, path)
        except BaseException:
            os.close(self._fd)
            temporary.unlink(missing_ok=True)
            raise
        self._thread = threading.Thread(
            target=self._beat, args=(seconds / 6,), name=f"lease {path.name}", daemon=True
        )
        self._thread.start()

    def check(self, *, read: bool = False) -> None:
        """Raises LeaseLost if another process has taken over.

        Args:
          read: looks at the file now, not only at what the thread found at its last look.
        """
        if self._lost or (read and not self._is_mine()):
            self._lost = True
            other = read_holder(self.path)
            by = f" by process {other.pid} on {other.host}" if other else ""
            raise LeaseLost(
                f"The writer's lease {self.path} was taken over{by}; this process stops writing "
                "there. Only one trainer may use a workdir."
            )

    def release(self) -> None:
        """Ends the thread and removes the file if it is still this process's."""
        if self._stop.is_set():
            return
        self._stop.set()
        self._thread.join()
        alone = _locked(self.path.parent) if self._exclusive else contextlib.nullcontext()
        with contextlib.suppress(OSError), alone:
            if self._is_mine():
                self.path.unlink()
        os.close(self._fd)

    def _is_mine(self) -> bool:
        other = read_holder(self.path)
        return other is not None and other.token == self.holder.token

    def _beat(self, interval: float) -> None:
        while not self._stop.wait(interval):
            try:
                os.utime(self._fd)
                if not self._is_mine():
                    self._lost = True
            except OSError:
                pass  # A file system that answers again later; expiry is the judge.


def acquire(path: Path, seconds: float) -> Lease:
    """Takes the writer's lease of a directory.

    Args:
      path: of the lease file.
      seconds: after which an untouched lease of another machine has expired.

    Raises:
      LeaseHeld: a living process, or an unexpired one of another machine, holds it.
    """
    with _locked(path.parent):
        if path.exists():
            holder = read_holder(path)
            left = seconds_left(path, holder, seconds)
            if left > 0:
                raise LeaseHeld(_refusal(path, holder, left), passes=math.isfinite(left))
        lease = Lease(path, seconds, exclusive=True)
    try:
        # Where the file system has no locks, the last of several that found it free has it.
        lease.check(read=True)
    except LeaseLost as e:
        lease.release()
        raise LeaseHeld(_refusal(path, read_holder(path), seconds), passes=True) from e
    return lease


def is_held(path: Path, seconds: float) -> bool:
    """Whether the lease at `path` counts; a file that is gone does not."""
    return seconds_left(path, read_holder(path), seconds) > 0


def seconds_left(path: Path, holder: Holder | None, seconds: float) -> float:
    """How long a lease is good: 0 for a dead holder, infinity for a living one of this machine."""
    if holder is not None and holder.machine == _machine():
        return float("inf") if _is_alive(holder) else 0.0
    try:
        touched = path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
    # Both times are the file server's, so that clocks of machines need not agree.
    left = max(0.0, seconds - (server_time(path.parent) - touched))
    if left > seconds:
        # From the future: a clock has been set back, or the file was copied. It would count for as
        # long; touched now, it expires like any other unless its holder touches it again.
        with contextlib.suppress(OSError):
            os.utime(path)
        return seconds
    return left


def read_holder(path: Path) -> Holder | None:
    """Who holds the lease at `path`; None if the file is gone or can't be understood."""
    try:
        return Holder(**json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):
        return None


def this_process() -> Holder:
    """This process as a holder, with a token of its own."""
    pid = os.getpid()
    return Holder(socket.gethostname(), _machine(), pid, _started(pid), uuid.uuid4().hex)


def _refusal(path: Path, holder: Holder | None, left: float) -> str:
    who = f"process {holder.pid} on {holder.host}" if holder else "another process"
    if holder is not None and holder.pid == os.getpid() and holder.machine == _machine():
        return f"{path.parent} is open for writing in this process already; close that store first."
    if left == float("inf"):
        return (
            f"{path.parent} is in use: {who} is writing there and alive. Stop it first, or choose "
            "another workdir."
        )
    return (
        f"{path.parent} is in use: {who} was writing there a moment ago. If it is dead, start "
        f"again in {left:.0f} seconds; if it is alive, stop it or choose another workdir."
    )


def _machine() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return socket.gethostname()


def _started(pid: int) -> str:
    """Start of the process; "" if it is dead, "unknown" where /proc is missing."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "" if Path("/proc/self/stat").exists() else "unknown"
    return "" if fields[0] in "ZX" else fields[19]


def _is_alive(holder: Holder) -> bool:
    if _started(holder.pid) != holder.started:
        return False
    try:
        os.kill(holder.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def server_time(directory: Path) -> float:
    """The time that a file gets which is written to `directory` now."""
    probe = directory / f".time.{uuid.uuid4().hex}"
    try:
        durable.write_new(probe, b"")
        return probe.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Lets one process at a time decide who gets a lease, where the file system has locks."""
    fd = os.open(directory / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if fcntl is not None:
            with contextlib.suppress(OSError):
                fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
