"""Checkpoints of one run: saved in the background, verified before any use, kept by rules.

Several processes save and restore together (every process makes the same calls); process 0 alone
writes manifests, takes leases and deletes. The directory must be on a file system that all of
them see.
"""

import contextlib
import logging
import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax

from prolip.checkpoint import durable, extras, layout, lease, manifest, trees
from prolip.checkpoint.agreement import agree
from prolip.checkpoint.errors import CheckpointError, Damage, describe_damage
from prolip.checkpoint.writer import Evaluations, Writer
from prolip.config import CheckpointConfig

log = logging.getLogger(__name__)


class CheckpointStore:
    """The checkpoints below one directory."""

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        write: bool,
        keep: CheckpointConfig | None = None,
        evaluations: Evaluations | None = None,
        on_damage: Callable[[int, list[Damage]], None] | None = None,
        lease_seconds: float = 60.0,
    ):
        """Opens the directory; a writer takes its lease and cleans up after a killed one.

        Args:
          directory: a path; created by a writer.
          write: whether this process saves and deletes.
          keep: which steps stay; None keeps all.
          evaluations: asked before steps are deleted, for `keep_best` and `hold_unevaluated`.
          on_damage: called with each damaged step that `latest` finds, besides a logged warning.
          lease_seconds: after which the untouched lease of another machine counts no more.

        Raises:
          CheckpointError: a URL, or a directory that can't be written.
          LeaseHeld: another process writes there.
        """
        self._layout = layout.existing(durable.local_path(directory))
        self._on_damage, self._lease_seconds = on_damage, lease_seconds
        self._verified: dict[int, str] = {}  # Step -> hash of the manifest that was verified.
        self._writer: Writer | None = None
        if write:
            self._writer = Writer(self._layout, keep, evaluations, self._verified, lease_seconds)

    def __enter__(self) -> "CheckpointStore":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def directory(self) -> Path:
        """Where the checkpoints are, as an absolute path."""
        return self._layout.root

    def save(
        self,
        step: int,
        items: Mapping[str, Any],
        meta: Mapping[str, Any],
        assets: Mapping[str, bytes],
        before_commit: Callable[[], None] | None = None,
    ) -> None:
        """Saves a step; returns when the arrays are copied, and `check` tells of a failure.

        A step that this object has saved already is not saved again.

        Args:
          step: not negative.
          items: name -> tree of `jax.Array`.
          meta: what JSON can hold.
          assets: relative path -> contents of a small file that travels with the step.
          before_commit: called in the thread just before the step begins to exist.

        Raises:
          CheckpointError: something can't be saved at all, or this is no writer.
          LeaseLost: another process has taken over.
        """
        if self._writer is None:
            raise CheckpointError("This store was opened for reading; open it with write=True.")
        if step < 0:
            raise CheckpointError(f"A checkpoint can't have the number {step}.")
        trees.check_items(items)
        self._writer.save(step, items, extras.encode(step, meta, assets), before_commit)

    def check(self) -> None:
        """Raises what went wrong in the background: the failure of a save, or a lost lease.

        Cheap enough for every step. A failure is raised once; later saves work.
        """
        if self._writer is not None:
            self._writer.check()

    def wait(self) -> None:
        """Waits for the save under way; raises as `check` does."""
        if self._writer is not None:
            self._writer.wait()

    def close(self) -> None:
        """Ends the save under way, the threads and the lease; raises a failure not raised yet."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    def steps(self) -> list[int]:
        """Steps that exist, in order: manifest well formed, all files there with their sizes."""
        there = self._layout.in_state()
        return [s for s in there if not layout.damage(self._layout, s, contents=False)]

    def verify(self, step: int) -> list[Damage]:
        """Reads every byte of a step and says what is wrong with it; nothing if it is good."""
        identity = layout.identity(self._layout, step)
        damage = layout.damage(self._layout, step, contents=True)
        if damage:
            self._verified.pop(step, None)
        elif identity is not None:
            self._verified[step] = identity
        return damage

    def latest(self) -> int | None:
        """Newest step that verifies; None if nothing was ever saved.

        Damaged steps are named in a warning; a writer moves them to `damaged/`.

        Raises:
          CheckpointError: there are steps, but none is good.
        """
        found, message = -1, ""
        if jax.process_index() == 0:
            try:
                newest = self._newest()
                found = -1 if newest is None else newest
            except CheckpointError as e:
                found, message = -2, str(e)
        found = agree(found)
        if found == -2:
            raise CheckpointError(message or f"No checkpoint in {self.directory} is good.")
        return None if found < 0 else found

    def names(self, step: int, item: str) -> list[str]:
        """Names of the leaves of one item, with slashes between the keys of its tree.

        Raises:
          CheckpointError: the step is damaged or gone, or lacks the item.
        """
        self._require_good(step)
        return trees.names(self._layout.step(step), item)

    def restore(self, step: int, item: str, abstract: Any) -> Any:
        """Reads one item of a step onto the devices that `abstract` names.

        Args:
          step: verified before, if this object has not done so yet.
          item: its name at `save`.
          abstract: tree of `jax.ShapeDtypeStruct` with shardings, of any mesh; shapes and dtypes
            must be the saved ones.

        Raises:
          CheckpointError: the step is damaged or gone; or as `ContentsError` it holds something
            else (all is listed).
        """
        self._require_good(step)
        return trees.restore(self._layout.step(step), item, abstract)

    def meta(self, step: int) -> dict[str, Any]:
        """The `meta` of a step, checked against its manifest."""
        return extras.read_meta(self._layout.step(step), self._manifest(step))

    def assets(self, step: int) -> dict[str, bytes]:
        """The assets of a step, checked against its manifest."""
        return extras.read_assets(self._layout.step(step), self._manifest(step))

    def manifest_hash(self, step: int) -> str:
        """Identity of the step's contents; a step saved again has another one."""
        return self._manifest(step).hash

    @contextlib.contextmanager
    def read_lease(self, step: int, *, alone: bool = False) -> Iterator[str]:
        """Keeps the writer from deleting `step` meanwhile; gives its manifest hash.

        On media that can't be written there is no lease, and no writer to keep away.

        Args:
          step: to keep.
          alone: this process calls without the others.

        Raises:
          CheckpointError: the step does not exist, or does no more.
        """
        held: lease.Lease | None = None
        try:
            if alone or jax.process_index() == 0:
                held = self._reader(step)
            # The lease first, then the look at the manifest: the writer does it the other way.
            there = 0 if layout.identity(self._layout, step) is None else 1
            there = there if alone else agree(there)
            if not there:
                raise CheckpointError(self._no_such(step))
            yield self.manifest_hash(step)
        finally:
            if held is not None:
                held.release()

    def _newest(self) -> int | None:
        """Newest good step; process 0 only."""
        bad: list[int] = []
        for step in reversed(self._layout.in_state()):
            identity = layout.identity(self._layout, step)
            if identity is not None and self._verified.get(step) == identity:
                return step
            damage = self.verify(step)
            if not damage:
                return step
            if not self._layout.manifest(step).exists() or identity != layout.identity(
                self._layout, step
            ):
                return self._newest()  # The writer deleted or replaced it while it was read.
            bad.append(step)
            self._report(step, damage)
        put_away = self._layout.put_away()
        if bad or put_away:
            names = ", ".join(map(str, sorted({*bad, *put_away})))
            raise CheckpointError(
                f"No checkpoint in {self.directory} is good; damaged: {names}. Bring back a copy "
                f"of one, or, to start from scratch, move {self._layout.damaged} and the damaged "
                "steps away or choose another workdir."
            )
        return None

    def _report(self, step: int, damage: list[Damage]) -> None:
        log.warning("%s: %s", self.directory, describe_damage(step, damage))
        if self._on_damage is not None:
            self._on_damage(step, damage)
        if self._writer is not None:
            self._writer.quarantine(step)

    def _manifest(self, step: int) -> manifest.Manifest:
        try:
            return layout.read(self._layout, step)
        except FileNotFoundError:
            raise CheckpointError(self._no_such(step)) from None
        except (ValueError, OSError) as e:
            raise CheckpointError(
                f"{self.directory}: the manifest of checkpoint {step} is damaged: {e}"
            ) from e

    def _no_such(self, step: int) -> str:
        there = ", ".join(map(str, self._layout.in_state())) or "none"
        return f"{self.directory} has no checkpoint {step}, or no longer; there are: {there}."

    def _require_good(self, step: int) -> None:
        """Verifies once; on process 0, whose word counts for all."""
        message = ""
        if jax.process_index() == 0:
            identity = layout.identity(self._layout, step)
            if identity is None:
                message = self._no_such(step)
            elif self._verified.get(step) != identity:
                damage = self.verify(step)
                message = describe_damage(step, damage) if damage else ""
        if agree(1 if message else 0):
            raise CheckpointError(message or f"Checkpoint {step} is damaged or gone.")

    def _reader(self, step: int) -> lease.Lease | None:
        name = f"{step}.{uuid.uuid4().hex}"
        try:
            self._layout.readers.mkdir(exist_ok=True)
            return lease.Lease(self._layout.readers / name, self._lease_seconds)
        except OSError as e:
            log.warning("%s: read without a lease (%s)", self.directory, e.strerror or e)
            return None
