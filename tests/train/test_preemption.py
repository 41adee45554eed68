"""SIGTERM to one of several processes stops all, at the same step, wherever the run began."""

import argparse
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from prolip import sharding
from prolip.cli import train as verb
from prolip.config import ConfigError, MeshConfig
from prolip.train.preemption import StopNotice, _Exchange

ROOT = Path(__file__).parents[2]
PROGRAM = """
import sys, time
import jax
jax.config.update("jax_cpu_collectives_implementation", "gloo")
jax.config.update("jax_enable_preemption_service", False)
port, processes, process, first = map(int, sys.argv[1:])
from prolip.train.preemption import StopNotice
notice = StopNotice()
jax.distributed.initialize(f"localhost:{port}", processes, process)
print("ready", flush=True)
sys.stdin.readline()
for step in range(first, first + 600):
    time.sleep(0.05)
    if notice.reached(step):
        break
notice.close()
print(f"stopped {step} {notice.signal}", flush=True)
"""


def test_a_flag_is_answered_one_step_later_under_any_mesh():
    exchange = _Exchange()
    with jax.set_mesh(sharding.make_mesh(MeshConfig(), jax.devices())):
        assert [exchange.next(flag) for flag in (False, True, False, False)] == [
            *(False, False, True, False)
        ]


def test_a_signal_is_answered_with_a_sentence_and_a_second_one_is_not_caught(capfd):
    before = signal.getsignal(signal.SIGTERM)
    notice = StopNotice()
    try:
        assert not notice.reached(1)
        signal.raise_signal(signal.SIGTERM)
        assert notice.reached(2) and notice.signal == signal.SIGTERM
        assert "stops and is saved after the next step" in capfd.readouterr().err
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    finally:
        notice.close()
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_start_that_is_refused_restores_the_handlers_of_signals():
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    args = argparse.Namespace(config="emoji", overrides=["--config.nonsense=1"])
    with pytest.raises(ConfigError):
        verb.run(args)
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("processes", "first", "early"), [(2, 1, False), (2, 101, True), (3, 7, True)]
)
def test_all_processes_stop_at_the_same_step(processes, first, early):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    env = os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, port, str(processes), str(number), str(first)],
            env=env,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for number in range(processes)
    ]
    try:
        for run in runs:
            while run.stdout.readline().strip() != "ready":
                pass
        if early:  # Before the first step.
            runs[-1].send_signal(signal.SIGTERM)
        for run in runs:
            run.stdin.write("go\n")
            run.stdin.flush()
        if not early:
            runs[-1].send_signal(signal.SIGTERM)
        said = [run.communicate(timeout=60)[0].splitlines()[-1].split() for run in runs]
    finally:
        for run in runs:
            run.kill()
            run.wait()
            run.stdout.close()
    assert all(words == said[0] for words in said)
    word, step, number = said[0]
    assert word == "stopped" and int(number) == signal.SIGTERM
    assert int(step) == first + 1 if early else first <= int(step) < first + 599
