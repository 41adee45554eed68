"""Files of an evaluation, read strictly, since disks and people damage files."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from prolip.evals.context import finite

DONE, FAILED, DAMAGED = ".done.json", ".failed.json", "damaged.json"


class Entry(NamedTuple):
    """A finished evaluation."""

    step: int
    evaluator: str
    manifest: str  # Hash of the checkpoint's manifest.
    config: str  # Hash of the evaluation's configuration.
    metrics: dict[str, float]

    @property
    def key(self) -> tuple[int, str, str, str]:
        """Identity of the entry, of which there may be only one."""
        return self[:4]


def read_entry(path: Path) -> Entry | None:
    """The entry in a file; None if there is none, or it is damaged."""
    try:
        return decode_entry(path.read_bytes())
    except OSError:
        return None


def decode_entry(line: bytes) -> Entry | None:
    """The entry in a line of JSON; None if something of it is missing or of another kind."""
    try:
        values = json.loads(line)
        entry = Entry(*(values[field] for field in Entry._fields))
        metrics = {name: float(value) for name, value in entry.metrics.items()}
        numbers = all(type(value) in (int, float) for value in entry.metrics.values())
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        return None
    texts = (entry.evaluator, entry.manifest, entry.config)
    good = numbers and is_step(entry.step) and all(isinstance(text, str) for text in texts)
    return entry._replace(metrics=metrics) if good and metrics == finite(metrics) else None


def read_note(path: Path) -> dict[str, Any] | None:
    """A note of a failure or of damage; None if it is gone or damaged itself."""
    try:
        note = json.loads(path.read_bytes())
        names = ("manifest",) if path.name == DAMAGED else ("manifest", "evaluator")
        if is_step(note["step"]) and all(isinstance(note[name], str) for name in names):
            return note
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        pass
    return None


def is_step(value: Any) -> bool:
    """Returns True if a value that was read is the number of a step."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53
