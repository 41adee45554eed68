"""The script starts a command again exactly when that can help."""

import subprocess
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
