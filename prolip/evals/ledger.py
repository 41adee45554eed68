"""What has been evaluated: one file for each step and evaluator, created once and never changed.

`evals/<step>-<hash>/` in a workdir belongs to one checkpoint under one evaluation configuration:
the hash is of the checkpoint's manifest and of the configuration, so that a step that is trained
again, or evaluated otherwise, is another one. In it, `<evaluator>.done.json` is the entry,
`<evaluator>.npz` and `<evaluator>.json` what a report needs, `<evaluator>.failed.json` the error of
an evaluator that failed, and `damaged.json` what is wrong with a checkpoint that did not verify.

`evals.jsonl` has the entries as lines, in the order of evaluation. The entries are the truth: the
file is brought in line with them whenever a process starts. Long because writers and readers of
these files have to agree.
"""

import contextlib
import errno
import fcntl
import hashlib
import io
import json
import os
import uuid
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from prolip.checkpoint import durable, lease
from prolip.config import ConfigError
from prolip.evals.context import EvalResult, finite
from prolip.evals.entries import (
    DAMAGED,
    DONE,
    FAILED,
    Entry,
    decode_entry,
    read_entry,
    read_note,
)
from prolip.workdir import naming

LINES = "evals.jsonl"
SET = "set-"  # Before the name of an evaluation set, which a digest follows, as an evaluator.
UNDEFINED = "undefined"  # In the notes: names of metrics without a value, and why.
# After which the claim of an evaluator on another machine counts no more if nothing renews it.
CLAIM_SECONDS = 60.0
READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)


class Ledger:
    """The evaluations of one workdir under one configuration."""

    def __init__(self, workdir: str | os.PathLike[str], config: str):
        """Opens the ledger and brings `evals.jsonl` in line with its entries.

        Args:
          workdir: of the run; `evals/` is made in it.
          config: hash of the evaluation's configuration; see `config_hash`.
        """
        self.workdir, self.config = Path(workdir), config
        self._known: set[tuple[int, str, str, str]] = set()
        with _if_writable():
            (self.workdir / "evals").mkdir(parents=True, exist_ok=True)
            self._remove_stale()
        self.reconcile()

    def folder(self, step: int, manifest: str) -> Path:
        """Where the entries of a checkpoint are, with what a report needs beside them."""
        return folder_of(self.workdir, step, manifest, self.config)

    def pending(self, step: int, manifest: str, evaluators: Collection[str]) -> list[str]:
        """Those of `evaluators` that have no entry for the checkpoint, or a damaged one."""
        folder = self.folder(step, manifest)
        return [name for name in evaluators if read_entry(folder / f"{name}{DONE}") is None]

    @contextlib.contextmanager
    def claim(self, step: int, manifest: str) -> Iterator[None]:
        """Keeps other evaluators off a checkpoint; the entries are exact without it too.

        Raises:
          prolip.checkpoint.LeaseHeld: another evaluator is at it.
          ConfigError: the disk can't be written.
        """
        folder = self.folder(step, manifest)
        try:
            folder.mkdir(exist_ok=True)
            held = lease.acquire(folder / "claim", CLAIM_SECONDS)
        except OSError as error:
            if error.errno not in READ_ONLY:
                raise
            raise ConfigError(
                f"{self.workdir} can't be written ({error.strerror}); --out DIR puts the results "
                "into another directory"
            ) from error
        try:
            yield
        finally:
            held.release()

    def record(self, step: int, manifest: str, evaluator: str, result: EvalResult) -> bool:
        """Writes arrays and notes, then the entry, then its line; False if there is an entry."""
        entry = Entry(step, evaluator, manifest, self.config, finite(result.metrics))
        folder = self.folder(step, manifest)
        folder.mkdir(exist_ok=True)
        if not self.pending(step, manifest, [evaluator]):
            return False
        arrays = io.BytesIO()
        np.savez_compressed(arrays, **result.arrays)  # type: ignore[arg-type]
        durable.replace(folder / f"{evaluator}.npz", arrays.getvalue())
        notes = result.notes | ({UNDEFINED: result.undefined} if result.undefined else {})
        durable.replace(folder / f"{evaluator}.json", _encode(notes))
        with self._locked():
            created = _create(folder / f"{evaluator}{DONE}", _encode(entry._asdict()))
            if created:
                self._append([entry])
        (folder / f"{evaluator}{FAILED}").unlink(missing_ok=True)
        (folder / DAMAGED).unlink(missing_ok=True)
        return created

    def record_failure(self, step: int, manifest: str, evaluator: str, error: str) -> None:
        """Notes that an evaluator failed; it is tried again by the next process that evaluates."""
        entry = {"step": step, "evaluator": evaluator, "manifest": manifest, "config": self.config}
        self._note(step, manifest, f"{evaluator}{FAILED}", {**entry, "error": error})

    def record_damage(self, step: int, manifest: str, damage: list[str]) -> None:
        """Notes that a checkpoint did not verify, so that nobody keeps it for its evaluation."""
        entry = {"step": step, "manifest": manifest, "config": self.config}
        self._note(step, manifest, DAMAGED, {**entry, "damage": damage})

    def reconcile(self) -> None:
        """Gives every entry its line in `evals.jsonl`, once; drops lines that are torn."""
        with _if_writable():
            (self.workdir / "evals").mkdir(exist_ok=True)
            with self._locked():
                self._reconcile()

    def _remove_stale(self) -> None:
        """Removes the temporary files of evaluators that were killed as they wrote."""
        folder = self.workdir / "evals"
        with contextlib.suppress(OSError):
            old = lease.server_time(folder) - CLAIM_SECONDS
            for path in (*folder.glob("*/.*"), *self.workdir.glob(f".{LINES}.*")):
                if path.name != ".lock" and path.stat().st_mtime < old:
                    path.unlink()

    def _reconcile(self) -> None:
        path = self.workdir / LINES
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        kept, self._known = [], set()
        for line in lines:
            found = decode_entry(line) if line.endswith(b"\n") else None
            if found is not None and found.key not in self._known:
                self._known.add(found.key)
                kept.append(line)
        if kept != lines:
            durable.replace(path, b"".join(kept))
        self._write([entry for entry in entries(self.workdir) if entry.key not in self._known])

    def _append(self, new: list[Entry]) -> None:
        path = self.workdir / LINES
        if path.exists() and not _ends_with_newline(path):
            self._reconcile()  # Another evaluator was killed as it wrote.
        else:
            self._write([entry for entry in new if entry.key not in self._known])

    def _write(self, new: list[Entry]) -> None:
        if not new:
            return
        path = self.workdir / LINES
        with naming(path), open(path, "ab") as f:
            f.write(b"".join(_encode(entry._asdict()) for entry in new))
            f.flush()
            os.fsync(f.fileno())
        self._known.update(entry.key for entry in new)

    def _note(self, step: int, manifest: str, name: str, content: dict[str, Any]) -> None:
        folder = self.folder(step, manifest)
        folder.mkdir(exist_ok=True)
        durable.replace(folder / name, _encode(content))

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        fd = os.open(self.workdir / "evals" / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            with contextlib.suppress(OSError):  # Some mounts have no locks.
                fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)


