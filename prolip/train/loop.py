"""The training run: reads, steps, writes, saves.

Long because the order of what a start checks, and of what a step does, is read in one place.
"""

import contextlib
import functools
import json
import sys
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
from rich.console import Console
from rich.markup import escape

from prolip import distributed, sharding
from prolip.checkpoint import CheckpointError, CheckpointStore
from prolip.checkpoint.writer import Evaluations
from prolip.config import TrainConfig, to_dict
from prolip.data.files.names import visible
from prolip.data.pipeline import TrainPipeline
from prolip.data.quarantine_file import QuarantineFile
from prolip.data.records import Batch
from prolip.data.sources.choose import prepare, unindexed
from prolip.exit_codes import PEER_LOST
from prolip.models import count
from prolip.train import trackers
from prolip.train.assembly import Start, check_label_features, checked_mesh, with_image_form
from prolip.train.metrics import Log
from prolip.train.non_finite import Guard
from prolip.train.preemption import StopNotice
from prolip.train.progress import ProgressLine, Rates, Speedometer, announce
from prolip.train.repeated_images import RepeatedImages
from prolip.train.resume import check_config, check_fingerprint, check_same_data, samples_seen
from prolip.train.same_start import check_same_start, together, told_to_all
from prolip.train.state import TrainState, to_items
from prolip.watchdog import Alive, unwatched
from prolip.workdir import Workdir, open_workdir, write_whole


class Outcome(NamedTuple):
    """How a call of `train` ended."""

    step: int
    stopped_by: int | None  # The signal; None at the end of the run.


class _Pending(NamedTuple):
    """Metrics that are still on the device, and the rows that they came from."""

    step: int
    metrics: dict[str, jax.Array]
    rows: Batch


def train(
    config: TrainConfig,
    path: str,
    *,
    allow_changes: bool = False,
    evaluations: Evaluations | None = None,
    console: Console | None = None,
    alive: Alive = unwatched,
    notice: StopNotice | None = None,
) -> Outcome:
    """Trains to `config.total_steps` in the workdir at `path`, going on from what is there.

    Every process of a run calls this with the same arguments; all see the files at `path`.

    Args:
      config: the whole experiment.
      path: of the workdir.
      allow_changes: goes on with a configuration or data other than the run began with.
      evaluations: gives metrics by manifest hash for `config.checkpoint`'s rules; evaluation is
        another process, which the trainer knows by its files only.
      console: where process 0 prints; the others are silent.
      alive: gets signs of life for a watchdog.
      notice: of signals, where the caller has listened before this call; it is closed when
        training ends, and by the caller where that does not begin.

    Raises:
      ConfigError: something about the configuration, the workdir or the machine doesn't fit.
      DataError: nothing to read, or not the same on all processes.
      CheckpointError: no good checkpoint among those that are there, or one can't be written.
      NonFiniteError: by the policy of the configuration.
      PeerLostError: another process is gone before the first step. Later the process itself ends,
        with a sentence and code 77: closing what is open would wait for the other.
    """
    console = Console(quiet=True) if jax.process_index() else console or Console()
    with told_to_all():
        if jax.process_index() == 0:  # Which alone writes to them.
            trackers.check(config.logging)
    check_same_start(config, allow_changes)
    mesh = checked_mesh(config)
    workdir = open_workdir(path)
    config = with_image_form(config, workdir)
    for change in check_config(workdir, config, allow_changes):
        console.print(visible(f"changed: {change}"), highlight=False, markup=False)
    store = CheckpointStore(
        workdir.checkpoints,
        write=True,
        keep=config.checkpoint,
        evaluations=evaluations,
        on_damage=lambda step, damage: console.print(
            f"[yellow]checkpoint {step} is damaged and set aside[/]: "
            + escape("; ".join(map(str, damage[:5]))),
            highlight=False,
        ),
    )
    with store, jax.set_mesh(mesh):
        return _run(
            config, workdir, store, mesh, allow_changes, console, alive, notice or StopNotice()
        )


