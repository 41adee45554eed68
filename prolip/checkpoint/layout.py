"""What lies where in a checkpoint directory, and how a step leaves it.

    <step>/                     items written by Orbax, meta.json, assets/
    manifests/<step>.json       makes the step exist
    manifests/<step>.saving     a save of the step has begun and not ended
    manifests/<step>.deleting   the manifest of a step on its way into trash/
    manifests/<step>.damaged    the manifest of a step on its way into damaged/
    readers/<step>.<token>      leases of readers
    writer                      lease of the writer
    trash/                      what may be removed at any time
    damaged/                    steps that did not verify, for a person to look at

Every change is a rename, so that a kill between any two leaves something that `recover` ends.
"""

import contextlib
import os
import re
import uuid
from pathlib import Path
from typing import Literal, NamedTuple

from prolip.checkpoint import durable, lease, manifest
from prolip.checkpoint.errors import CheckpointError, Damage
from prolip.regular_files import UnreadableError, read_bytes

_NUMBER = re.compile(r"0|[1-9][0-9]{0,17}")  # What fits into 64 bits.
MAX_MANIFEST = 256 << 20  # Bytes; 100 for each file of a step.
_TEMPORARY = ".orbax-checkpoint-tmp"

Exit = Literal["deleting", "damaged"]


class Layout(NamedTuple):
    """The places in one checkpoint directory."""

    root: Path

    def step(self, step: int) -> Path:
        """Directory of a step."""
        return self.root / str(step)

    def manifest(self, step: int, state: str = "json") -> Path:
        """Manifest of a step; "saving", "deleting" and "damaged" are states on the way."""
        return self.root / "manifests" / f"{step}.{state}"

    @property
    def manifests(self) -> Path:
        """Directory of the manifests."""
        return self.root / "manifests"

    @property
    def readers(self) -> Path:
        """Directory of the readers' leases."""
        return self.root / "readers"

    @property
    def trash(self) -> Path:
        """Directory of what may be removed at any time."""
        return self.root / "trash"

    @property
    def damaged(self) -> Path:
        """Directory of steps that did not verify."""
        return self.root / "damaged"

    @property
    def writer(self) -> Path:
        """The writer's lease."""
        return self.root / "writer"

    def in_state(self, state: str = "json") -> list[int]:
        """Steps with a manifest in `state`, in order."""
        names = [p.name.rpartition(".") for p in _entries(self.manifests)]
        return sorted(int(n) for n, _, s in names if s == state and _NUMBER.fullmatch(n))

    def directories(self) -> list[int]:
        """Steps with a directory, in order."""
        there = [p for p in _entries(self.root) if _NUMBER.fullmatch(p.name)]
        return sorted(int(p.name) for p in there if p.is_dir() and not p.is_symlink())

    def put_away(self) -> list[int]:
        """Steps in `damaged`, in order."""
        names = {p.name.partition(".")[0] for p in _entries(self.damaged)}
        return sorted(int(n) for n in names if _NUMBER.fullmatch(n))

    def create(self) -> None:
        """Makes the directories, and finds out that files can be written.

        Raises:
          CheckpointError: they can't.
        """
        durable.make_writable(self.root)
        durable.make_writable(self.manifests)
        self.readers.mkdir(exist_ok=True)
        self.trash.mkdir(exist_ok=True)


def read(layout: Layout, step: int) -> manifest.Manifest:
    """The manifest of `step`.

    Raises:
      FileNotFoundError: the step does not exist.
      ValueError: its manifest is damaged.
    """
    path = layout.manifest(step)
    try:
        found = manifest.decode(read_bytes(path, MAX_MANIFEST))
    except UnreadableError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise error.__cause__ from None
        raise
    if found.step != step:
        raise ValueError(f"it is the manifest of step {found.step}")
    return found


def identity(layout: Layout, step: int) -> str | None:
    """Manifest hash of `step`; None if it does not exist or its manifest is damaged."""
    try:
        return read(layout, step).hash
    except (ValueError, OSError):
        return None


def damage(layout: Layout, step: int, *, contents: bool) -> list[Damage]:
    """What is wrong with `step`, file by file; see `manifest.differences`."""
    name = f"{layout.manifests.name}/{step}.json"
    try:
        want = read(layout, step)
    except FileNotFoundError:
        return [Damage(name, "it is missing")]
    except ValueError as e:
        return [Damage(name, str(e))]
    except OSError as e:
        return [Damage(name, f"it can't be read ({e.strerror or e})")]
    return manifest.differences(want, layout.step(step), contents=contents)


