"""Scores of a ranking that knows nothing: expectations over random orders, exactly. NumPy only.

A score means something beside these: R@1 of 0.3 is little where a third of the gallery matches.
"""

from collections.abc import Sequence

import numpy as np

from prolip.evals.metrics import KS


def of_rankings(
    num_positives: Sequence[int] | np.ndarray, gallery: int, ks: Sequence[int] = KS
) -> dict[str, float]:
    """Expected `recall@K`, `r_precision` and `map_at_r` where each order is equally likely.

    Of N targets of which R match: recall@K = 1 - C(N - R, K) / C(N, K); R-precision R / N; and, as
    a target at rank i matches with probability R / N and then each one before it with
    (R - 1) / (N - 1), mAP@R = 1/R sum_{i<=R} R/N (1 + (i - 1) (R - 1) / (N - 1)) / i.

    Args:
      num_positives: of each query; those without one are left out, as in the scores.
      gallery: number of targets.
      ks: at which K recall is measured.
    """
    counts = np.asarray(num_positives, np.int64)
    values, weights = np.unique(counts[counts > 0], return_counts=True)
    if not len(values):
        return {}

    def mean(each: np.ndarray) -> float:
        return float(np.average(each, weights=weights))

    result = {f"recall@{k}": mean(_recall(values, gallery, min(k, gallery))) for k in ks}
    result["r_precision"] = mean(values / gallery)
    result["map_at_r"] = mean(np.array([_average_precision(int(r), gallery) for r in values]))
    return result


def _recall(positives: np.ndarray, gallery: int, k: int) -> np.ndarray:
    drawn = np.arange(k)
    left = np.maximum(gallery - positives[:, None] - drawn, 0) / (gallery - drawn)
    return 1 - left.prod(1)


def _average_precision(positives: int, gallery: int) -> float:
    rank = np.arange(1, positives + 1)
    others = (positives - 1) / max(gallery - 1, 1)
    return float(((1 + (rank - 1) * others) / rank).sum() / gallery)
