"""How many answers are right, and how often a batch calls a right one wrong. Needs no model."""

from collections.abc import Sequence

import numpy as np

from prolip.evals.context import Context, EvalResult, finite
from prolip.evals.given import transpose

BATCHES = (256, 4_096, 32_768)


def false_negative_rate(positives: Sequence[np.ndarray], num_images: int) -> float:
    """Probability that a pair of a batch that is trained as a mismatch is a match.

    Draw an image j and one of its captions c, each equally likely, and another image i: the
    probability that c matches i is the mean over j, c of (matches(c) - 1) / (num_images - 1).
    NaN for fewer than two images, or if no image has a caption.

    Args:
      positives: for each caption the images that it matches.
      num_images: how many images there are.
    """
    others = np.array([len(row) - 1 for row in positives], np.float64)
    own = [
        others[captions].mean() for captions in transpose(positives, num_images) if len(captions)
    ]
    if num_images < 2 or not own:
        return float("nan")
    return float(np.mean(own) / (num_images - 1))


def expected_false_negatives(rate: float, batch: int) -> tuple[float, float]:
    """Matches that a batch trains as mismatches, and their share of all its matches.

    A batch of B drawn pairs has B (B - 1) others, each of which matches with probability `rate`.
    """
    missed = batch * (batch - 1) * rate
    return missed, missed / (missed + batch)


def evaluate(context: Context) -> EvalResult:
    """Metrics under `multiplicity/`: of the data, the same at every checkpoint.

    `matches_mean`, `matches_median`, `matches_max` (images a caption matches), `several` (share of
    captions with several), `captions_mean` (of an image), `false_negative_rate`, and for batches of
    256, 4,096 and 32,768 pairs drawn so `false_negatives/<batch>` and
    `false_negative_share/<batch>`.
    """
    count = len(context.images.mean)
    matches = np.array([len(row) for row in context.positives])
    rate = false_negative_rate(context.positives, count)
    metrics = {
        "matches_mean": matches.mean(),
        "matches_median": np.median(matches),
        "matches_max": matches.max(),
        "several": (matches > 1).mean(),
        "captions_mean": matches.sum() / count,
        "false_negative_rate": rate,
    }
    for batch in BATCHES:
        missed, share = expected_false_negatives(rate, batch)
        metrics |= {f"false_negatives/{batch}": missed, f"false_negative_share/{batch}": share}
    named = {f"multiplicity/{name}": float(value) for name, value in metrics.items()}
    return EvalResult(finite(named), {"caption_matches": matches})
