"""Which records a score keeps."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from prolip.data.expression import Expression, Lacking
from prolip.data.records import DataError
from prolip.evals.correlation import mean_ranks


class Kept(NamedTuple):
    """What is kept, and where the line is."""

    mask: np.ndarray  # Bool[records]
    threshold: float | None  # Of what is kept, itself inside; None for bounds that were given.
    ties: int  # Records at the threshold.


def keep_fraction(values: np.ndarray, fraction: float) -> Kept:
    """The records with the highest values, and all that are equal to the last of them.

    The threshold is `-sort(-values)[int(n * fraction)]`, as in DataComp (arXiv 2304.14108,
    `baselines/apply_filter.py`), and values equal to it are kept. So one more than n * fraction is
    kept, or more where there are ties.

    Args:
      values: Float[records], the highest are kept.
      fraction: above 0 and at most 1; 1 keeps all.

    Raises:
      ValueError: another fraction, no value, or a NaN.
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"a fraction to keep is above 0 and at most 1; got {fraction}")
    if not len(values) or np.isnan(values).any():
        raise ValueError("there must be values, and each must be a number")
    place = min(int(len(values) * fraction), len(values) - 1)
    threshold = float(-np.sort(-values)[place])
    return Kept(values >= threshold, threshold, int((values == threshold).sum()))


def keep_between(values: np.ndarray, above: float | None, below: float | None) -> Kept:
    """Records whose values are at least `above` and at most `below`; None is no bound."""
    mask = np.ones(len(values), bool)
    if above is not None:
        mask &= values >= above
    if below is not None:
        mask &= values <= below
    return Kept(
        mask, None, int(np.isin(values, [x for x in (above, below) if x is not None]).sum())
    )


def rank_mixture(expression: Expression, values: Mapping[str, np.ndarray]) -> np.ndarray:
    """Float64[records]: the expression, with the ranks of each score for its name.

    Ranks go from 0 for the lowest value to 1 for the highest, equal values have the mean of theirs:
    so scores of any unit can be weighed against each other.

    Args:
      expression: such as "similarity - 0.5 * uncertainty"; high is good.
      values: Float[records] by name.

    Raises:
      DataError: it comes to no number.
    """
    count = len(next(iter(values.values())))
    ranks = {name: (mean_ranks(x) - 1) / max(1, count - 1) for name, x in values.items()}
    try:
        # Once for each record: the language of conditions knows numbers, not arrays.
        rows = zip(*(rank.tolist() for rank in ranks.values()), strict=True)
        return np.array(
            [float(expression.value(dict(zip(ranks, row, strict=True)))) for row in rows]
        )
    except (Lacking, TypeError, ValueError) as error:
        raise DataError(f"--by {expression.text!r} comes to no number: {error}") from error
