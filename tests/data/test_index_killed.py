"""An indexer that is killed leaves whole indices or none."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest
from webfiles import write_tars

from prolip.data.files.tar_index import SUFFIX, TarIndex, make_missing

SCRIPT = """
import sys, time
from prolip.data.files import tar_index
write = tar_index.write_side_file
def slow(*args):
    time.sleep(0.003)
    return write(*args)
tar_index.write_side_file = slow
tar_index.make_missing(sys.argv[1:], threads=2)
"""


@pytest.mark.slow
@pytest.mark.parametrize("kills", [int(os.environ.get("PROLIP_KILLS", "4"))])
def test_kills_leave_whole_indices_or_none(tmp_path, kills):
    """PROLIP_KILLS=20 for more."""
    paths = [str(path) for path in write_tars(tmp_path / "tars", 600, each=2)]
    expected = [head.checksum for head in make_missing(paths, str(tmp_path / "elsewhere"))]
    chance = random.Random(1)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done, stopped_in_the_middle = 0, 0
    for _ in range(kills):
        process = subprocess.Popen([sys.executable, "-c", SCRIPT, *paths], env=environment)
        while process.poll() is None and count(tmp_path) <= done:
            time.sleep(0.005)
        time.sleep(chance.uniform(0, 0.1))
        process.send_signal(signal.SIGKILL)
        process.wait()
        stopped_in_the_middle += done < count(tmp_path) < len(paths)
        done = count(tmp_path)
        for place in (tmp_path / "tars").glob(f"*{SUFFIX}"):
            assert place.stat().st_size > 0
    assert stopped_in_the_middle
    remade = []
    heads = make_missing(paths, advance=lambda: remade.append(1))
    assert [head.checksum for head in heads] == expected and len(remade) == len(paths)
    assert all(len(TarIndex(head)) == 2 for head in heads)


def count(folder):
    return len(list((folder / "tars").glob(f"*{SUFFIX}")))
