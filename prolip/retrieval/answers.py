"""What a search returns: for each query its own uncertainty, and items with theirs."""

import dataclasses
from typing import Any

import numpy as np

from prolip.gaussian import Gaussian
from prolip.retrieval.items import Items
from prolip.retrieval.rankings import csd_of_pairs
from prolip.retrieval.search import Best
from prolip.retrieval.vectors import Vectors

HITS = 1024  # Whose rows are in memory at a time.


@dataclasses.dataclass(frozen=True)
class Hit:
    """An item that was found."""

    row: int  # Of the collection.
    id: str
    score: float  # What it was ranked by; higher is better.
    csd: float  # Sampled distance to the query, both uncertainties included; lower is nearer.
    uncertainty: float  # The item's own, the trace of its covariance.
    uri: str | None
    text: str | None


@dataclasses.dataclass(frozen=True)
class Answer:
    """What one query found."""

    uncertainty: float  # The query's own.
    hits: tuple[Hit, ...]  # Best first.
    abstained: bool = False  # The query is more uncertain than was allowed: it was not searched.
    exact: bool = True  # Every item was looked at; else those that the graph led to.

    @property
    def ids(self) -> list[str]:
        """Of the hits, best first."""
        return [hit.id for hit in self.hits]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return dataclasses.asdict(self)


def hits(vectors: Vectors, items: Items, queries: Gaussian, best: Best) -> list[tuple[Hit, ...]]:
    """Looks up what is known of the best rows of each query."""
    query, place = np.nonzero(best.row >= 0)
    found: list[list[Hit]] = [[] for _ in best.row]
    for start in range(0, len(query), HITS):
        some = slice(start, start + HITS)
        rows = best.row[query[some], place[some]]
        block = vectors.take(rows)
        gaussian = Gaussian(*(x[query[some]] for x in queries))
        columns = (csd_of_pairs(gaussian, block), block.uncertainty)
        scores = best.score[query[some], place[some]]
        for i, row, score, csd, own in zip(query[some], rows, scores, *columns, strict=True):
            id_, uri, text = items[int(row)]
            hit = Hit(int(row), id_, float(score), float(csd), float(own), uri, text)
            found[i].append(hit)
    return [tuple(one) for one in found]
