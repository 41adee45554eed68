"""A run that is killed again and again; alone: python tests/train/killed_runs.py 50.

Kills fall at random moments after the first step of each life: into steps, saves, the hashing of a
save, its commit, deletions, and the verification at the next start.
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax
import numpy as np

STEPS = 48
CONFIG = """
from prolip import config

def get_config():
    tower = dict(width=16, depth=1, num_heads=2, mlp_dim=32)
    return config.to_config_dict(config.TrainConfig(
        total_steps={steps}, global_batch=16,
        model=config.ModelConfig(
            embed_dim=8,
            image=config.ImageTowerConfig(16, 8, **tower),
            text=config.TextTowerConfig(14, 300, **tower)),
        optimizer=config.OptimizerConfig(name="muon", warmup_steps=5),
        data=config.DataConfig(
            data_dir={data!r},
            tokenizer=config.TokenizerConfig(vocab_size=300),
            augment=config.AugmentConfig(mixup=0.5)),
        checkpoint=config.CheckpointConfig(every=3, keep_latest=2, keep_every=12),
        logging=config.LoggingConfig(every=1, tensorboard=False)))
"""


class Lives:
    """Starts the same run in fresh processes."""

    def __init__(self, folder: Path):
        self._config = folder / "run.py"
        self._config.write_text(CONFIG.format(steps=STEPS, data=str(folder / "data")))
        self._env = os.environ | {
            "JAX_PLATFORMS": "cpu",
            # In tests also flags that compile fast.
            "XLA_FLAGS": os.environ.get("XLA_FLAGS", "")
            + " --xla_force_host_platform_device_count=2",
            # Lives after the first need not compile again; the program is the same.
            "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }

    def start(self, workdir: Path) -> subprocess.Popen:
        words = ["train", "--config", str(self._config), "--workdir", str(workdir)]
        with workdir.with_suffix(".log").open("a") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "prolip.cli.main", *words],
                env=self._env,
                stdout=log,
                stderr=log,
            )

    def undisturbed(self, workdir: Path) -> float:
        """Runs to the end; gives the seconds from the first step on."""
        process = self.start(workdir)
        wait_for_step(workdir, process, 0)
        began = time.monotonic()
        assert process.wait() == 0, workdir.with_suffix(".log").read_text()
        return time.monotonic() - began

    def killed(self, workdir: Path, kills: int, seconds: float, seed: int) -> int:
        """Kills a run up to `kills` times, then lets it end; gives how many kills it took."""
        chance = random.Random(seed)
        for count in range(kills):
            size = lines(workdir)
            process = self.start(workdir)
            # Also into the start: lease, cleaning up and verification come before the first step.
            if chance.random() < 0.8:
                wait_for_step(workdir, process, size)
            time.sleep(chance.uniform(0, seconds / 5))
            process.send_signal(signal.SIGKILL)
            if process.wait() == 0:
                return count
        process = self.start(workdir)
        assert process.wait() == 0, workdir.with_suffix(".log").read_text()
        return kills


def lines(workdir: Path) -> int:
    """Size of the record, which grows by what a life writes."""
    path = workdir / "throughput.jsonl"
    return path.stat().st_size if path.exists() else 0


def wait_for_step(workdir: Path, process: subprocess.Popen, size: int) -> None:
    """Until the record of the run is written to; a resumed run cuts it first."""
    path, began = workdir / "metrics.jsonl", time.time()
    while process.poll() is None:
        if path.exists() and path.stat().st_mtime > began - 0.05:
            return
        time.sleep(0.01)


def result(workdir: Path) -> tuple[list[str], dict[str, np.ndarray]]:
    """The record line by line, and all arrays of the last checkpoint by name."""
    from prolip.checkpoint import CheckpointStore

    with CheckpointStore(workdir / "checkpoints", write=False) as store:
        step = store.latest()
        assert step is not None
        arrays = {}
        for item in ("params", "optimizer"):
            tree = restore_all(store, step, item)
            for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
                arrays[item + jax.tree_util.keystr(path)] = np.asarray(leaf)
    return (workdir / "metrics.jsonl").read_text().splitlines(), arrays


def restore_all(store, step, item):
    from prolip import sharding
    from prolip.config import MeshConfig
    from prolip.models import two_tower
    from prolip.train.optimizer import make_optimizer
    from prolip.train.state import abstract_state, to_items
    from prolip.workdir import Workdir

    config = Workdir(store.directory.parent).read_config()
    mesh = sharding.make_mesh(MeshConfig(), jax.devices()[:1])
    optimizer = make_optimizer(config.optimizer, config.total_steps)
    like = to_items(abstract_state(two_tower.build(config.model), optimizer, mesh))
    return store.restore(step, item, like[item])


def compare(calm: Path, killed: Path) -> None:
    """Asserts that both runs are the same to the last bit."""
    record, arrays = result(calm)
    record_killed, arrays_killed = result(killed)
    assert record == record_killed
    assert len(record) == STEPS
    assert (killed / "DONE").exists()
    assert arrays.keys() == arrays_killed.keys()
    for name, array in arrays.items():
        assert array.tobytes() == arrays_killed[name].tobytes(), name


def main(kills: int) -> None:
    folder = Path(tempfile.mkdtemp())
    lives = Lives(folder)
    seconds = lives.undisturbed(folder / "calm")
    print(f"undisturbed: {seconds:.1f} s after the first step", flush=True)
    done, seed = 0, 0
    while done < kills:
        workdir = folder / f"killed{seed}"
        done += lives.killed(workdir, min(10, kills - done), seconds, seed)
        compare(folder / "calm", workdir)
        seed += 1
        print(f"{done} kills in {seed} runs: the same to the last bit", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
