"""Classification where several classes can be right, or none. NumPy only."""

import numpy as np

RIGHT, WRONG, LEFT_OUT = 1, 0, -1  # What a table [images, classes] of judgements holds.


def right_answers(predicted: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Bool[judged]: is the answer among the right ones? Images without a right one are left out.

    Source: ReaL accuracy of arXiv 2006.07159.

    Args:
      predicted: Int[images], one class an image.
      valid: Int8[images, classes], `RIGHT`, `WRONG` or `LEFT_OUT`.
    """
    judged = np.flatnonzero((valid == RIGHT).any(1))
    return valid[judged, predicted[judged]] == RIGHT


def average_precisions(scores: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Float64[classes]: of each class the mean, over its images, of the precision at their ranks.

    Images are ranked by their score for the class, ties by the lower number; those that are left
    out of the class are not ranked. NaN for a class without an image.

    Args:
      scores: Float[images, classes].
      valid: Int8[images, classes], `RIGHT`, `WRONG` or `LEFT_OUT`.

    Raises:
      ValueError: a score is NaN; the image is named.
    """
    if (bad := np.isnan(scores).any(1)).any():
        raise ValueError(f"image {int(np.argmax(bad))} has NaN scores")
    result = np.full(valid.shape[1], np.nan)
    for c in range(valid.shape[1]):
        judged = np.flatnonzero(valid[:, c] != LEFT_OUT)
        order = judged[np.argsort(-scores[judged, c], kind="stable")]
        ranks = 1 + np.flatnonzero(valid[order, c] == RIGHT)
        if len(ranks):
            result[c] = np.mean(np.arange(1, len(ranks) + 1) / ranks)
    return result
