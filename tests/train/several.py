"""Runs of several processes on this machine, and of one on some of its devices."""

import io
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
from rich.console import Console

from prolip import sharding
from prolip.cli import configuration
from prolip.train import loop

STEPS, EVERY = 24, 4
CONFIG = """
from prolip import config

def get_config():
    tower = dict(width=16, depth=1, num_heads=2, mlp_dim=32)
    return config.to_config_dict(config.TrainConfig(
        total_steps={steps}, global_batch=32,
        model=config.ModelConfig(
            embed_dim=8,
            image=config.ImageTowerConfig(16, 8, **tower),
            text=config.TextTowerConfig(14, 300, **tower)),
        # Without masked views: half to compile.
        objective=config.ObjectiveConfig(inclusion_masked=0.0),
        optimizer=config.OptimizerConfig(warmup_steps=2),
        data=config.DataConfig(
            data_dir={data!r}, num_threads=1,
            tokenizer=config.TokenizerConfig(vocab_size=300)),
        eval=config.EvalConfig(batch=64),
        checkpoint=config.CheckpointConfig(every={every}),
        logging=config.LoggingConfig(every=1, tensorboard=False)))
"""


class Runs:
    """All of the same configuration, in workdirs below one folder."""

    def __init__(self, folder: Path):
        self.folder, self._config = folder, folder / "run.py"
        data = str(folder / "data")
        self._config.write_text(CONFIG.format(steps=STEPS, every=EVERY, data=data))
        self._env = os.environ | {
            "JAX_PLATFORMS": "cpu",
            # Later starts need not compile again; the program is the same.
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }

    def start(
        self,
        processes: int,
        devices: int,
        verb: str,
        workdir: Path,
        *options: str,
        grace: int = 40,
    ):
        """`prolip launch local` in a process of its own; what it says goes to WORKDIR.log."""
        command = [verb, "--workdir", str(workdir), "--heartbeat-timeout", "20", *options]
        if verb == "train":
            command += ["--config", str(self._config)]
        words = ["launch", "local", "--processes", str(processes), "--grace", str(grace)]
        words += ["--devices-per-process", str(devices), "--", *command]
        with workdir.with_suffix(".log").open("a") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "prolip.cli.main", *words],
                env=self._env,
                stdout=log,
                stderr=log,
            )

    def finish(self, *arguments) -> None:
        """The same to its good end."""
        launcher = self.start(*arguments)
        try:
            assert launcher.wait(timeout=300) == 0, said(arguments[3])
        finally:
            stop(launcher)

    def apart(self, workdir: Path, *options: list[str]) -> tuple[list[int], list[str]]:
        """`prolip train` in processes with options of their own; exit codes and outputs."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{probe.getsockname()[1]}"
        command = [sys.executable, "-m", "prolip.cli.main", "train", "--config", str(self._config)]
        command += ["--workdir", str(workdir), "--coordinator", address]
        command += ["--num-processes", str(len(options)), "--heartbeat-timeout", "20"]
        children = [
            subprocess.Popen(
                [*command, "--process-id", str(index), *words],
                env=self._env,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for index, words in enumerate(options)
        ]
        try:
            outputs = [child.communicate(timeout=120)[0] for child in children]
            return [child.returncode for child in children], outputs
        finally:
            for child in children:
                child.kill()

    def here(self, devices: int, workdir: Path, monkeypatch) -> None:
        """Trains in this process, on some of its devices."""
        make_mesh, some = sharding.make_mesh, jax.devices()[:devices]
        with monkeypatch.context() as patched:
            patched.setattr(sharding, "make_mesh", lambda mesh: make_mesh(mesh, some))
            console = Console(file=io.StringIO())
            loop.train(configuration.load(str(self._config)), str(workdir), console=console)


def stop(launcher: subprocess.Popen) -> None:
    """Leaves nothing behind: a second signal makes the launcher kill."""
    for _ in range(2):
        if launcher.poll() is None:
            launcher.terminate()
            time.sleep(0.3)
    launcher.wait(timeout=30)


def said(workdir: Path) -> str:
    """All that the processes and the launcher have said."""
    logs = sorted((workdir / "logs").glob("*.log"))
    return "\n".join(f"== {p.name}\n{p.read_text()}" for p in [workdir.with_suffix(".log"), *logs])


def record(workdir: Path) -> list[dict]:
    """Metrics by step."""
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def process(launcher: subprocess.Popen, index: int) -> int:
    """Process id of a process of the run."""
    for child in Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split():
        environment = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
        if f"PROLIP_PROCESS_ID={index}".encode() in environment:
            return int(child)
    raise AssertionError(f"process {index} is not there")


def wait_for_save(launcher: subprocess.Popen, workdir: Path, after: int) -> None:
    """Until a checkpoint beyond a step exists, which all processes have written to."""
    end = time.monotonic() + 200
    while time.monotonic() < end and launcher.poll() is None:
        if newest(workdir) > after:
            return
        time.sleep(0.01)
    raise AssertionError(f"no checkpoint beyond {after}:\n{said(workdir)}")


def newest(workdir: Path) -> int:
    """The newest step that was saved whole; 0 if there is none."""
    from prolip.checkpoint import CheckpointStore

    if not (workdir / "checkpoints").exists():
        return 0
    return max(CheckpointStore(workdir / "checkpoints", write=False).steps(), default=0)
