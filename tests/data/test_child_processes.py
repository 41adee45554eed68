"""Child processes end with the one that started them, also where it is killed."""

import os
import signal
import subprocess
import sys
import time

import pytest

from prolip.data.files.child_processes import child_processes

SCRIPT = """
import os, sys, time
from prolip.data.files.child_processes import child_processes

def begin(number):
    print(number, os.getpid(), flush=True)

if __name__ == "__main__":
    pool = child_processes(2, begin, (7,))
    for _ in range(4):
        pool.submit(time.sleep, 600)
    time.sleep(600)
"""


def test_they_begin_as_they_are_told_and_work():
    with child_processes(1, os.chdir, ("/",)) as pool:
        assert pool.submit(os.getcwd).result() == "/"


@pytest.mark.slow
def test_they_end_with_a_parent_that_is_killed(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, str(script)], env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        told = [process.stdout.readline().split() for _ in range(2)]
        assert [number for number, _ in told] == ["7", "7"]
        children = [int(pid) for _, pid in told]
        assert all(lives(pid) for pid in children)
        process.send_signal(signal.SIGKILL)
        process.wait()
        end = time.monotonic() + 20
        while any(lives(pid) for pid in children):
            assert time.monotonic() < end, "they outlive their parent"
            time.sleep(0.05)


def lives(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
