"""The named studies; a new one is a file in `studies/` with a `STUDY`, and a line here."""

import dataclasses
import difflib
import textwrap
from collections.abc import Sequence

from prolip.config import ConfigError
from prolip.experiments import small
from prolip.experiments.studies import (
    ablation,
    filtering,
    misalignment,
    mismatch,
    multiplicity,
    objectives,
    uncertainty,
)
from prolip.experiments.study import Study

STUDIES: dict[str, Study] = {
    module.STUDY.name: module.STUDY
    for module in (
        *(objectives, ablation, multiplicity, mismatch),
        *(misalignment, filtering, uncertainty),
    )
}


def study(name: str, seeds: int | None = None, only: Sequence[str] = ()) -> Study:
    """The study of this name, with other seeds or some of its cells.

    Raises:
      ConfigError: there is none; the nearest name is given. Or no such cell, or no seed.
    """
    if name not in STUDIES:
        near = difflib.get_close_matches(name, STUDIES, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(STUDIES)}"
        raise ConfigError(f"there is no study {name!r}; {hint}")
    found = STUDIES[name]
    if seeds is not None:
        if seeds < 1:
            raise ConfigError(f"--seeds must be at least 1, got {seeds}")
        on_emoji = any(small.EMOJI in cell.changes for cell in found.cells)
        if on_emoji and seeds > small.EMOJI_SEEDS:
            raise ConfigError(
                f"--seeds: each seed of {name} holds out another part of the emoji, of which there "
                f"are {small.EMOJI_SEEDS}; got {seeds}"
            )
        found = dataclasses.replace(found, seeds=seeds)
    return found.select(only) if only else found


def listing(studies: Sequence[Study]) -> str:
    """Studies with their questions, and a line for each cell."""
    parts = []
    for one in studies:
        runs = len(one.cells) * one.seeds
        head = textwrap.fill(f"{one.name}: {one.question} ({runs} runs)", 100)
        parts.append("\n".join([head, *(f'  --only "{cell.name}"' for cell in one.cells)]))
    return "\n\n".join(parts)