def folder_of(workdir: Path, step: int, manifest: str, config: str) -> Path:
    """Folder of the entries of a checkpoint under a configuration."""
    identity = hashlib.sha256(f"{manifest}:{config}".encode()).hexdigest()[:16]
    return workdir / "evals" / f"{step}-{identity}"


@contextlib.contextmanager
def _if_writable() -> Iterator[None]:
    """Does without on a read-only disk: its results can be read, and `claim` refuses new ones."""
    try:
        yield
    except OSError as error:
        if error.errno not in READ_ONLY:
            raise


def entries(workdir: str | os.PathLike[str]) -> list[Entry]:
    """All finished evaluations, by step, then in the order in which they ended."""
    order = sorted(_entries(workdir), key=lambda row: (row[0].step, row[1], row[0].evaluator))
    return [entry for entry, _ in order]


def _entries(workdir: str | os.PathLike[str]) -> Iterator[tuple[Entry, int]]:
    """Entries, and when they ended, in nanoseconds."""
    for path in (Path(workdir) / "evals").glob(f"*/*{DONE}"):
        with contextlib.suppress(FileNotFoundError):
            entry = read_entry(path)
            if entry is not None:
                yield entry, path.stat().st_mtime_ns


def damaged(workdir: str | os.PathLike[str]) -> list[Path]:
    """Entries and notes that can't be read, which nothing else here counts."""
    folder = Path(workdir) / "evals"
    bad = [path for path in folder.glob(f"*/*{DONE}") if path.exists() and not read_entry(path)]
    for pattern in (f"*/*{FAILED}", f"*/{DAMAGED}"):
        bad += [path for path in folder.glob(pattern) if path.exists() and not read_note(path)]
    return sorted(bad)