def _run(
    config: TrainConfig,
    workdir: Workdir,
    store: CheckpointStore,
    mesh: jax.sharding.Mesh,
    allow_changes: bool,
    console: Console,
    alive: Alive,
    notice: StopNotice,
) -> Outcome:
    try:
        with together():
            if jax.process_index() == 0:
                if missing := unindexed(config.data):
                    console.print(
                        f"indexing {missing:,} tars, as `prolip data index` does beforehand"
                    )
                prepare(config.data)
        with together():  # The others find it made, where they see the same files.
            prepare(config.data)
            if note := check_label_features(config):
                console.print(visible(note), highlight=False, markup=False)
        restored = store.latest()
        with together():
            start = Start(config, store, restored, allow_changes)
            tokenizer = start.tokenizer()
            pipeline = TrainPipeline(
                config.data,
                image_size=config.model.image.image_size,
                tokenizer=tokenizer,
                global_batch=config.global_batch,
                rows=sharding.process_rows(mesh, config.global_batch),
                seed=config.seed,
            )
            for note in pipeline.notes:
                console.print(visible(note), highlight=False, markup=False)
        check_same_data(pipeline.fingerprint)
        assets = start.assets(tokenizer)
        state, train_step = start.state(mesh), start.train_step(tokenizer)
        for note in start.notes:
            console.print(f"note: {note}", highlight=False, markup=False)
        meta = {} if restored is None else store.meta(restored)
        samples = 0
        if restored is not None:
            check_fingerprint(meta["data"], pipeline.fingerprint, allow_changes)
            samples = samples_seen(meta)
        # Only now, when all that can be refused has been: a refused start leaves nothing behind.
        if jax.process_index() == 0:
            workdir.write_config(config)
        first = int(state.step)
        announce(console, config, workdir, first, mesh)
        if samples != first * config.global_batch:
            console.print(f"{samples:,} samples were seen before, in batches of another size")
        if first >= config.total_steps:
            # Also where the end was saved and the process died before it could say so.
            write_done(workdir, first)
            return Outcome(first, None)
        workdir.done.unlink(missing_ok=True)
        # Version 0.1 did not store the skipped steps.
        begun = _Begun(first, samples, meta.get("skipped_in_a_row", 0))
        loop = _Loop(config, workdir, store, assets, pipeline, begun, console, alive)
        try:
            return loop.run(state, train_step, mesh, notice)
        except Exception as error:
            lost = distributed.peer_lost(error)
            if lost is None:
                raise
            # Closing would wait for a save that waits for the process that is gone.
            print(f"prolip train: {lost}", file=sys.stderr)
            distributed.abandon(PEER_LOST)
        finally:
            loop.close()
    finally:
        notice.close()


def write_done(workdir: Workdir, step: int) -> None:
    """Tells an evaluator that watches that no more checkpoints come."""
    if jax.process_index() == 0:
        write_whole(workdir.done, json.dumps({"step": step}) + "\n")


class _Begun(NamedTuple):
    """Where this life of the run begins."""

    step: int  # Steps done.
    samples: int  # Samples seen.
    skipped: int  # Steps skipped in a row until then.


