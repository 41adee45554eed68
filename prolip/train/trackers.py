"""TensorBoard and Weights & Biases: copies of the record, which may fail without ending the run."""

import importlib.util
import os
import queue
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from prolip.config import ConfigError, LoggingConfig
from prolip.workdir import Workdir

Scalars = Mapping[str, float | int]

CLOSE_SECONDS = 60.0  # How long the end of a run waits for a tracker.
UPLOAD_SECONDS = 50.0  # Of them for the upload of what is left.
START_SECONDS = 60.0  # How long a server may take to answer at the start.
WAITING = 1_000  # Logged steps that may wait for a slow tracker.


class Writer(Protocol):
    """Takes the metrics of a step."""

    def write(self, step: int, scalars: Scalars) -> None: ...

    def flush(self) -> None: ...

    def close(self) -> None: ...


class TensorBoard:
    """Event files; steps beyond a restored one are marked as purged."""

    def __init__(self, path: Path, restored_step: int):
        # The library's SummaryWriter leaves writing to a thread. Where the disk is full that dies,
        # and `flush` waits for it for ever.
        from tensorboardX import summary  # Slow to import.
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto import event_pb2

        self._scalar, self._event = summary.scalar, event_pb2.Event
        log = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        path.mkdir(parents=True, exist_ok=True)
        self._writer = EventsWriter(str(path / "events"), f".{os.getpid()}")
        self._add(restored_step + 1, session_log=log)

    def write(self, step: int, scalars: Scalars) -> None:
        for name, value in scalars.items():
            self._add(step, summary=self._scalar(name, value))

    def flush(self) -> None:
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()

    def _add(self, step: int, **content: Any) -> None:
        self._writer.write_event(self._event(step=step, wall_time=time.time(), **content))


class Wandb:
    """Weights & Biases; a resumed run continues the run that it has there."""

    def __init__(self, project: str, workdir: Path, config: Mapping[str, Any]):
        import wandb

        path = workdir / "wandb_run"
        run_id = path.read_text(encoding="utf8").strip() if path.exists() else secrets.token_hex(4)
        path.write_text(run_id, encoding="utf8")
        self._run = wandb.init(
            project=project,
            id=run_id,
            resume="allow",
            dir=str(workdir),
            config=dict(config),
            allow_val_change=True,  # Of options that were changed for the resumed run.
            settings=wandb.Settings(init_timeout=START_SECONDS, finish_timeout=UPLOAD_SECONDS),
        )

    def write(self, step: int, scalars: Scalars) -> None:
        self._run.log(dict(scalars), step=step)

    def flush(self) -> None: ...

    def close(self) -> None:
        self._run.finish()


class Tracker:
    """A writer in a thread of its own, whose failures and waits are told once and end it alone."""

    def __init__(
        self,
        name: str,
        make: Callable[[], Writer],
        say: Callable[[str], Any],
        close_seconds: float = CLOSE_SECONDS,
    ):
        self._name, self._say, self._close_seconds = name, say, close_seconds
        self._tasks: queue.Queue[Callable[[Writer], None] | None] = queue.Queue(WAITING)
        self._ended = False
        try:
            writer = make()
        except Exception as error:
            self._end(_reason(error))
            return
        self._thread = threading.Thread(target=self._work, args=(writer,), name=name, daemon=True)
        self._thread.start()

    def write(self, step: int, scalars: Scalars) -> None:
        """Hands the metrics of a step over and returns at once."""
        kept = dict(scalars)
        self._put(lambda writer: writer.write(step, kept))

    def flush(self) -> None:
        """Asks for a flush and returns at once: no checkpoint relies on a copy."""
        self._put(lambda writer: writer.flush())

    def close(self) -> None:
        """Waits until all is written, but not for ever."""
        if self._ended:
            return
        self._put(None)
        self._thread.join(self._close_seconds)
        if self._thread.is_alive():
            self._end(f"did not finish within {self._close_seconds:g} s")
        self._ended = True

    def _put(self, task: Callable[[Writer], None] | None) -> None:
        if self._ended:
            return
        try:
            self._tasks.put_nowait(task)
        except queue.Full:
            self._end(f"is {WAITING} logged steps behind")

    def _work(self, writer: Writer) -> None:
        try:
            while (task := self._tasks.get()) is not None:
                task(writer)
            writer.close()
        except Exception as error:
            self._end(_reason(error))

    def _end(self, reason: str) -> None:
        if not self._ended:
            self._ended = True
            self._say(
                f"{self._name} {reason} and gets no more metrics; the run goes on, and "
                "metrics.jsonl has them all"
            )


def check(config: LoggingConfig) -> None:
    """Raises ConfigError where the configuration asks for a tracker that is not installed."""
    if config.wandb_project and importlib.util.find_spec("wandb") is None:
        raise ConfigError("config.logging.wandb_project needs wandb: pip install 'prolip[wandb]'")


def make_trackers(
    config: LoggingConfig,
    workdir: Workdir,
    restored_step: int,
    whole_config: Mapping[str, Any],
    say: Callable[[str], Any],
) -> list[Tracker]:
    """The trackers that the configuration asks for.

    Args:
      config: names them.
      workdir: of the run.
      restored_step: from which the run resumes, or 0.
      whole_config: shown beside the metrics.
      say: gets a sentence when a tracker fails.
    """
    makers: dict[str, Callable[[], Writer]] = {}
    if config.tensorboard:
        makers["TensorBoard"] = lambda: TensorBoard(workdir.tensorboard, restored_step)
    if config.wandb_project:
        makers["wandb"] = lambda: Wandb(config.wandb_project, workdir.path, whole_config)
    return [Tracker(name, make, say) for name, make in makers.items()]


def _reason(error: Exception) -> str:
    text = next(iter(str(error).strip().splitlines()), "")
    return f"failed ({type(error).__name__}{': ' if text else ''}{text[:200]})"
