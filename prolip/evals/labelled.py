"""Images of a split that have a label, with their classes."""

from typing import NamedTuple

import numpy as np

from prolip.evals.context import Context


class LabelledImages(NamedTuple):
    """Images with a label; one without has no right answer and is left out."""

    rows: np.ndarray  # Int64[images]: of the images of the split.
    names: np.ndarray  # Str[classes], sorted.
    labels: np.ndarray  # Int64[images]: the class of each.


def labelled_images(context: Context, feature: str) -> LabelledImages:
    """Returns the images that have a label, which may be none.

    Raises:
      ValueError: the split has no such label feature.
    """
    if feature not in context.labels:
        known = ", ".join(context.labels) or "none"
        raise ValueError(
            f"eval.label_features names {feature!r}, which is not a label of this data set; "
            f"known labels: {known}"
        )
    given = np.asarray(context.labels[feature])
    rows = np.flatnonzero(given != "")
    names, labels = np.unique(given[rows], return_inverse=True)
    return LabelledImages(rows, names, labels)
