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
