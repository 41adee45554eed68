"""Writers that are killed, race, or are taken over; leases of this and of other machines."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from prolip.checkpoint import CheckpointStore, LeaseHeld, lease

HERE = Path(__file__).parent


def run(*arguments):
    """Output of a script of this folder."""
    root = HERE.parents[1]
    env = os.environ | {"PYTHONPATH": f"{root}{os.pathsep}{HERE}"}
    done = subprocess.run(
        [sys.executable, *arguments], env=env, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_kill_at_any_change_of_a_directory_leaves_good_steps_and_no_rubbish():
    counts = [
        int(line.split()[0]) for line in run(HERE / "forked_writers.py", "kills").splitlines()
    ]
    assert len(counts) == 2 and min(counts) > 40


def test_one_of_several_writers_wins_and_the_loser_of_a_take_over_stops():
    assert run(HERE / "forked_writers.py", "races").split() == ["25", "races", "take-over"]


def write_lease(path, **changes):
    holder = lease.this_process()._replace(**changes)
    path.write_text(json.dumps(holder._asdict()))


def test_a_dead_process_of_this_machine_holds_nothing(tmp_path):
    path = tmp_path / "writer"
    child = subprocess.Popen([sys.executable, "-c", ""])
    started = lease._started(child.pid)
    child.wait()
    write_lease(path, pid=child.pid, started=started)
    lease.acquire(path, 60.0).release()
    # A living process that got the number of the dead one is not the dead one.
    write_lease(path, pid=os.getpid(), started="1")
    lease.acquire(path, 60.0).release()
    assert not path.exists()


def test_a_zombie_is_dead(tmp_path):
    path = tmp_path / "writer"
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    write_lease(path, pid=child.pid, started=lease._started(child.pid))
    with pytest.raises(LeaseHeld, match=f"process {child.pid} on"):
        lease.acquire(path, 60.0)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # Dead, and not reaped.
    lease.acquire(path, 60.0).release()
    child.stdin.close()
    child.wait()


def test_a_lease_of_another_machine_counts_until_it_expires(tmp_path):
    path = tmp_path / "writer"
    write_lease(path, machine="another", host="node-7", pid=1)
    with pytest.raises(LeaseHeld, match=r"process 1 on node-7 .* again in (60|59) seconds"):
        lease.acquire(path, 60.0)
    age(path, 50)
    with pytest.raises(LeaseHeld, match=r"again in (10|9) seconds"):
        lease.acquire(path, 60.0)
    age(path, -3600)  # A clock that was set back frees nothing.
    with pytest.raises(LeaseHeld):
        lease.acquire(path, 60.0)
    age(path, 61)
    lease.acquire(path, 60.0).release()


def test_a_lease_that_nobody_can_read_counts_until_it_expires(tmp_path):
    path = tmp_path / "writer"
    for garbage in (b"", b"\xff", b"[]", b"{}", b'{"host": 1}'):
        path.write_bytes(garbage)
        with pytest.raises(LeaseHeld, match="another process"):
            lease.acquire(path, 60.0)
        age(path, 61)
        lease.acquire(path, 60.0).release()


def test_a_held_lease_is_kept_young(tmp_path):
    path = tmp_path / "writer"
    held = lease.acquire(path, 0.3)
    age(path, 1000)
    held._stop.wait(0.5)
    assert lease.seconds_left(path, None, 0.3) > 0
    held.release()


def test_a_living_writer_of_this_machine_is_named(tmp_path):
    script = "import sys; from prolip.checkpoint import CheckpointStore as S\n"
    script += "s = S(sys.argv[1], write=True); print('ready', flush=True); input()"
    env = os.environ | {"PYTHONPATH": str(HERE.parents[1]), "JAX_PLATFORMS": "cpu"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", script, tmp_path], env=env, **pipes) as other:
        other.stdout.readline()
        with pytest.raises(LeaseHeld, match=f"process {other.pid} on .* writing there and alive"):
            CheckpointStore(tmp_path, write=True)
        os.utime(tmp_path / "writer", (0, 0))  # Its thread may be stopped; it lives.
        with pytest.raises(LeaseHeld):
            CheckpointStore(tmp_path, write=True)
        other.kill()
        other.wait()
        CheckpointStore(tmp_path, write=True).close()


def age(path, seconds):
    now = path.stat().st_ctime
    os.utime(path, (now - seconds, now - seconds))


def test_a_lease_from_the_future_expires_like_any_other(tmp_path):
    path = tmp_path / "writer"
    write_lease(path, machine="another")
    age(path, -7200)
    with pytest.raises(LeaseHeld) as held:
        lease.acquire(path, 60.0)
    assert held.value.passes and "in 60 seconds" in str(held.value)
    assert lease.seconds_left(path, lease.read_holder(path), 60.0) <= 60.0
    age(path, 61)  # As if nobody had touched it since.
    lease.acquire(path, 60.0).release()
