"""The figures of an audit, from its pool, its sample and the labels."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from prolip.curation.capture import chapman
from prolip.curation.estimators import (
    Labelled,
    bootstrap_interval,
    horvitz_thompson,
    stratified_wilson,
)
from prolip.curation.intervals import Interval, clopper_pearson, wilson
from prolip.curation.labels import NO, UNSURE, YES
from prolip.curation.pool import Pool
from prolip.curation.sampling import Design, Sample
from prolip.evals.multiplicity import BATCHES, expected_false_negatives

QUANTILES = (0.25, 0.5, 0.75, 0.9, 0.99, 1.0)
BINS = (1, 2, 4, 11, 31)  # First value of each range of matches.


class Asked(NamedTuple):
    """What a sample was drawn from."""

    pool: Pool
    cluster: np.ndarray  # Int[queries], equal where the texts are.
    images: int  # Of the data; each query has one of them annotated.
    texts: int  # That have an image; the queries are all of them, or a sample.

    @property
    def queries(self) -> int:
        """Texts that are asked."""
        return len(self.cluster)

    @property
    def drawn(self) -> bool:
        """Whether the queries are a sample of the texts."""
        return self.queries < self.texts


def estimates(
    asked: Asked, sample: Sample, label: np.ndarray, design: Design, confidence: float, seed: int
) -> dict[str, Any]:
    """Estimates of a labelled sample; JSON.

    Args:
      asked: the candidates.
      sample: those that were to be labelled.
      label: Int[sampled], as in `labels`; unsure ones and those without one count as not drawn.
      design: of the sample.
      confidence: of all intervals.
      seed: of the bootstrap.
    """
    judged = label >= NO
    pair, match = sample.pair[judged], label[judged] == YES
    query = asked.pool.query[pair]
    # What is drawn: texts, as they come; or pairs, and then texts that are equal say the same.
    cluster = query if design == "queries" else asked.cluster[query]
    labelled = Labelled(cluster, sample.stratum[judged], sample.sizes)
    pairs = len(asked.pool.query)
    total = float(horvitz_thompson(match[None, :], labelled)[0])
    boot = bootstrap_interval(match, labelled, confidence, seed)
    rate: dict[str, Any] = {"value": total / pairs, "bootstrap": _scaled(boot, 1 / pairs)}
    if design != "queries":
        rate["wilson"] = stratified_wilson(match, labelled, confidence)
    if design == "pairs":
        rate["clopper_pearson"] = clopper_pearson(int(match.sum()), len(match), confidence)
    # Of this pool it is the interval of what was drawn; of more texts than it has, the bootstrap.
    best = boot if "wilson" not in rate or asked.drawn else _scaled(rate["wilson"], pairs)
    others = asked.queries * (asked.images - 1)
    missed = {"value": total, **_ends(best)}
    found: dict[str, Any] = {
        "labelled": int(judged.sum()),
        "unsure": int((label == UNSURE).sum()),
        "matches": int(match.sum()),
        "match_rate": rate,
        "missed_pairs": missed,
        "matches_per_text": {key: 1 + v / asked.queries for key, v in missed.items()},
        "matches_per_image": {
            key: (1 + v / asked.queries) * asked.texts / asked.images for key, v in missed.items()
        },
        "false_negative_rate": {key: v / others for key, v in missed.items()},
        "strata": _strata(sample, label, confidence),
        "completeness": _completeness(asked.pool, pair, match, labelled.weight, confidence),
    }
    found["batches"] = batches(found["false_negative_rate"]["value"], asked.texts)
    if found["unsure"]:
        found["if_unsure"] = _if_unsure(sample, label, asked, pairs)
    if design == "queries":
        found["matches_of_texts"] = distribution(1 + _by_query(asked.pool, query, match))
    return found


def truth(asked: Asked, known: np.ndarray) -> dict[str, Any]:
    """What the estimates are of, where all matches are known; JSON.

    Args:
      asked: the candidates.
      known: Int[matches], all that are not annotated, as `labels.code`, ascending.
    """
    codes = asked.pool.query * asked.images + asked.pool.target
    match = np.isin(codes, known)
    of_query = np.bincount(known // asked.images, minlength=asked.queries)
    rate = len(known) / (asked.queries * (asked.images - 1))
    return {
        "match_rate": float(match.mean()) if len(match) else 0.0,
        "missed_pairs": int(match.sum()),
        "missed_anywhere": len(known),
        "completeness": float(match.sum() / len(known)) if len(known) else None,
        "false_negative_rate_of_pool": float(match.sum()) / (asked.queries * (asked.images - 1)),
        "false_negative_rate": rate,
        "batches": batches(rate, asked.texts),
        "matches_of_texts": distribution(1 + of_query),
    }


def distribution(matches: np.ndarray) -> dict[str, Any]:
    """Mean, quantiles and a histogram of K, the number of valid matches; JSON."""
    ends = [*BINS[1:], np.inf]
    names = [f"{a}" if b == a + 1 else f"{a}-{b - 1:.0f}" for a, b in zip(BINS, ends, strict=True)]
    names[-1] = f"{BINS[-1]}+"
    place = np.maximum(np.searchsorted(BINS, matches, side="right") - 1, 0)
    shares = np.bincount(place, minlength=len(BINS)) / max(1, len(matches))
    return {
        "texts": len(matches),
        "mean": float(matches.mean()),
        "quantiles": {f"{q:g}": float(np.quantile(matches, q)) for q in QUANTILES},
        "shares": dict(zip(names, shares.tolist(), strict=True)),
    }


def batches(rate: float, texts: int) -> dict[str, list[float]]:
    """Expected false negatives and their share of all matches, of batches that the texts fill."""
    sizes = [size for size in BATCHES if size <= texts] or [texts]
    return {str(size): list(expected_false_negatives(rate, size)) for size in sizes}


def matches_of_queries(asked: Asked, pair: np.ndarray, match: np.ndarray) -> np.ndarray:
    """Int64[queries]: how many of these pairs match, by their query; annotated ones not counted."""
    return np.bincount(asked.pool.query[pair[match]], minlength=asked.queries)


def _strata(sample: Sample, label: np.ndarray, confidence: float) -> list[dict[str, Any]]:
    rows = []
    for number, name in enumerate(sample.names):
        own = label[sample.stratum == number]
        judged, match = int((own >= NO).sum()), int((own == YES).sum())
        row = {"name": name, "pairs": int(sample.sizes[number]), "labelled": judged}
        if judged:
            row |= {"match_rate": match / judged, **_ends(wilson(match, judged, confidence))}
        rows.append(row)
    return rows


def _completeness(
    pool: Pool, pair: np.ndarray, match: np.ndarray, weight: np.ndarray, confidence: float
) -> list[dict[str, Any]]:
    """Of each two models; counts are of labelled matches, as many as there were, but weighted."""
    rank, weight = pool.rank[pair[match]], weight[match]
    if not len(weight):
        return []
    weight = weight * len(weight) / weight.sum()
    rows = []
    for a, b in combinations(range(pool.rank.shape[1]), 2):
        first, second = (rank[:, model] > 0 for model in (a, b))
        counts = [float(weight[of].sum()) for of in (first, second, first & second)]
        found = chapman(counts[0], counts[1], counts[2], confidence)
        if not found.seen:  # All matches are of other models.
            continue
        rows.append(
            {
                "models": [a, b],
                "counts": counts,
                "completeness": found.completeness,
                **_ends(found.completeness_interval),
            }
        )
    return rows


def _if_unsure(sample: Sample, label: np.ndarray, asked: Asked, pairs: int) -> list[float]:
    """The rate of matches if no unsure pair were one, and if all were."""
    judged = label >= UNSURE
    query = asked.pool.query[sample.pair[judged]]
    labelled = Labelled(asked.cluster[query], sample.stratum[judged], sample.sizes)
    marks = np.stack([label[judged] == YES, label[judged] != NO])
    return (horvitz_thompson(marks, labelled) / pairs).tolist()


def _by_query(pool: Pool, query: np.ndarray, match: np.ndarray) -> np.ndarray:
    """Float64[queries that were labelled]: matches, filled up for pairs without a label."""
    size = np.bincount(pool.query)
    labelled = np.bincount(query, minlength=len(size))
    matches = np.bincount(query, weights=match.astype(np.float64), minlength=len(size))
    there = labelled > 0
    return matches[there] * size[there] / labelled[there]


def _scaled(interval: Sequence[float], factor: float) -> Interval:
    return Interval(*(end * factor for end in interval))


def _ends(interval: Interval) -> dict[str, float]:
    return {"low": float(interval.low), "high": float(interval.high)}
