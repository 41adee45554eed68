"""Totals of a pool from a labelled sample, and how far they may be off."""

import math
import statistics
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from prolip.curation.intervals import Interval, clopper_pearson, normal_quantile, wilson

REPEATS = 2000
AT_A_TIME = 100  # Repeats; their weights are [AT_A_TIME, queries].


class Labelled(NamedTuple):
    """The part of a sample that has a label."""

    cluster: np.ndarray  # Int[labelled], what is drawn together: the text of the query.
    stratum: np.ndarray  # Int[labelled]
    sizes: np.ndarray  # Int[strata], pairs of the pool in each.

    @property
    def weight(self) -> np.ndarray:
        """Float64[labelled]: one over the inclusion probability, size / labelled of the stratum.

        A pair that was drawn but not labelled counts as not drawn. The pairs of a stratum of which
        nothing is labelled are taken as an average of the others.
        """
        count = np.bincount(self.stratum, minlength=len(self.sizes))
        covered = self.sizes[count > 0].sum()
        scale = self.sizes.sum() / covered if covered else 1.0
        return scale * self.sizes[self.stratum] / count[self.stratum]


def horvitz_thompson(marks: np.ndarray, labelled: Labelled) -> np.ndarray:
    """Float64[marks]: estimated numbers of pairs of the pool that have each mark.

    Args:
      marks: Bool or float [marks, labelled].
      labelled: where the labelled pairs come from.

    Source: Horvitz and Thompson, JASA 47 (1952) 663.
    """
    return marks.astype(np.float64) @ labelled.weight


def stratified_wilson(match: np.ndarray, labelled: Labelled, confidence: float) -> Interval:
    """Wilson's interval of the share of matches in this very pool, from pairs drawn in strata.

    The sample counts as the number of pairs drawn alike that would have the same variance,
    p (1 - p) / sum over strata of (size / all)^2 p_s (1 - p_s) / n_s; of one stratum as what it is.
    Labels may depend on each other in any way: only what is drawn is random.

    Args:
      match: Bool[labelled].
      labelled: where the labelled pairs come from.
      confidence: of the interval.

    Source: Korn and Graubard, Survey Methodology 24 (1998) 193, with Wilson's interval.
    """
    count = np.bincount(labelled.stratum, minlength=len(labelled.sizes))
    there = count > 0
    part, count = labelled.sizes[there] / labelled.sizes[there].sum(), count[there]
    found = np.bincount(labelled.stratum, match.astype(np.float64), len(there))[there]
    share = float(part @ (found / count))
    # A stratum where no match was met has some variance all the same: half a match more of each
    # kind stands for it. Of one stratum this cancels.
    own = (found + 0.5) / (count + 1)
    middle = float(part @ own)
    number = middle * (1 - middle) / float((part**2 * own * (1 - own) / count).sum())
    return wilson(min(share, 1.0) * number, number, confidence)


def bootstrap(
    marks: np.ndarray, labelled: Labelled, seed: int, repeats: int = REPEATS
) -> np.ndarray:
    """Float64[repeats, marks]: the totals if other queries had been met.

    Queries are drawn with replacement, with all labelled pairs of each, because the labels of one
    query depend on each other; weights are made anew from what is drawn.

    Args:
      marks: Bool or float [marks, labelled].
      labelled: where the labelled pairs come from.
      seed: equal seeds draw equal queries.
      repeats: how often.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 8.
    """
    _, cluster = np.unique(labelled.cluster, return_inverse=True)
    clusters, strata = int(cluster.max(initial=-1)) + 1, len(labelled.sizes)
    place = cluster * strata + labelled.stratum

    def summed(values: np.ndarray | None) -> np.ndarray:
        flat = np.bincount(place, weights=values, minlength=clusters * strata)
        return flat.reshape(clusters, strata).astype(np.float64)

    count = summed(None)
    by_mark = np.stack([summed(mark) for mark in marks.astype(np.float64)])
    there = count.sum(0) > 0
    sizes = labelled.sizes[there] * (labelled.sizes.sum() / max(1, labelled.sizes[there].sum()))
    usual = by_mark.sum(1)[:, there] / count.sum(0)[there]
    parts = []
    for weights in _weights(np.random.default_rng(seed), clusters, repeats):
        met = weights @ count[:, there]  # [some, strata]
        share = np.einsum("bc,mcs->mbs", weights, by_mark[:, :, there])
        # A stratum of which no query was drawn says nothing new.
        share = np.where(met > 0, share / np.maximum(met, 1), usual[:, None, :])
        parts.append((share @ sizes).T)
    return np.concatenate(parts)


def bootstrap_interval(
    marks: np.ndarray, labelled: Labelled, confidence: float, seed: int, repeats: int = REPEATS
) -> Interval:
    """Percentiles of the bootstrapped total of one mark, farther out where queries are few.

    Plain percentiles are as narrow as a normal interval with the variance divided by n: they are
    moved out to what Student's t with n - 1 would have (Hesterberg, The American Statistician 69
    (2015) 371, "expanded percentile"). Few and skewed numbers are still held less often than said.

    Where all labels are the same, no resampling says anything. Then it is the exact interval of as
    many independent pairs as would have the same variance, (sum of sizes)^2 / (sum of size^2 / n),
    but at most of one pair for each query.

    Args:
      marks: Bool[labelled].
      labelled: where the labelled pairs come from.
      confidence: of the interval.
      seed: equal seeds draw equal queries.
      repeats: how often.
    """
    total = float(labelled.sizes.sum())
    if marks.all() or not marks.any():
        queries = len(np.unique(labelled.cluster))
        number = min(queries, int(total**2 / (labelled.weight**2).sum())) if queries else 1
        same = clopper_pearson(number if marks.all() else 0, number, confidence)
        return Interval(*(end * total for end in same))
    tail = _expanded_tail(confidence, len(np.unique(labelled.cluster)))
    found = bootstrap(marks[None, :], labelled, seed, repeats)[:, 0]
    return Interval(*np.quantile(found, [tail, 1 - tail]).tolist())


def _expanded_tail(confidence: float, clusters: int) -> float:
    """Share of the bootstrap below the interval."""
    z = normal_quantile(confidence)
    freedom = max(1, clusters - 1)
    # The first terms of Student's quantile in 1 / freedom (Fisher and Cornish 1960).
    t = z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
    return statistics.NormalDist().cdf(-t * math.sqrt(1 + 1 / freedom))


def _weights(rng: np.random.Generator, clusters: int, repeats: int) -> Iterator[np.ndarray]:
    """Float64[some, clusters]: how often each was drawn."""
    for start in range(0, repeats, AT_A_TIME):
        some = min(AT_A_TIME, repeats - start)
        yield rng.multinomial(clusters, np.full(clusters, 1 / clusters), some).astype(np.float64)
