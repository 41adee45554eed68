"""Approximate search with FAISS, an optional package: a graph of the collection, held in memory.

The sampled distance of a query to an item is |q - m|^2 + u plus a constant of the query: the
squared Euclidean distance from [q, 0] to [m, sqrt(u)]. So a graph over D + 1 dimensions ranks as
`csd` does, and needs no metric of its own. Mean products rank unit means as distances in D
dimensions do; a graph is built for one of the two, since items that are far in one may be near in
the other, and no number of candidates would bring those back.

What the graph finds is scored exactly and in float64; only which items it finds is approximate.
"""

import dataclasses
import math
from pathlib import Path
from typing import Any, Literal

import numpy as np

from prolip.data.records import DataError
from prolip.gaussian import Gaussian
from prolip.retrieval.rankings import Ranking
from prolip.retrieval.search import Best, exact_search, score_pairs
from prolip.retrieval.vectors import Vectors

ADD_ROWS = 16384
RECALL_AT = 10
RECALL_QUERIES = 100
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


def build(vectors: Vectors, options: Hnsw, path: Path) -> Any:
    """Builds a graph on all cores, writes it, and returns it.

    Memory is that of the collection in float32, and 8 m bytes for each item.

    Raises:
      DataError: FAISS is not there.
    """
    faiss = import_faiss()
    graph = faiss.IndexHNSWFlat(vectors.dim + (options.by == "csd"), options.m)
    graph.hnsw.efConstruction = options.ef_construction
    buffer = vectors.buffer(min(ADD_ROWS, vectors.count), log_var=False)
    for start in range(0, vectors.count, ADD_ROWS):
        rows = min(ADD_ROWS, vectors.count - start)
        block = vectors.block(start, buffer)
        mean, uncertainty = (x[:rows].astype(np.float32) for x in block[:2])
        graph.add(_augmented(mean, np.sqrt(uncertainty), options.by))
    faiss.write_index(graph, str(path))
    return graph


def load(path: Path) -> Any:
    """The graph of a file.

    Raises:
      DataError: FAISS is not there, or can't read the file.
    """
    faiss = import_faiss()
    try:
        return faiss.read_index(str(path))
    except RuntimeError as error:
        raise DataError(f"{path} can't be read: {str(error).splitlines()[-1]}") from error


def approximate_search(
    graph: Any,
    vectors: Vectors,
    queries: Gaussian,
    k: int,
    by: Literal["csd", "mean"],
    ef_search: int,
    keep: np.ndarray | None = None,
) -> Best:
    """The best rows among those that a graph finds; fewer than `k` where it finds no more."""
    faiss = import_faiss()
    k = min(k, vectors.count)
    fetch = min(2 * k, vectors.count)
    # Rows that do not pass still lead the way through the graph, and take places of the queue.
    share = 1.0 if keep is None else max(float(keep.mean()), LEAST_SHARE)
    ef = math.ceil(max(ef_search, fetch) / share)
    selector = None
    if keep is not None:
        selector = faiss.IDSelectorBitmap(np.packbits(keep, bitorder="little"))
    parameters = faiss.SearchParametersHNSW(sel=selector, efSearch=ef)
    asked = _augmented(queries.mean, np.zeros(len(queries.mean), np.float32), by)
    rows = graph.search(asked, fetch, params=parameters)[1]

    query, place = np.nonzero(rows >= 0)
    row = rows[query, place]
    taken, where = np.unique(row, return_inverse=True)
    score = score_pairs(Ranking(by), queries, query, vectors.take(taken), where)
    best = Best(np.full((len(rows), k), -1, np.int64), np.full((len(rows), k), -np.inf))
    for i in range(len(rows)):
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


def recall_of_graph(graph: Any, vectors: Vectors, options: Hnsw) -> tuple[float, int]:
    """Recall at 10 for items moved by noise of half their length, and how many those were."""
    rng = np.random.default_rng(0)
    number = min(RECALL_QUERIES, vectors.count)
    rows = np.sort(rng.choice(vectors.count, number, replace=False))
    mean: Any = vectors.take(rows).mean.astype(np.float32)
    noise = rng.normal(size=mean.shape).astype(np.float32)
    mean += noise / (2 * np.linalg.norm(noise, axis=-1, keepdims=True))
    mean /= np.linalg.norm(mean, axis=-1, keepdims=True)
    queries = Gaussian(mean, np.zeros_like(mean))  # Rankings don't depend on their uncertainty.
    found = approximate_search(graph, vectors, queries, RECALL_AT, options.by, options.ef_search)
    return recall(found, exact_search(vectors, queries, RECALL_AT, Ranking(options.by))), number


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
