"""What can be wrong with checkpoints, told in sentences."""

import errno
from typing import NamedTuple


class CheckpointError(RuntimeError):
    """A checkpoint can't be written, found or read; the message says what to do."""


class ContentsError(CheckpointError):
    """A good checkpoint whose arrays have other names, shapes or dtypes than are asked for."""


class LeaseHeld(CheckpointError):
    """Another process writes to this directory; it `passes` if that may be dead."""

    def __init__(self, message: str, passes: bool = False):
        super().__init__(message)
        self.passes = passes


class LeaseLost(CheckpointError):
    """Another process took this directory over; this one must not write to it any more."""


class Damage(NamedTuple):
    """One file that is not what the manifest of its step says."""

    file: str  # Below the checkpoint directory: "1000/params/_METADATA".
    problem: str  # "its contents changed", "it is missing", ...

    def __str__(self) -> str:
        return f"{self.file}: {self.problem}"


def describe_damage(step: int, damage: list[Damage], shown: int = 5) -> str:
    """One sentence that names the damaged files of `step`, the first `shown` of them."""
    more = f"; and {len(damage) - shown} more" if len(damage) > shown else ""
    return f"checkpoint {step} is damaged: {'; '.join(map(str, damage[:shown]))}{more}"


def is_disk_full(error: BaseException | None) -> bool:
    """Whether `error`, or an error behind it, says that there is no space left."""
    seen = 0
    while error is not None and seen < 20:
        text = str(error)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if "RESOURCE_EXHAUSTED" in text or "No space left" in text or "quota exceeded" in text:
            return True
        error, seen = error.__cause__ or error.__context__, seen + 1
    return False