def newest(workdir: str | os.PathLike[str]) -> dict[int, dict[str, Entry]]:
    """What counts of each step, by evaluator, in the order in which they ended.

    Of a step that was trained again only what is of the new checkpoint, also where evaluators of
    that have only failed yet; of an evaluator that ran under several configurations the latest.
    """
    events: list[tuple[int, str, int, str, Entry | None]] = [
        (time, e.evaluator, e.step, e.manifest, e) for e, time in _entries(workdir)
    ]
    for note, time in _notes(workdir, f"*/*{FAILED}"):
        events.append((time, note["evaluator"], note["step"], note["manifest"], None))
    found: dict[int, dict[str, Entry]] = {}
    for *_, step, manifest, entry in sorted(events, key=lambda event: event[:2]):
        own = found.setdefault(step, {})
        if any(other.manifest != manifest for other in own.values()):
            own.clear()
        if entry is not None:
            own.pop(entry.evaluator, None)  # Its place is that of the latest.
            own[entry.evaluator] = entry
    return {step: own for step, own in sorted(found.items()) if own}


def failures(workdir: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Notes of evaluators that failed and have not succeeded since, by step.

    A success is one with the same checkpoint and configuration, or a later one of the step.
    """
    ended: dict[tuple[int, str], list[tuple[str, str, int]]] = {}
    for entry, time in _entries(workdir):
        ended.setdefault((entry.step, entry.evaluator), []).append(
            (entry.manifest, entry.config, time)
        )
    found = []
    for note, time in _notes(workdir, f"*/*{FAILED}"):
        own = ended.get((note["step"], note["evaluator"]), [])
        same = (note.get("manifest"), note.get("config"))
        if not any((m, c) == same or later > time for m, c, later in own):
            found.append(note)
    return sorted(found, key=lambda note: (note["step"], note["evaluator"]))


def evaluations(
    workdir: str | os.PathLike[str], evaluators: Collection[str] = (), sets: Collection[str] = ()
) -> dict[str, dict[str, float]]:
    """Metrics of each checkpoint that the evaluator is through with, by manifest hash.

    It is through with a checkpoint when each of `evaluators` and of the sets called `sets` (or any,
    if none are given) has finished or failed, or when the checkpoint did not verify; the latter has
    no metrics.
    """
    wanted = {*evaluators, *(f"{SET}{name}" for name in sets)}
    metrics: dict[str, dict[str, float]] = {}
    settled: dict[str, set[str]] = {}
    for entry in entries(workdir):
        metrics.setdefault(entry.manifest, {}).update(entry.metrics)
        settled.setdefault(entry.manifest, set()).add(_without_digest(entry.evaluator))
    for note, _ in _notes(workdir, f"*/*{FAILED}"):
        settled.setdefault(note["manifest"], set()).add(_without_digest(note["evaluator"]))
    for note, _ in _notes(workdir, f"*/{DAMAGED}"):
        settled.setdefault(note["manifest"], set()).update(wanted)
    return {m: metrics.get(m, {}) for m, names in settled.items() if names >= wanted}


def _without_digest(evaluator: str) -> str:
    """The name of an evaluator; of a set without the digest of what is in it."""
    return evaluator.rpartition("-")[0] if evaluator.startswith(SET) else evaluator


def config_hash(options: Mapping[str, Any]) -> str:
    """Identity of what decides an evaluation's result, as JSON can hold it."""
    return hashlib.sha256(json.dumps(options, sort_keys=True).encode()).hexdigest()


def _notes(workdir: str | os.PathLike[str], pattern: str) -> Iterator[tuple[dict[str, Any], int]]:
    """Notes, and when they were written, in nanoseconds."""
    for path in (Path(workdir) / "evals").glob(pattern):
        with contextlib.suppress(FileNotFoundError):
            note = read_note(path)
            if note is not None:
                yield note, path.stat().st_mtime_ns


def _create(path: Path, data: bytes) -> bool:
    """Puts a complete file at `path` if there is none; two processes can't both succeed."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    durable.write_new(temporary, data)
    try:
        os.link(temporary, path)
    except FileExistsError:
        if read_entry(path) is not None:
            return False
        os.rename(temporary, path)  # Over a damaged one.
    except OSError:  # A mount without hard links: the lock alone keeps others away.
        if path.exists():
            return False
        os.rename(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    durable.sync_directory(path.parent)
    return True


def _encode(content: Any) -> bytes:
    return json.dumps(content, allow_nan=False).encode() + b"\n"


def _ends_with_newline(path: Path) -> bool:
    with open(path, "rb") as f:
        if f.seek(0, os.SEEK_END) == 0:
            return True
        f.seek(-1, os.SEEK_END)
        return f.read(1) == b"\n"
