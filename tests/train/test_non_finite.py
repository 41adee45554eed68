"""What is done about steps that are not finite, without training."""

from typing import NamedTuple

import numpy as np
import pytest

from prolip.train.non_finite import Guard, NonFiniteError
from prolip.workdir import Workdir


class Rows(NamedTuple):
    index: np.ndarray


BAD, GOOD = ({"loss": loss, "finite": np.isfinite(loss)} for loss in (np.nan, 1.0))
ROWS = Rows(np.arange(2))


def test_a_skipped_step_is_told_with_the_place_of_its_batch(tmp_path):
    said = []
    guard = Guard("skip", 2, Workdir(tmp_path), say=said.append)
    guard.check(1, BAD, ROWS)
    guard.check(2, GOOD, ROWS)
    assert len(said) == 1
    assert (
        "step 1 is not finite (loss) and is skipped (1 in a row, config.max_skipped 2)" in said[0]
    )
    assert str(tmp_path / "dumps" / "step_1") in said[0]


@pytest.mark.parametrize("before", [0, 1, 2])
def test_a_streak_goes_on_after_a_restart(before, tmp_path):
    """Otherwise a run that is restarted again and again inside a streak would never stop."""
    guard = Guard("skip", 2, Workdir(tmp_path), before)
    for step in range(2 - before):
        guard.check(step, BAD, ROWS)
    assert guard.in_a_row == 2
    with pytest.raises(NonFiniteError, match="3 steps in a row up to 9 were not finite"):
        guard.check(9, BAD, ROWS)


def test_a_finite_step_ends_a_streak(tmp_path):
    guard = Guard("skip", 2, Workdir(tmp_path), 2)
    guard.check(3, GOOD, ROWS)
    assert guard.in_a_row == 0
    guard.check(4, BAD, ROWS)
