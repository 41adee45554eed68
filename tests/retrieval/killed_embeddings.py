"""A bulk embedding that is killed again and again; alone: killed_embeddings.py KILLS [real].

Lives are forked from a process that has loaded everything and started no JAX backend. Kills fall at
random moments, most of them after a life has finished a part; some lives share the work. Unless the
real model is asked for, a product of matrices is in its place: a life then costs milliseconds.
"""

import dataclasses
import os
import random
import signal
import sys
import tempfile
import time
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from collected import Only, rows, run, table
from small_model import CONFIG, PREPROCESSING, small_model, write_pictures

from prolip.gaussian import Gaussian
from prolip.retrieval.bulk import BulkOptions

COUNT = 600
OPTIONS = BulkOptions(4, 12, threads=2, process_index=0, process_count=1)
STATE = os.WEXITED | os.WNOHANG | os.WNOWAIT
warnings.simplefilter("ignore")  # About forking: no backend is started.


def stand_in():
    """What bulk embedding asks of a model, without JAX."""
    matrix = np.random.default_rng(0).normal(size=(16 * 16 * 3, 16))
    identity = {"weights": "matrix", "tokenizer": "", "preprocessing": ""}

    def image(images):
        out = (images.reshape(len(images), -1) / 255 @ matrix).astype(np.float32)
        mean, log_var = np.split(out, 2, axis=1)
        return Gaussian(mean / np.linalg.norm(mean, axis=1, keepdims=True), np.tanh(log_var))

    return SimpleNamespace(
        identity=identity,
        config=CONFIG,
        preprocessing=PREPROCESSING,
        image=image,
        slots=CONFIG.slots,
    )


def life(pictures, out, options, make_model):
    """Starts a run; gives its process."""
    child = os.fork()
    if child:
        return child
    code, model = 1, make_model()

    def image(images):
        time.sleep(0.003)  # A model of some size, without its cost.
        return model.image(images)

    try:
        run(Only(model, image), pictures, out, options)
        code = 0
    finally:
        os._exit(code)


def ended(child):
    """Waits; gives the exit code, or minus the signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def there(out):
    return len(list(out.glob("part-*")))


def wait_for_part(out, child):
    """Until there is one more than now, or the process has ended."""
    before = there(out)
    while there(out) == before and os.waitid(os.P_PID, child, STATE) is None:
        time.sleep(0.005)


def killed_lives(pictures, out, chance, model):
    """Up to three processes at a time, all killed at moments of their own; gives the kills."""
    count = chance.choice((1, 1, 2, 3))
    shares = [
        dataclasses.replace(OPTIONS, process_index=n, process_count=count) for n in range(count)
    ]
    children = [life(pictures, out, share, model) for share in shares]
    kills = 0
    for child in children:
        if chance.random() < 0.8:
            wait_for_part(out, child)
        time.sleep(chance.uniform(0, 0.1 / count))
        os.kill(child, signal.SIGKILL)
        code = ended(child)
        assert code in (0, -signal.SIGKILL), code
        kills += code != 0
    return kills


def main(least, model):
    folder = Path(tempfile.mkdtemp())
    pictures = write_pictures(folder / "pictures", COUNT)
    (pictures / "33.png").write_bytes(b"broken")
    assert ended(life(pictures, folder / "calm", OPTIONS, model)) == 0
    kills, halfway, seed = 0, 0, 0
    while kills < least:
        chance, out = random.Random(seed), folder / f"killed{seed}"
        for _ in range(min(5, least - kills)):
            kills += killed_lives(pictures, out, chance, model)
            halfway += 0 < there(out) < there(folder / "calm")
        assert ended(life(pictures, out, OPTIONS, model)) == 0
        found, manifest = rows(out)
        assert len(set(found.ids)) == len(found.ids) == manifest.count == COUNT - 1
        assert table(out) == table(folder / "calm")
        assert manifest == rows(folder / "calm")[1]
        # Small files that were cut short are removed a minute later.
        left = {path.name for path in out.iterdir() if ".json" not in path.name}
        assert left == {path.name for path in (folder / "calm").glob("part-*")}
        seed += 1
    print(f"{kills} kills in {seed} runs, {halfway} of them between two parts: the same to the bit")


if __name__ == "__main__":
    main(int(sys.argv[1]), small_model if "real" in sys.argv else stand_in)