class _Loop:
    """The state of the loop that is not the state of training."""

    def __init__(
        self,
        config: TrainConfig,
        workdir: Workdir,
        store: CheckpointStore,
        assets: dict[str, bytes],
        pipeline: TrainPipeline,
        begun: _Begun,
        console: Console,
        alive: Alive,
    ):
        def say(sentence: str) -> None:
            console.print(sentence, highlight=False, markup=False)

        first = begun.step
        self._config, self._workdir, self._store = config, workdir, store
        self._pipeline, self._alive = pipeline, alive
        self._assets = assets
        self._log = Log(config.logging, workdir, first, to_dict(config), say)
        self._guard = Guard(config.non_finite, config.max_skipped, workdir, begun.skipped, say)
        flops = count.train_flops_per_pair(config.model, config.optimizer.frozen)
        self._speed = Speedometer(config.global_batch, flops)
        self._line = ProgressLine(console, config.total_steps, first)
        self._pending: _Pending | None = None
        self._first, self._first_samples = first, begun.samples
        self._repeated = RepeatedImages(config.objective.positives, console)

    def run(self, state: TrainState, train_step: Any, mesh: Any, notice: StopNotice) -> Outcome:
        """Steps until the end or a notice; always ends on a saved step."""
        config, first = self._config, int(state.step)
        batches = self._pipeline.batches(first, self._samples(first))
        for step in range(first + 1, config.total_steps + 1):
            # Until the numbers of the first step are here it is the start: each process compiles,
            # and the fastest waits for the slowest.
            started = step > first + 2
            if started:
                self._alive(f"waiting for the batch of step {step}")
            asked = time.monotonic()
            rows = next(batches)
            wait = time.monotonic() - asked
            self._repeated.look(step, rows)
            if started:
                self._alive(f"step {step}")
            state, metrics = train_step(state, sharding.to_global(mesh, rows))
            # One step late, so that the device never waits for the host to read its numbers.
            self._settle()
            self._pending = _Pending(step, metrics, rows)
            self._speed.step(time.monotonic(), wait)
            self._store.check()
            stop = notice.reached(step)
            if stop or step % config.checkpoint.every == 0 or step == config.total_steps:
                self._save(state)
            if stop:
                break
        _close(batches)
        self._alive("the end of the last save")
        self._store.wait()
        if step == config.total_steps:
            write_done(self._workdir, step)
        return Outcome(step, notice.signal if stop else None)

    def close(self) -> None:
        """Ends the records; what was measured before an error is in them."""
        self._line.close()
        # A save under way flushes the records. If it fails now, something else has ended the run,
        # and that is what is told.
        with contextlib.suppress(CheckpointError):
            self._store.wait()
        self._log.close()

    def _samples(self, step: int) -> int:
        """Number of samples seen up to a step; steps before this start may have had others."""
        return self._first_samples + (step - self._first) * self._config.global_batch

    def _settle(self) -> None:
        """Reads, checks, shows and records the numbers of the last step dispatched."""
        pending, self._pending = self._pending, None
        if pending is None:
            return
        metrics = {k: v.item() for k, v in jax.device_get(pending.metrics).items()}
        self._guard.check(pending.step, metrics, pending.rows)
        rates = self._speed.rates(self._config.total_steps - pending.step)
        self._line.update(pending.step, metrics["loss"], rates)
        self._list_bad_records()
        every = self._config.logging.every
        if pending.step % every == 0 or pending.step == self._config.total_steps:
            # What was bad is no metric: each process tells of what it has read since its start.
            bad = self._pipeline.quarantine.metrics()
            metrics["samples"] = self._samples(pending.step)
            self._log.write(pending.step, metrics, {**_throughput(rates), **bad})

    @functools.cached_property
    def _bad_records(self) -> QuarantineFile:
        path = self._workdir.quarantine
        if jax.process_index():  # Each process lists what it has read.
            path = path.with_suffix(f".{jax.process_index()}.jsonl")
        return QuarantineFile(path)

    def _list_bad_records(self) -> None:
        if new := self._pipeline.quarantine.take():
            self._bad_records.append(new)

    def _flush(self) -> None:
        self._log.flush()
        self._bad_records.flush()

    def _save(self, state: TrainState) -> None:
        # A step that the guard would stop at must not be saved as done.
        self._settle()
        step = int(state.step)
        self._alive(f"saving step {step}")
        meta = {
            "step": step,
            "samples": self._samples(step),
            "seed": self._config.seed,
            "skipped_in_a_row": self._guard.in_a_row,
            "data": self._pipeline.fingerprint,
            "versions": {"jax": jax.__version__},
        }
        # The record of a step is on the disk before its checkpoint exists.
        self._store.save(step, to_items(state), meta, self._assets, self._flush)
        self._alive(f"step {step} being saved")
        self._speed.pause()


def _throughput(rates: Rates | None) -> dict[str, float]:
    if rates is None:
        return {}
    values = rates._asdict()
    values.pop("seconds_left")
    return {f"time/{k}": v for k, v in values.items() if v is not None}


def _close(batches: Iterator[Batch]) -> None:
    close = getattr(batches, "close", None)
    if close is not None:
        close()
