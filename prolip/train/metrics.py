"""Where the numbers of a step go. The record is `metrics.jsonl`; the other writers are copies."""

import json
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import jax

from prolip.config import ConfigError, LoggingConfig
from prolip.workdir import Workdir, naming, read_jsonl

Scalars = Mapping[str, float | int]


class Writer(Protocol):
    """Takes the metrics of a step."""

    def write(self, step: int, scalars: Scalars) -> None: ...

    def flush(self) -> None: ...

    def close(self) -> None: ...


class JsonLines:
    """One JSON object a step, each step once: what lies beyond a restored step is cut off."""

    def __init__(self, path: Path, restored_step: int):
        keep = [row for row in read_jsonl(path) if row["step"] <= restored_step]
        temporary = path.with_suffix(".tmp")
        with naming(path), temporary.open("w", encoding="utf8") as file:
            file.writelines(json.dumps(row) + "\n" for row in keep)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        self._path, self._file = path, path.open("a", encoding="utf8")

    def write(self, step: int, scalars: Scalars) -> None:
        # JSON has no NaN: a step that was not finite has null there, and `finite` false.
        values = {k: v if math.isfinite(v) else None for k, v in scalars.items()}
        with naming(self._path):
            self._file.write(json.dumps({"step": step, **values}) + "\n")

    def flush(self) -> None:
        """On the disk, not only on its way: a checkpoint relies on the metrics before it."""
        with naming(self._path):
            self._file.flush()
            os.fsync(self._file.fileno())

    def close(self) -> None:
        try:
            self.flush()
        finally:
            with naming(self._path):
                self._file.close()


class TensorBoard:
    """Event files; steps beyond a restored one are marked as purged."""

    def __init__(self, path: Path, restored_step: int):
        # The library's SummaryWriter leaves writing to a thread. Where the disk is full that dies,
        # and `flush` waits for it for ever.
        from tensorboardX import summary  # Slow to import.
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto import event_pb2

        self._path, self._scalar, self._event = path, summary.scalar, event_pb2.Event
        log = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        with naming(path):
            path.mkdir(parents=True, exist_ok=True)
            self._writer = EventsWriter(str(path / "events"), f".{os.getpid()}")
            self._add(restored_step + 1, session_log=log)

    def write(self, step: int, scalars: Scalars) -> None:
        with naming(self._path):
            for name, value in scalars.items():
                self._add(step, summary=self._scalar(name, value))

    def flush(self) -> None:
        with naming(self._path):
            self._writer.flush()

    def close(self) -> None:
        with naming(self._path):
            self._writer.close()

    def _add(self, step: int, **content: Any) -> None:
        self._writer.write_event(self._event(step=step, wall_time=time.time(), **content))


class Wandb:
    """Weights & Biases; the same run again after a resume."""

    def __init__(self, project: str, workdir: Path, config: Mapping[str, Any]):
        try:
            import wandb
        except ImportError as error:
            raise ConfigError(
                "config.logging.wandb_project needs wandb: pip install 'prolip[wandb]'"
            ) from error
        path = workdir / "wandb_run"
        run_id = path.read_text(encoding="utf8") if path.exists() else wandb.util.generate_id()
        path.write_text(run_id, encoding="utf8")
        self._run = wandb.init(
            project=project, id=run_id, resume="allow", dir=str(workdir), config=dict(config)
        )

    def write(self, step: int, scalars: Scalars) -> None:
        self._run.log(dict(scalars), step=step)

    def flush(self) -> None: ...

    def close(self) -> None:
        self._run.finish()


class Log:
    """The record of the metrics, the record of the speeds, and copies of both.

    Of several processes the first one writes; the metrics are the same in all.
    """

    def __init__(
        self,
        config: LoggingConfig,
        workdir: Workdir,
        restored_step: int,
        whole_config: Mapping[str, Any],
    ):
        self._metrics: list[Writer] = []
        self._throughput: list[Writer] = []
        self._copies: list[Writer] = []
        if jax.process_index() == 0:
            self._metrics = [JsonLines(workdir.metrics, restored_step)]
            self._throughput = [JsonLines(workdir.throughput, restored_step)]
            self._copies = make_copies(config, workdir, restored_step, whole_config)

    def write(self, step: int, metrics: Scalars, throughput: Scalars) -> None:
        """Metrics are a function of the run; speeds are kept apart, because they are not."""
        for writer in self._metrics:
            writer.write(step, metrics)
        for writer in self._throughput:
            writer.write(step, throughput)
        for writer in self._copies:
            writer.write(step, {**metrics, **throughput})

    def flush(self) -> None:
        """Onto the disk."""
        for writer in (*self._metrics, *self._throughput, *self._copies):
            writer.flush()

    def close(self) -> None:
        """Onto the disk, and no more."""
        for writer in (*self._metrics, *self._throughput, *self._copies):
            writer.close()


def make_copies(
    config: LoggingConfig, workdir: Workdir, restored_step: int, whole_config: Mapping[str, Any]
) -> list[Writer]:
    """The writers besides the records that the configuration asks for."""
    writers: list[Writer] = []
    if config.tensorboard:
        writers.append(TensorBoard(workdir.tensorboard, restored_step))
    if config.wandb_project:
        writers.append(Wandb(config.wandb_project, workdir.path, whole_config))
    return writers
