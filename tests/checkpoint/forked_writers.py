"""Kills and races of writers, in processes forked from one that has loaded everything already.

Run as a script; prints what was done. Orbax is replaced by a writer of two files, and no JAX
backend is started, so that a process costs milliseconds and any call can be the last one.
"""

import itertools
import logging
import os
import shutil
import signal
import sys
import tempfile
import time
import warnings
from pathlib import Path

import jax

from prolip.checkpoint import CheckpointStore, LeaseHeld, LeaseLost, lease, saving, trees
from prolip.config import CheckpointConfig

jax.process_index = lambda: 0
jax.process_count = lambda: 1
os.fsync = lambda fd: None  # A killed process loses nothing that it has written.
logging.disable()  # Of interrupted saves, hundreds of times.
warnings.simplefilter("ignore")  # About forking: no backend is started.
CALLS = ("rename", "unlink", "rmdir", "mkdir", "open", "fsync", "link", "replace")


class TwoFiles:
    """Writes as Orbax does: under another name first."""

    def __init__(self, handler, timeout_secs):
        pass

    def save(self, directory, args):
        self.final, self.data = directory, args
        self.temporary = directory.with_name(f"{directory.name}.orbax-checkpoint-tmp")
        os.mkdir(self.temporary)

    def wait_until_finished(self):
        for name in ("a", "b"):
            (self.temporary / name).write_bytes(self.data)
        os.rename(self.temporary, self.final)

    def close(self):
        pass


trees.check_items = lambda items: None
trees.composite = lambda items: items
saving.ocp.AsyncCheckpointer = TwoFiles
saving.ocp.CompositeCheckpointHandler = lambda: None


def contents(step):
    return f"contents of {step}".encode() * 100


def die_at(count):
    """Kills this process at the `count`-th of the calls that change a directory."""
    left = itertools.count(count, -1)

    def deadly(original):
        def call(*args, **kwargs):
            if next(left) <= 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*args, **kwargs)

        return call

    for name in CALLS:
        setattr(os, name, deadly(getattr(os, name)))


def in_fork(work):
    """Exit code of `work`, negative for a signal."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = work() or 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def train(directory, first, last):
    """A run that saves two steps more, deletes old ones, and finds a damaged one at its start."""
    keep = CheckpointConfig(keep_latest=2)
    with CheckpointStore(directory, write=True, keep=keep) as store:
        store.latest()
        for step in range(first, last + 1):
            store.save(step, contents(step), {"step": step}, {"c": b"c"})
            store.wait()


def good_steps(directory):
    """Steps that a fresh reader sees; each is read completely."""
    store = CheckpointStore(directory, write=False)
    for step in store.steps():
        assert store.verify(step) == [], store.verify(step)
        for name in ("a", "b"):
            assert (directory / str(step) / name).read_bytes() == contents(step)
        assert store.meta(step) == {"step": step} and store.assets(step) == {"c": b"c"}
    return store.steps()


def kills(damage):
    """A run killed at every call in turn leaves good steps alone, and the next run goes on."""
    with tempfile.TemporaryDirectory() as name:
        start = Path(name) / "start"
        train(start, 1, 3)
        if damage:
            (start / "3" / "a").write_bytes(b"")
        for count in itertools.count():
            directory = Path(name) / str(count)
            shutil.copytree(start, directory)
            if killed_at(count, directory, damage) == 0:
                print(f"{count} places to die{' after damage' if damage else ''}")
                return
            shutil.rmtree(directory)


def killed_at(count, directory, damage):
    """Exit code of the run that dies at the `count`-th call, 0 if it ends before."""
    before = [2] if damage else [2, 3]
    first = before[-1] + 1

    def run():
        die_at(count)
        train(directory, first, first + 1)

    code = in_fork(run)
    assert code in (0, -signal.SIGKILL), code
    after = good_steps(directory)
    assert after and after[-1] >= before[-1], after
    newest = CheckpointStore(directory, write=False).latest()
    assert newest == after[-1]
    assert in_fork(lambda: train(directory, newest + 1, 7)) == 0
    assert good_steps(directory) == [6, 7]
    # Nothing is left over.
    left = sorted(p.name for p in directory.iterdir())
    put_away = ["damaged"] if damage else []
    assert left == [".lock", "6", "7", *put_away, "manifests", "readers", "trash"], left
    assert not [*(directory / "readers").iterdir(), *(directory / "trash").iterdir()]
    names = sorted(p.name for p in (directory / "manifests").iterdir())
    assert names == ["6.json", "7.json"], names
    if damage:
        kinds = sorted(p.name.count(".json") for p in (directory / "damaged").iterdir())
        assert kinds == [0, 1], kinds
    return code


def compete(path, tell, wait, end):
    """Forks a process that tries to get the lease and tells "w" or "l"."""
    pid = os.fork()
    if pid:
        return pid
    os.close(end)
    try:
        held = lease.acquire(path, 60.0)
        time.sleep(0.02)
        held.check(read=True)
        os.write(tell, b"w")
        os.read(wait, 1)
    except LeaseHeld:
        os.write(tell, b"l")
    except BaseException:
        os.write(tell, b"?")
    finally:
        os._exit(0)


def races(rounds, writers):
    """Of writers that start at once on a dead one's directory, exactly one gets the lease."""
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as name:
            directory = Path(name)
            lease_path = directory / "writer"
            assert in_fork(lambda path=lease_path: lease.acquire(path, 60.0) and 0) == 0
            assert lease_path.exists()  # Left by a dead process.
            told, tell = os.pipe()
            wait, end = os.pipe()
            pids = [compete(lease_path, tell, wait, end) for _ in range(writers)]
            outcomes = b"".join(os.read(told, 1) for _ in pids)
            os.close(end)  # The winner has held it until all have tried.
            for pid in pids:
                os.waitpid(pid, 0)
            assert sorted(outcomes) == sorted(b"w" + b"l" * (writers - 1)), outcomes
            for fd in (told, tell, wait):
                os.close(fd)
    print(f"{rounds} races")


def takeover():
    """The loser of a take-over stops: its save under way does not become a step."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        loser = CheckpointStore(directory, write=True, lease_seconds=0.6)
        loser.save(1, contents(1), {"step": 1}, {"c": b"c"})
        loser.wait()

        def steal():
            lease.Lease(directory / "writer", 60.0)

        loser.save(2, contents(2), {"step": 2}, {"c": b"c"}, before_commit=steal)
        for attempt in (loser.wait, loser.check, lambda: loser.save(3, b"", {}, {})):
            try:
                attempt()
            except LeaseLost as e:
                assert "taken over by process" in str(e)
            else:
                raise AssertionError("the loser goes on")
        lost = [p.name for p in directory.iterdir()]
        assert "2" in lost  # It deletes nothing either.
        loser.close()
        assert good_steps(directory) == [1]
        assert (directory / "writer").exists()  # Of the winner.
    print("take-over")


if __name__ == "__main__":
    {"kills": lambda: (kills(False), kills(True)), "races": lambda: (races(25, 6), takeover())}[
        sys.argv[1]
    ]()
