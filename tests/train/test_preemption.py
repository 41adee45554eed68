"""SIGTERM to one of two processes stops both, at the same step."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """
import sys, time
import jax
jax.config.update("jax_cpu_collectives_implementation", "gloo")
jax.distributed.initialize("localhost:" + sys.argv[1], 2, int(sys.argv[2]))
from prolip.train.preemption import StopNotice
notice = StopNotice()
print("ready", flush=True)
for step in range(1, 600):
    time.sleep(0.05)
    if notice.reached(step):
        break
notice.close()
print(step, notice.signal, flush=True)
"""


@pytest.mark.slow
def test_all_processes_stop_at_the_step_that_the_service_names():
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    env = os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, port, str(number)],
            env=env,
            text=True,
            stdout=subprocess.PIPE,
        )
        for number in range(2)
    ]
    try:
        for run in runs:
            assert run.stdout.readline().strip() == "ready"
        runs[1].send_signal(signal.SIGTERM)
        said = [run.communicate(timeout=60)[0].split() for run in runs]
    finally:
        for run in runs:
            run.kill()
            run.wait()
            run.stdout.close()
    assert said[0] == said[1]
    step, number = map(int, said[0])
    assert step < 599 and number == signal.SIGTERM
