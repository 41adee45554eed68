"""A process finds its place by options, environment or cluster, and says what is missing."""

import socket
import subprocess
import sys

import pytest

from prolip import distributed
from prolip.cli.local_processes import environment, first_cause
from prolip.config import ConfigError
from prolip.distributed import Place, Timeouts, find_place

WHOLE = {
    "PROLIP_COORDINATOR": "10.0.0.1:80",
    "PROLIP_NUM_PROCESSES": "4",
    "PROLIP_PROCESS_ID": "3",
}


def test_options_come_before_the_environment():
    assert find_place(environment={}) is None
    assert find_place(environment=WHOLE) == Place("10.0.0.1:80", 4, 3)
    assert find_place("b:1", 2, 0, environment=WHOLE) == Place("b:1", 2, 0)
    assert find_place(distributed="off", environment=WHOLE) is None
    assert find_place(environment={"PROLIP_DISTRIBUTED": "auto"}) == Place()
    assert find_place(environment=environment(2, 3, 99, 1)) == Place("127.0.0.1:99", 3, 2)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"PROLIP_COORDINATOR": ""}, "all of --coordinator"),
        ({"PROLIP_COORDINATOR": "10.0.0.1"}, "like 10.0.0.1:8476"),
        ({"PROLIP_COORDINATOR": "10.0.0.1:99999"}, "like 10.0.0.1:8476"),
        ({"PROLIP_COORDINATOR": "10.0.0.1:0"}, "like 10.0.0.1:8476"),
        ({"PROLIP_NUM_PROCESSES": "four"}, "PROLIP_NUM_PROCESSES is a number"),
        ({"PROLIP_PROCESS_ID": "4"}, "from 0 to 3"),
        ({"PROLIP_DISTRIBUTED": "yes"}, "auto or off"),
    ],
)
def test_what_does_not_fit_is_named(change, sentence):
    with pytest.raises(ConfigError, match=sentence):
        find_place(environment=WHOLE | change)


@pytest.mark.parametrize(
    ("codes", "cause"),
    [
        ([(0, 0), (1, 0)], None),
        ([(0, 75), (1, 75)], (0, 75)),
        ([(0, 77), (1, 137)], (1, 137)),
        ([(1, 134), (2, 77)], (1, 134)),
        ([(2, 134), (1, 77), (0, 1)], (0, 1)),
    ],
)
def test_the_launcher_blames_the_process_that_failed_and_not_those_that_lost_it(codes, cause):
    assert first_cause(codes) == cause


def test_only_the_end_of_another_process_counts_as_its_loss(monkeypatch):
    lost = ValueError("Gloo AllGather failed: Connection reset by peer")
    assert distributed.peer_lost(lost) is None  # A process alone has nobody to lose.
    monkeypatch.setattr(distributed, "joined", lambda: True)
    assert "has lost another process" in str(distributed.peer_lost(lost))
    wrapped = RuntimeError("saving failed")
    wrapped.__cause__ = lost
    assert distributed.peer_lost(wrapped) is not None
    assert distributed.peer_lost(ValueError("a config value")) is None


def test_a_port_in_use_is_named_before_the_service_would_abort():
    with socket.create_server(("", 0)) as taken:
        place = Place(f"127.0.0.1:{taken.getsockname()[1]}", 2, 0)
        with pytest.raises(ConfigError, match="can't listen on port"):
            distributed.join(place, Timeouts(), say=print)


@pytest.mark.parametrize("process", [0, 1])
def test_a_process_that_waits_in_vain_ends_with_a_sentence(process):
    with socket.create_server(("", 0)) as free:
        port = free.getsockname()[1]
    words = ["--coordinator", f"127.0.0.1:{port}", "--num-processes", "2"]
    words += ["--process-id", str(process), "--initialization-timeout", "1"]
    got = subprocess.run(
        [sys.executable, "-m", "prolip.cli.main", "train", "--config=x", "--workdir=x", *words],
        capture_output=True,
        text=True,
        check=False,
    )
    assert got.returncode == 77
    [line] = got.stderr.splitlines()
    assert f"process {process} of 2 has waited 1 s at 127.0.0.1:{port}" in line
