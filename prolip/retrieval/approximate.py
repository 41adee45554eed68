"""Approximate search with FAISS, an optional package: a graph of the collection, held in memory.

The sampled distance of a query to an item is |q - m|^2 + u plus a constant of the query: the
squared Euclidean distance from [q, 0] to [m, sqrt(u)]. So a graph over D + 1 dimensions ranks as
`csd` does, and needs no metric of its own. Mean products rank unit means as distances in D
dimensions do; a graph is built for one of the two, since items that are far in one may be near in
the other, and no number of candidates would bring those back.

What the graph finds is scored exactly and in float64; only which items it finds is approximate.
Items with equal embeddings are one point of the graph, and come back together, in their order.
"""

import dataclasses
import math
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from prolip.data.records import DataError
from prolip.gaussian import Gaussian
from prolip.retrieval.points import Points, points_of
from prolip.retrieval.probes import probes
from prolip.retrieval.search import Best, exact_search, score_pairs
from prolip.retrieval.vectors import Vectors

ADD_ROWS = 16384
FILE = "hnsw.faiss"
RECALL_AT = 10
ENOUGH_RECALL = 0.95
# With a filter that lets fewer pass than this, exact search is faster and misses nothing.
LEAST_SHARE = 0.1


@dataclasses.dataclass(frozen=True)
class Hnsw:
    """Options of a graph: `m` costs memory, `ef_construction` time to build, `ef_search` to ask."""

    by: Literal["csd", "mean"] = "csd"
    m: int = 32
    ef_construction: int = 100
    ef_search: int = 128

    def __post_init__(self) -> None:
        for name, least in (("m", 2), ("ef_construction", 1), ("ef_search", 1)):
            if getattr(self, name) < least:
                raise DataError(f"{name} of a graph is at least {least}, got {getattr(self, name)}")


class Graph(NamedTuple):
    """A graph with the items that its points stand for."""

    faiss: Any
    points: Points


def build(vectors: Vectors, options: Hnsw, folder: Path) -> Graph:
    """Builds a graph on all cores, writes it into a folder, and returns it.

    Memory is that of the distinct items in float32, 8 m bytes for each of them, and 32 bytes for
    each item.

    Raises:
      DataError: FAISS is not there.
    """
    faiss = import_faiss()
    points = points_of(vectors, options.by)
    first = np.zeros(vectors.count, bool)
    first[points.firsts] = True
    graph = faiss.IndexHNSWFlat(vectors.dim + (options.by == "csd"), options.m)
    graph.hnsw.efConstruction = options.ef_construction
    buffer = vectors.buffer(min(ADD_ROWS, vectors.count))
    for start in range(0, vectors.count, ADD_ROWS):
        chosen = np.flatnonzero(first[start : start + ADD_ROWS])
        block = vectors.block(start, buffer)
        mean, uncertainty = (x[chosen].astype(np.float32) for x in block)
        graph.add(_augmented(mean, np.sqrt(uncertainty), options.by))
    faiss.write_index(graph, str(folder / FILE))
    points.save(folder)
    return Graph(graph, points)


def load(folder: Path) -> Graph:
    """The graph of a folder.

    Raises:
      DataError: FAISS is not there, can't read the file, or the graph is of an older version.
    """
    faiss, path = import_faiss(), folder / FILE
    points = Points.load(folder)
    try:
        return Graph(faiss.read_index(str(path)), points)
    except RuntimeError as error:
        raise DataError(f"{path} can't be read: {str(error).splitlines()[-1]}") from error


def approximate_search(
    graph: Graph,
    vectors: Vectors,
    queries: Gaussian,
    k: int,
    by: Literal["csd", "mean"],
    ef_search: int,
    keep: np.ndarray | None = None,
) -> Best:
    """The best rows among those that a graph finds; fewer than `k` where it finds no more.

    Equal scores are ordered by the lower row. Of items with equal embeddings the first k are looked
    at, as no more can be among the best.
    """
    faiss, points = import_faiss(), graph.points
    k = min(k, vectors.count)
    fetch = min(2 * k, len(points))
    if not fetch or not len(queries.mean):
        return Best(np.full((len(queries.mean), k), -1), np.full((len(queries.mean), k), -np.inf))
    selector, share = None, 1.0
    if keep is not None:
        points = points.where(keep)
        passing = np.diff(points.starts) > 0
        selector = faiss.IDSelectorBitmap(np.packbits(passing, bitorder="little"))
        # Points that don't pass still lead the way through the graph, and fill its queue.
        share = max(float(passing.mean()), LEAST_SHARE)
    ef = math.ceil(max(ef_search, fetch) / share)
    parameters = faiss.SearchParametersHNSW(sel=selector, efSearch=ef)
    asked = _augmented(queries.mean, np.zeros(len(queries.mean), np.float32), by)
    found = graph.faiss.search(asked, fetch, params=parameters)[1]

    query, place = np.nonzero(found >= 0)
    row, pair = points.members(found[query, place], k)
    query = query[pair]
    taken, where = np.unique(row, return_inverse=True)
    score = score_pairs(by, queries, query, vectors.take(taken), where)
    best = Best(np.full((len(found), k), -1, np.int64), np.full((len(found), k), -np.inf))
    for i in range(len(found)):
        own = np.flatnonzero(query == i)
        own = own[np.lexsort((row[own], -score[own]))][:k]
        best.row[i, : len(own)], best.score[i, : len(own)] = row[own], score[own]
    return best


def recall(approximate: Best, exact: Best) -> float:
    """Mean share of the exact answers that were found; an item of equal score is as good."""
    if not exact.score.size:
        return 1.0
    least = exact.score[:, -1:]
    return float((approximate.score >= least).mean())


def recall_of_graph(graph: Graph, vectors: Vectors, options: Hnsw) -> tuple[float, int]:
    """Recall at 10 over distinct items, and of how many queries: items moved by noise.

    Over all items, copies that come back together would make it look better than it is.
    """
    firsts = graph.points.firsts
    distinct = np.zeros(vectors.count, bool)
    distinct[firsts] = True
    queries, by = probes(vectors, firsts), options.by
    found = approximate_search(
        graph, vectors, queries, RECALL_AT, by, options.ef_search, keep=distinct
    )
    exact = exact_search(vectors, queries, RECALL_AT, by, keep=distinct)
    return recall(found, exact), len(queries.mean)


def import_faiss() -> Any:
    """FAISS.

    Raises:
      DataError: it is not installed.
    """
    try:
        import faiss
    except ImportError as error:
        raise DataError(
            "approximate search needs FAISS: `pip install 'prolip[faiss]'`; exact search does not"
        ) from error
    return faiss


def _augmented(mean: Any, last: np.ndarray, by: Literal["csd", "mean"]) -> np.ndarray:
    rows = [mean, last[:, None]] if by == "csd" else [mean]
    return np.ascontiguousarray(np.concatenate(rows, axis=1), np.float32)
