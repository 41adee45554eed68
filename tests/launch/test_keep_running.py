"""The script starts a command again exactly when that can help."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "launch" / "keep_running.sh"


@pytest.mark.parametrize(
    ("codes", "starts", "code"),
    [
        ([75, 137, 75, 0], 4, 0),
        ([0], 1, 0),
        ([1], 1, 1),
        ([75, 3], 2, 3),
        ([130], 1, 130),
        ([75] * 9, 4, 75),  # RESTARTS=3
    ],
)
def test_restarts(codes, starts, code, tmp_path):
    count = tmp_path / "count"
    count.write_text("")
    command = tmp_path / "command.sh"
    command.write_text(
        f"codes=({' '.join(map(str, codes))})\n"
        f'n=$(wc -c < {count}); printf x >> {count}; exit "${{codes[$n]}}"\n'
    )
    environment = {"RESTARTS": "3", "PAUSE": "0", "PATH": "/usr/bin:/bin"}
    got = subprocess.run(
        [str(SCRIPT), "bash", str(command)], env=environment, capture_output=True, check=False
    )
    assert got.returncode == code
    assert len(count.read_text()) == starts


@pytest.mark.parametrize(
    ("sent", "code"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)], ids=["SIGTERM", "Ctrl-C"]
)
def test_signals_reach_the_command_which_saves_and_is_not_started_again(sent, code, tmp_path):
    starts = tmp_path / "starts"
    command = (
        "import pathlib, signal, sys, time\n"
        "def save(number, frame):\n"
        "    time.sleep(0.3)\n"
        "    sys.exit(130 if number == signal.SIGINT else 75)\n"
        "signal.signal(signal.SIGTERM, save); signal.signal(signal.SIGINT, save)\n"
        f"pathlib.Path({str(starts)!r}).open('a').write('x')\n"
        "time.sleep(60)\n"
    )
    # A shell can't trap what was ignored when it began, as Ctrl-C is in jobs in the background.
    heed = (
        "import os, signal, sys\n"
        "signal.signal(signal.SIGINT, signal.SIG_DFL)\n"
        "os.execv(sys.argv[1], sys.argv[1:])\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", heed, str(SCRIPT), sys.executable, "-c", command],
        env={"PAUSE": "0", "PATH": "/usr/bin:/bin"},
        start_new_session=True,
    )
    while not starts.exists() or not starts.read_text():
        time.sleep(0.02)
    process.send_signal(sent)
    assert process.wait(timeout=20) == code
    assert starts.read_text() == "x"
