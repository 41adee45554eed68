"""Candidates: what several models rank high and nobody has annotated."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Pool(NamedTuple):
    """Pairs of a query and a target, ordered by both."""

    query: np.ndarray  # Int64[pairs]
    target: np.ndarray  # Int64[pairs]
    rank: np.ndarray  # Int64[pairs, models], from 1; 0 where the model has it not among its first.

    @property
    def best_rank(self) -> np.ndarray:
        """Int64[pairs]: of any model."""
        return np.where(self.rank > 0, self.rank, np.iinfo(np.int64).max).min(1)


def pool(rankings: Sequence[np.ndarray], annotated: np.ndarray) -> Pool:
    """The union of the first targets of all models, without the annotated pairs.

    Source: ECCV Caption, arXiv 2204.03359, section 3.2, which takes the first 25 of five models.

    Args:
      rankings: for each model Int[queries, k], targets from the best on; -1 after the last.
      annotated: Int[queries], the target of the pair that the data has.
    """
    width = 1 + max([int(annotated.max(initial=0)), *(int(r.max(initial=0)) for r in rankings)])
    own = np.arange(len(annotated)) * width + annotated
    codes, ranks = [], []
    for ranking in rankings:
        query, place = np.nonzero(ranking >= 0)
        codes.append(query * width + ranking[query, place])
        ranks.append(place + 1)
    union = np.unique(np.concatenate(codes))
    union = union[~np.isin(union, own)]
    rank = np.zeros((len(union), len(rankings)), np.int64)
    for model, (code, place) in enumerate(zip(codes, ranks, strict=True)):
        inside = np.isin(code, union)
        rank[np.searchsorted(union, code[inside]), model] = place[inside]
    return Pool(union // width, union % width, rank)


def annotated_found(rankings: Sequence[np.ndarray], annotated: np.ndarray) -> list[float]:
    """Share of the annotated pairs among the first targets: of any model, then of each."""
    if not len(annotated):
        return [float("nan")] * (1 + len(rankings))
    found = np.stack([(ranking == annotated[:, None]).any(1) for ranking in rankings])
    return [float(found.any(0).mean()), *found.mean(1).tolist()]
