"""Which candidates a person is asked about."""

import typing
from typing import Literal, NamedTuple

import numpy as np

# `pairs`: any candidates, equally likely. `rank`: as many of each range of ranks. `queries`: all
# candidates of some queries, which alone shows how many matches a query has.
Design = Literal["pairs", "rank", "queries"]
RANKS = (1, 5, 10)  # The last rank of each stratum; one more has the rest.


class Sample(NamedTuple):
    """Some candidates. Each has the probability labelled / size of its stratum."""

    pair: np.ndarray  # Int[sampled], places in the pool, in the order in which they are shown.
    stratum: np.ndarray  # Int[sampled]
    sizes: np.ndarray  # Int[strata], candidates of the pool in each.
    names: tuple[str, ...]  # Of the strata.


def draw(query: np.ndarray, rank: np.ndarray, size: int, design: Design, seed: int) -> Sample:
    """A sample in an order of which each beginning is a sample too: labelling may stop anywhere.

    Args:
      query: Int[pairs], of each candidate.
      rank: Int[pairs], its best rank, from 1.
      size: candidates wanted. All are taken where there are fewer; of whole queries as many as
        come nearest, two at least.
      design: see `Design`.
      seed: equal seeds draw equal samples.

    Raises:
      ValueError: no such design, or a size below 1.
    """
    if design not in typing.get_args(Design):
        raise ValueError(f"design is one of {', '.join(typing.get_args(Design))}; got {design!r}")
    if size < 1:
        raise ValueError(f"a sample has at least one pair; got {size}")
    rng = np.random.default_rng(seed)
    whole = np.zeros(len(query), np.int64)
    names: tuple[str, ...]
    if design == "queries":
        pair, stratum, names = _whole_queries(rng, query, size), whole, ("whole queries",)
    elif design == "pairs":
        pair = rng.permutation(len(query))[:size]
        stratum, names = whole, ("all",)
    else:
        stratum = np.searchsorted(RANKS, rank)
        firsts = [1, *(last + 1 for last in RANKS)]
        lasts = [*map(str, RANKS), "k"]
        names = tuple(f"rank {f}-{n}" for f, n in zip(firsts, lasts, strict=True))
        names = ("rank 1", *names[1:])
        pair = _of_each(rng, stratum, size, len(names))
    sizes = np.bincount(stratum, minlength=len(names))
    return Sample(pair, stratum[pair], sizes, names)


def _whole_queries(rng: np.random.Generator, query: np.ndarray, size: int) -> np.ndarray:
    queries, counts = np.unique(query, return_counts=True)
    number = max(2, round(size / max(1.0, counts.mean()))) if len(queries) else 0
    drawn = rng.permutation(queries)[:number]
    return np.concatenate([np.flatnonzero(query == q) for q in drawn] or [np.zeros(0, np.int64)])


def _of_each(rng: np.random.Generator, stratum: np.ndarray, size: int, strata: int) -> np.ndarray:
    """As many of each stratum; what a small one lacks is shared among the others."""
    members = [rng.permutation(np.flatnonzero(stratum == s)) for s in range(strata)]
    wanted, left = {}, size
    by_size = sorted(range(strata), key=lambda s: len(members[s]))
    for place, s in enumerate(by_size):
        wanted[s] = min(len(members[s]), -(-left // (strata - place)))
        left -= wanted[s]
    return rng.permutation(np.concatenate([members[s][: wanted[s]] for s in range(strata)]))
