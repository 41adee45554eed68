"""Where the numbers of a step go. The record is `metrics.jsonl`; the other writers are copies."""

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from prolip.config import LoggingConfig
from prolip.train.trackers import Scalars, Writer, make_trackers
from prolip.workdir import Workdir, naming, read_jsonl


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
        say: Callable[[str], Any],
    ):
        self._metrics: list[Writer] = []
        self._throughput: list[Writer] = []
        self._copies: Sequence[Writer] = ()
        if jax.process_index() == 0:
            self._metrics = [JsonLines(workdir.metrics, restored_step)]
            self._throughput = [JsonLines(workdir.throughput, restored_step)]
            self._copies = make_trackers(config, workdir, restored_step, whole_config, say)

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