def retire(layout: Layout, step: int, way: Exit, lease_seconds: float) -> bool:
    """Takes `step` out of the steps that exist; returns False if a reader holds it.

    The manifest goes first. A reader that writes its lease and then finds the manifest is safe:
    the leases are looked at again after the manifest is gone, and it comes back if one is there.
    """
    if layout.manifest(step).exists():
        if way == "deleting" and is_read(layout, step, lease_seconds):
            return False
        durable.move(layout.manifest(step), layout.manifest(step, way))
        if way == "deleting" and is_read(layout, step, lease_seconds):
            durable.move(layout.manifest(step, way), layout.manifest(step))
            return False
    finish_exit(layout, step, way)
    return True


def finish_exit(layout: Layout, step: int, way: Exit) -> None:
    """Moves the directory of a step away, then what is left of its manifest."""
    folder = layout.trash if way == "deleting" else layout.damaged
    target = folder / f"{step}.{uuid.uuid4().hex[:8]}"
    folder.mkdir(exist_ok=True)
    if os.path.lexists(layout.step(step)):
        durable.move(layout.step(step), target)
    if layout.manifest(step, way).exists():
        durable.move(layout.manifest(step, way), target.with_name(f"{target.name}.json"))
    layout.manifest(step, "saving").unlink(missing_ok=True)


def is_read(layout: Layout, step: int, lease_seconds: float) -> bool:
    """Whether a reader holds `step`; leases of the dead are removed."""
    held = False
    for path in _entries(layout.readers):
        if path.name.startswith(f"{step}."):
            if lease.is_held(path, lease_seconds):
                held = True
            else:
                path.unlink(missing_ok=True)
    return held


def recover(layout: Layout, lease_seconds: float) -> list[str]:
    """Ends what a killed writer left half done; only for the holder of the writer's lease.

    Returns:
      Sentences that say what was found.
    """
    report = []
    for path in _entries(layout.root) + _entries(layout.manifests):
        if _TEMPORARY in path.name or (path.name.startswith(".") and path.name != ".lock"):
            discard(layout, path)
    for path in _entries(layout.readers):
        if not lease.is_held(path, lease_seconds):
            path.unlink(missing_ok=True)
    ways: tuple[Exit, ...] = ("deleting", "damaged")
    for way, step in [(w, s) for w in ways for s in layout.in_state(w)]:
        if layout.manifest(step).exists():
            discard(layout, layout.manifest(step, way))  # Of contents that were saved again.
        elif (
            way == "deleting"
            and layout.step(step).exists()
            and is_read(layout, step, lease_seconds)
        ):
            durable.move(layout.manifest(step, way), layout.manifest(step))
        else:
            finish_exit(layout, step, way)
    exists, begun = set(layout.in_state()), set(layout.in_state("saving"))
    for step in layout.directories():
        if step in exists:
            continue
        if step in begun:
            report.append(f"the save of step {step} was interrupted; it is removed")
            finish_exit(layout, step, "deleting")
        else:
            report.append(f"step {step} has no manifest; it is moved to {layout.damaged}")
            finish_exit(layout, step, "damaged")
    for step in begun:
        layout.manifest(step, "saving").unlink(missing_ok=True)
    return report


def discard(layout: Layout, path: Path) -> None:
    """Moves a file or directory into the trash if it is there."""
    with contextlib.suppress(FileNotFoundError):
        path.rename(layout.trash / f"{path.name}.{uuid.uuid4().hex[:8]}")


def temporary(layout: Layout) -> list[Path]:
    """What Orbax left of saves that did not end."""
    return [p for p in _entries(layout.root) if _TEMPORARY in p.name]


def empty_trash(layout: Layout) -> None:
    """Removes what is in the trash; what can't be removed now stays for the next time."""
    for path in _entries(layout.trash):
        durable.remove_tree(path)


def existing(directory: Path) -> Layout:
    """The layout of a directory to read from, which may not be there yet.

    Raises:
      CheckpointError: it is a file.
    """
    if directory.exists() and not directory.is_dir():
        raise CheckpointError(f"{directory} is a file; checkpoints lie in a directory.")
    return Layout(directory)


def _entries(directory: Path) -> list[Path]:
    try:
        return sorted(directory.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
