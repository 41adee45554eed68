"""Retrieval and classification metrics over NumPy arrays; any model's scores will do.

Fractions are in [0, 1]. Ties of scores are broken by the lower target index. A query without a
positive has no defined score: it is left out, and counted.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

KS = (1, 5, 10)
ROWS = 1024  # Of rankings, at a time.
MOST_KNOWN = 1 << 24  # Bytes of a table of all ids, whatever the number of entries.


class QueryMetrics(NamedTuple):
    """One row for each query that has positives; `summary` averages the rows."""

    query: np.ndarray  # Int[queries], position of the query in the input.
    num_positives: np.ndarray  # Int[queries], R.
    recall: np.ndarray  # Float[queries ks], 1 where a positive is among the first K.
    r_precision: np.ndarray  # Float[queries], |first R and positives| / R.
    average_precision: np.ndarray  # Float[queries], (1/R) sum_{i<=R} precision@i * relevant(i).
    ndcg: np.ndarray  # Float[queries], at the largest K; gains of 0 and 1.
    best_rank: np.ndarray  # Int[queries], 1 for the first; 0 where the ranking doesn't show it.

    def where(self, keep: np.ndarray) -> "QueryMetrics":
        """The rows that the boolean mask `keep` selects."""
        return QueryMetrics(*(field[keep] for field in self))


def retrieval_metrics(
    scores_or_rankings: Any, positives: Any, ks: Sequence[int] = KS
) -> dict[str, float]:
    """R@K, R-Precision, mAP@R, nDCG@K and median rank of many-to-many retrieval.

    Source: eccv_caption `_metrics.py` (arXiv 2204.03359); unlike it, a ranking that repeats a
    target or that is too short is an error, not a better score. nDCG@K = DCG / DCG of a perfect
    ranking, with DCG = sum_{i<=K} relevant(i) / log2(1 + i) (Järvelin and Kekäläinen 2002).

    Args:
      scores_or_rankings: [queries, targets] floats, higher is better; or [queries, length]
        integers, target ids from the best on. Rankings must be as long as the largest K and as
        the query's number of positives; where scores are given, K stops at the gallery's size.
      positives: for each query the target ids that match it, or a boolean [queries, targets].
      ks: at which K recall is measured.

    Returns:
      `recall@K` for each K, `r_precision`, `map_at_r`, `ndcg@K` for the largest K, `num_queries`
      (averaged over), `num_without_positives` (left out), and `median_rank` (of the best positive,
      1 is the first) where it is known for each query, as it is from scores. All but the counts
      are NaN if no query has a positive.

    Raises:
      ValueError: NaN among the scores, a target twice in a ranking, a ranking that is too short, a
        negative id, or a positive that is not in the gallery; the message names the query.
    """
    given = np.asarray(scores_or_rankings)
    if given.ndim != 2:
        raise ValueError(f"scores or rankings must have two axes, got shape {given.shape}")
    if given.dtype.kind in "iu":
        targets = _target_lists(positives, len(given))
        parts = [
            from_rankings(given[rows], targets[rows], ks, rows.start)
            for rows in blocks(len(given), ROWS)
        ]
        return summary(joined(parts, ks), len(given), ks)
    if given.dtype.kind == "b":
        raise ValueError("got booleans: give float scores, or integer rankings of target ids")
    rows = blocked_retrieval(lambda block: given[block], len(given), positives, ks)
    return summary(rows, len(given), ks)


def blocked_retrieval(
    score_block: Callable[[slice], np.ndarray],
    num_queries: int,
    positives: Any,
    ks: Sequence[int] = KS,
    block: int = 1024,
) -> QueryMetrics:
    """Metrics of each query from scores that are made a block of queries at a time.

    Memory is block x targets, however many queries there are.

    Args:
      score_block: gives the scores [rows, targets] of the queries in a slice.
      num_queries: how many queries there are.
      positives: as in `retrieval_metrics`.
      ks: at which K recall is measured.
      block: queries at a time.

    Raises:
      ValueError: as `retrieval_metrics`.
    """
    targets = _target_lists(positives, num_queries)
    parts = []
    for rows in blocks(num_queries, block):
        scores = np.asarray(score_block(rows))
        if scores.dtype.kind != "f":
            scores = scores.astype(np.float32)
        _check_scores(scores, targets[rows], rows.start)
        length = max([*ks, *(len(t) for t in targets[rows])])
        order = top_k(scores, length)
        part = from_rankings(order, targets[rows], ks, rows.start, complete=True)
        best = _best_ranks(scores, part.query - rows.start, targets[rows])
        parts.append(part._replace(best_rank=best))
    return joined(parts, ks)


def joined(parts: Sequence[QueryMetrics], ks: Sequence[int] = KS) -> QueryMetrics:
    """The rows of all parts, in their order; `ks` says how wide the recall of none is."""
    none = from_hits(np.zeros((0, max(ks)), bool), np.zeros(0, np.int64), ks)
    return QueryMetrics(*(np.concatenate(field) for field in zip(none, *parts, strict=True)))


def summary(rows: QueryMetrics, num_queries: int, ks: Sequence[int] = KS) -> dict[str, float]:
    """Means over queries under the names that `retrieval_metrics` returns."""
    count = len(rows.query)

    def mean(values: np.ndarray) -> float:
        return float(values.mean()) if count else float("nan")

    result = {f"recall@{k}": mean(rows.recall[:, i]) for i, k in enumerate(ks)}
    result |= {"r_precision": mean(rows.r_precision), "map_at_r": mean(rows.average_precision)}
    result[f"ndcg@{max(ks)}"] = mean(rows.ndcg)
    if count and rows.best_rank.all():
        result["median_rank"] = float(np.median(rows.best_rank))
    return result | {
        "num_queries": float(count),
        "num_without_positives": float(num_queries - count),
    }


def blocks(total: int, size: int) -> Iterator[slice]:
    """Slices of at most `size` that cover `range(total)` in order."""
    if size < 1:
        raise ValueError(f"a block must hold at least one row, got {size}")
    for start in range(0, total, size):
        yield slice(start, min(start + size, total))


def top_k(scores: np.ndarray, k: int) -> np.ndarray:
    """Indices [rows, min(k, columns)] of the best columns, best first, ties by lower index."""
    columns = scores.shape[1]
    k = min(k, columns)
    if 4 * k >= columns:
        return np.argsort(-scores, axis=1, kind="stable")[:, :k]
    threshold = np.partition(scores, columns - k, axis=1)[:, columns - k]
    result = np.empty((len(scores), k), np.int64)
    for row, least, out in zip(scores, threshold, result, strict=True):
        candidates = np.flatnonzero(row >= least)
        out[:] = candidates[np.argsort(-row[candidates], kind="stable")[:k]]
    return result


def top_k_correct(scores: np.ndarray, labels: np.ndarray, k: int = 1) -> np.ndarray:
    """Boolean [rows]: is the label's column among the best k of its row?

    Raises:
      ValueError: a row has a NaN.
    """
    if (bad := np.isnan(scores).any(1)).any():
        raise ValueError(f"row {int(np.argmax(bad))} has NaN scores")
    return (top_k(scores, k) == np.asarray(labels)[:, None]).any(1)


def class_mean(correct: np.ndarray, labels: np.ndarray) -> float:
    """Mean over classes of the mean of `correct` [rows] within the class."""
    _, index = np.unique(labels, return_inverse=True)
    return float(np.mean(np.bincount(index, weights=correct) / np.bincount(index)))


def _target_lists(positives: Any, num_queries: int) -> list[np.ndarray]:
    if len(positives) != num_queries:
        raise ValueError(f"{num_queries} queries but positives of {len(positives)}")
    if isinstance(positives, np.ndarray) and positives.dtype == bool:
        return [np.flatnonzero(row) for row in positives]
    return [np.unique(np.asarray(row, np.int64)) for row in positives]


def _check_scores(scores: np.ndarray, targets: list[np.ndarray], start: int) -> None:
    if (bad := np.isnan(scores).any(1)).any():
        query = start + int(np.argmax(bad))
        raise ValueError(f"query {query} has NaN scores; metrics need comparable numbers")
    for query, target in enumerate(targets, start):
        if len(target) and not 0 <= target[0] <= target[-1] < scores.shape[1]:
            outside = target[0] if target[0] < 0 else target[-1]
            raise ValueError(
                f"query {query} has the positive {outside}, but the gallery has targets 0 to "
                f"{scores.shape[1] - 1}"
            )


def from_rankings(
    rankings: np.ndarray,
    targets: Sequence[np.ndarray],
    ks: Sequence[int] = KS,
    start: int = 0,
    complete: bool = False,
) -> QueryMetrics:
    """Metrics of the queries that have positives.

    Args:
      rankings: Int[queries length], target ids from the best on, not negative.
      targets: for each query its positives; one that no ranking has counts in R all the same.
      ks: at which K recall is measured.
      start: number of the first query.
      complete: the rankings hold the whole gallery or enough of it, even if shorter than K or R.

    Raises:
      ValueError: a ranking that is too short, or that has a target twice or a negative one; names
        the query.
    """
    length = rankings.shape[1]
    counts = np.array([len(target) for target in targets], np.int64)
    if length < max(ks) and not complete and len(rankings):
        raise ValueError(f"query {start}: its ranking of {length} is shorter than K = {max(ks)}")
    ordered = np.sort(rankings, axis=1)
    if length and (negative := ordered[:, 0] < 0).any():
        query = int(np.argmax(negative))
        raise ValueError(
            f"query {start + query}: its ranking holds the target {ordered[query, 0]}; ids are not "
            "negative, and searches that fill up with -1 are to be cut to K"
        )
    for query, target in enumerate(targets, start):
        if len(target) and target.min() < 0:
            raise ValueError(f"query {query} has the positive {target.min()}; ids are not negative")
    if (repeats := (ordered[:, 1:] == ordered[:, :-1]).any(1)).any():
        first = start + int(np.argmax(repeats))
        raise ValueError(f"query {first}: its ranking holds a target more than once")
    if (short := counts > length).any() and not complete:
        query = int(np.argmax(short))
        raise ValueError(
            f"query {start + query}: its ranking of {length} is shorter than its {counts[query]} "
            "positives"
        )
    kept = np.flatnonzero(counts)
    hits = np.zeros((len(kept), length), bool)
    largest = max([int(rankings.max(initial=-1)), *(int(targets[i].max()) for i in kept.tolist())])
    if largest > MOST_KNOWN + 8 * rankings.size:  # Ids of the user's own, far apart.
        for row, i in zip(hits, kept.tolist(), strict=True):
            row[:] = np.isin(rankings[i], targets[i])
        return from_hits(hits, counts[kept], ks)._replace(query=kept + start)
    known = np.zeros(1 + largest, bool)  # A table for one query, used again: no sorting.
    for row, i in zip(hits, kept.tolist(), strict=True):
        known[targets[i]] = True
        row[:] = known[rankings[i]]
        known[targets[i]] = False
    return from_hits(hits, counts[kept], ks)._replace(query=kept + start)


def from_hits(hits: np.ndarray, counts: np.ndarray, ks: Sequence[int] = KS) -> QueryMetrics:
    """Metrics of rankings of which only is known what matches.

    Args:
      hits: Bool[queries length], is the item of this rank a positive? What is beyond is not.
      counts: Int[queries], R, at least 1.
      ks: at which K recall is measured, and nDCG at the largest.
    """
    length, cut = hits.shape[1], max(ks)
    rank = np.arange(1, length + 1)
    inside = hits & (rank <= counts[:, None])
    precision = np.cumsum(hits, axis=1) / rank
    discount = 1 / np.log2(1 + np.arange(1, cut + 1))
    ideal = np.cumsum(discount)[np.minimum(counts, cut) - 1]
    return QueryMetrics(
        query=np.arange(len(hits)),
        num_positives=counts,
        recall=np.stack([hits[:, :k].any(1) for k in ks], axis=1).astype(float),
        r_precision=inside.sum(1) / counts,
        average_precision=(inside * precision).sum(1) / counts,
        ndcg=hits[:, :cut] @ discount[:length] / ideal,
        best_rank=np.where(hits.any(1), hits.argmax(1) + 1, 0) if length else np.zeros(0, int),
    )


def _best_ranks(scores: np.ndarray, rows: np.ndarray, targets: list[np.ndarray]) -> np.ndarray:
    """Rank of the best of row's targets in the whole gallery, 1 for the first."""
    result = np.empty(len(rows), np.int64)
    for i, row in enumerate(rows):
        own, target = scores[row], targets[row]
        best = target[np.argmax(own[target])]
        result[i] = 1 + (own > own[best]).sum() + (own[:best] == own[best]).sum()
    return result
