"""Does the inclusion test tell what lies in an item from what doesn't?

The rate at which it says yes over matches alone can't tell: where captions are wider than images it
says yes to nearly every pair. So that rate stands beside the rate over the same outer items with
inner items that do not match them, and beside the area under the ROC curve.
"""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from prolip.evals.metrics import blocks
from prolip.gaussian import Gaussian, inclusion_paired, similarity_paired

OUTER = 2048  # Outer items that are compared with others; their mean area is right to about 0.01.
OTHERS = 64  # Inner items that don't match, drawn for each of them; and matches at most.
SEED = 0


def inclusion_metrics(
    inner: Gaussian, outer: Gaussian, positives: Sequence[np.ndarray], block: int = 4096
) -> dict[str, float]:
    """Rates and ROC area of the inclusion test of inner items in outer ones.

    Args:
      inner: such as images.
      outer: such as captions.
      positives: for each outer item the inner ones that match it.
      block: pairs at a time.

    Returns:
      `inclusion_rate` and `inclusion_median` (nats) over all matching pairs, `num_pairs`. Where
      some inner items don't match, also `inclusion_rate_others`, over the same outer items with
      inner items that don't match them (each outer item counts as often as it has matches); and
      `inclusion_auc` and `similarity_auc`, the mean over outer items of the area under the ROC
      curve among the inner items. Chance is 0.5, however wide captions or images are on the whole.
      Nothing where a variance is zero: the test isn't defined there.
    """
    uncertain = (np.isfinite(np.asarray(side.log_var)).all() for side in (inner, outer))
    match = np.concatenate([*positives, np.zeros(0, np.int64)])
    of = np.repeat(np.arange(len(positives)), [len(row) for row in positives])
    if not all(uncertain) or not len(match):
        return {}
    test, _ = _scores(inner, outer, match, of, block)
    result = {
        "inclusion_rate": float((test > 0).mean()),
        "inclusion_median": float(np.median(test)),
        "num_pairs": float(len(test)),
    }
    return result | _against_others(inner, outer, positives, block)


def _against_others(
    inner: Gaussian, outer: Gaussian, positives: Sequence[np.ndarray], block: int
) -> dict[str, float]:
    total, rng = len(np.asarray(inner.mean)), np.random.default_rng(SEED)
    both = [i for i, own in enumerate(positives) if 0 < len(own) < total]
    if not both:
        return {}
    spread = np.unique(np.linspace(0, len(both) - 1, min(len(both), OUTER)).astype(int))
    chosen = [both[i] for i in spread]
    own = [rng.permutation(positives[i])[:OTHERS] for i in chosen]
    others = [_drawn(rng, np.unique(positives[i]), total) for i in chosen]
    rows = np.concatenate([*own, *others])
    of = np.repeat([*chosen, *chosen], [len(row) for row in [*own, *others]])
    test, near = _scores(inner, outer, rows, of, block)
    ends = np.cumsum([len(row) for row in [*own, *others]])[:-1]
    tests, nears = np.split(test, ends), np.split(near, ends)
    half = len(chosen)
    rates = [float((score > 0).mean()) for score in tests[half:]]
    weights = [len(positives[i]) for i in chosen]
    return {
        "inclusion_rate_others": float(np.average(rates, weights=weights)),
        "inclusion_auc": float(np.mean([*map(_area, tests[:half], tests[half:])])),
        "similarity_auc": float(np.mean([*map(_area, nears[:half], nears[half:])])),
    }


def _drawn(rng: np.random.Generator, matching: np.ndarray, total: int) -> np.ndarray:
    """Some of `range(total)` without the matching ones, which are ascending and distinct."""
    free = rng.choice(total - len(matching), min(OTHERS, total - len(matching)), replace=False)
    return free + np.searchsorted(matching - np.arange(len(matching)), free, side="right")


def _area(right: np.ndarray, wrong: np.ndarray) -> float:
    """Share of the pairs of a right and a wrong score in order; ties count half."""
    right = right[:, None]
    return float((right > wrong).mean() + (right == wrong).mean() / 2)


def _scores(
    inner: Gaussian, outer: Gaussian, rows: np.ndarray, of: np.ndarray, block: int
) -> tuple[np.ndarray, np.ndarray]:
    """The inclusion test, and similarity, of pairs by number of inner and outer item."""
    fields = [[np.asarray(field, np.float32) for field in side] for side in (inner, outer)]
    tests, nears = [], []
    for some in blocks(len(rows), block):
        a = Gaussian(*(jnp.asarray(field[rows[some]]) for field in fields[0]))
        b = Gaussian(*(jnp.asarray(field[of[some]]) for field in fields[1]))
        tests.append(np.asarray(inclusion_paired(a, b)))
        nears.append(np.asarray(similarity_paired(b, a)))
    return np.concatenate(tests), np.concatenate(nears)
