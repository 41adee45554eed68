"""The one process that changes a checkpoint directory: commits steps, and deletes them."""

import logging
from collections.abc import Callable, Mapping, MutableMapping
from math import nan
from typing import Any

import jax

from prolip.checkpoint import durable, layout, lease, manifest, retention
from prolip.checkpoint.agreement import agree
from prolip.checkpoint.errors import CheckpointError
from prolip.checkpoint.saving import Saver
from prolip.config import CheckpointConfig

log = logging.getLogger(__name__)

# Gives manifest hash of a step -> metrics of its finished evaluation.
Evaluations = Callable[[], Mapping[str, Mapping[str, float]]]


class Writer:
    """Saves in the background. On processes other than 0 it only takes part in Orbax's saves."""

    def __init__(
        self,
        places: layout.Layout,
        keep: CheckpointConfig | None,
        evaluations: Evaluations | None,
        verified: MutableMapping[int, str],
        lease_seconds: float,
    ):
        """Takes the lease and cleans up after a killed writer; see `CheckpointStore`."""
        self._layout, self._keep, self._evaluations = places, keep, evaluations
        self._verified, self._lease_seconds = verified, lease_seconds
        self._committed: set[int] = set()
        self._told = ""  # What was last said about the metric that decides.
        self._lease: lease.Lease | None = None
        self._saver = Saver()
        error: CheckpointError | None = None
        if jax.process_index() == 0:
            try:
                self._open()
            except CheckpointError as e:
                error = e
        if agree(1 if error else 0):
            raise error or CheckpointError(f"Process 0 can't write to {places.root}.")

    def save(
        self,
        step: int,
        items: Mapping[str, Any],
        files: Mapping[str, bytes],
        before_commit: Callable[[], None] | None,
    ) -> None:
        """Saves `items` by Orbax and `files` (path below the step -> contents) beside them."""
        if self._lease is not None:
            self._lease.check()
        self._saver.join()
        if step in self._committed:
            return
        self._saver.start(
            step,
            self._layout.step(step),
            items,
            before=lambda: self._make_room(step),
            finish=lambda: self._finish(step, files, before_commit),
            abandon=lambda: self._abandon(step),
        )

    def check(self) -> None:
        """Raises the failure of a save once, and a lost lease always."""
        self._saver.raise_failure()
        if self._lease is not None:
            self._lease.check()

    def wait(self) -> None:
        """Waits for the save under way, then checks."""
        self._saver.join()
        self.check()

    def close(self) -> None:
        """Ends the save under way, the threads and the lease; raises a failure not raised yet."""
        try:
            self._saver.close()
        finally:
            if self._lease is not None:
                self._lease.release()
        self._saver.raise_failure()

    def quarantine(self, step: int) -> None:
        """Moves a damaged step out of the way, for a person to look at."""
        if self._lease is not None:
            self._lease.check(read=True)
            self._saver.join()
            layout.retire(self._layout, step, "damaged", self._lease_seconds)
            self._committed.discard(step)

    def _open(self) -> None:
        places = self._layout
        places.create()
        try:
            self._lease = lease.acquire(places.writer, self._lease_seconds)
            for sentence in layout.recover(places, self._lease_seconds):
                log.warning("%s: %s", places.root, sentence)
        except OSError as e:
            if self._lease is not None:
                self._lease.release()
            raise durable.unwritable(places.root, e) from e
        self._saver.run(lambda: layout.empty_trash(places))

    def _make_room(self, step: int) -> None:
        """Puts away what is in the place of a step about to be saved, and notes its beginning."""
        if self._lease is None:
            return
        self._lease.check(read=True)
        for path in layout.temporary(self._layout):
            layout.discard(self._layout, path)
        self._verified.pop(step, None)
        if self._layout.manifest(step).exists():
            durable.move(self._layout.manifest(step), self._layout.manifest(step, "deleting"))
        layout.finish_exit(self._layout, step, "deleting")
        durable.replace(self._layout.manifest(step, "saving"), b"")

    def _finish(
        self, step: int, files: Mapping[str, bytes], before_commit: Callable[[], None] | None
    ) -> None:
        """Makes a step exist that Orbax has written, then deletes what need not be kept."""
        if self._lease is None:
            return
        self._lease.check(read=True)
        directory = self._layout.step(step)
        for name, data in files.items():
            durable.write_new(directory / name, data)
        durable.sync_tree(directory)
        durable.sync_directory(self._layout.root)
        made = manifest.of_directory(step, directory)
        if before_commit is not None:
            before_commit()
        self._lease.check(read=True)
        durable.replace(self._layout.manifest(step), made.encode())
        self._committed.add(step)
        self._verified[step] = made.hash
        self._layout.manifest(step, "saving").unlink(missing_ok=True)
        try:
            self._delete_old()
        except Exception as e:
            log.warning("Deleting old checkpoints failed and is tried again later: %s", e)
        layout.empty_trash(self._layout)

    def _delete_old(self) -> None:
        if self._keep is None or self._lease is None:
            return
        steps = self._layout.in_state()
        hashes = {s: h for s in steps if (h := layout.identity(self._layout, s)) is not None}
        done = dict(self._evaluations()) if self._evaluations is not None else {}
        evaluated = {s: done[h] for s, h in hashes.items() if h in done}
        metric = self._keep.best_metric
        if self._keep.keep_best and (problem := retention.unmeasured(metric, evaluated)):
            if problem != self._told:
                log.warning("%s: %s", self._layout.root, problem)
            self._told = problem
        keep = retention.steps_to_keep(
            steps,
            self._keep,
            # An evaluation without any number has failed.
            metrics={s: m.get(metric, nan) for s, m in evaluated.items() if metric in m or not m},
            evaluated=set(evaluated),
            verified={s for s, h in hashes.items() if self._verified.get(s) == h},
        )
        for step in steps:
            if step not in keep:
                self._lease.check(read=True)
                if layout.retire(self._layout, step, "deleting", self._lease_seconds):
                    self._verified.pop(step, None)

    def _abandon(self, step: int) -> None:
        """Removes what a failed save left; the steps before are not touched."""
        if self._lease is None:
            return
        self._lease.check(read=True)
        for path in layout.temporary(self._layout):
            layout.discard(self._layout, path)
        if not self._layout.manifest(step).exists():
            layout.finish_exit(self._layout, step, "deleting")
        layout.empty_trash(self._layout)
