"""Random collections, in memory or as `prolip embed` writes them; their rankings in float64."""

import itertools

import numpy as np

from prolip.gaussian import Gaussian
from prolip.retrieval import embeddings
from prolip.retrieval.embeddings import Identity, Manifest, Rows
from prolip.retrieval.vectors import ArrayColumn, Vectors

MODEL = Identity("a" * 64, "b" * 64, '{"size": 16}')
RANKINGS = ("csd", "mean")


def gaussians(rng, count, dim=8, level=-4.0, spread=1.0):
    """Float32, means of unit length."""
    mean = rng.normal(size=(count, dim))
    mean /= np.linalg.norm(mean, axis=1, keepdims=True)
    log_var = rng.normal(level, spread, (count, dim))
    return Gaussian(mean.astype(np.float32), log_var.astype(np.float32))


def with_ties(rng, count, dim=8, different=5):
    """A collection in which every item occurs often."""
    few = gaussians(rng, different, dim)
    which = rng.integers(0, different, count)
    return Gaussian(few.mean[which], few.log_var[which])


class ReadColumn(ArrayColumn):
    """Copies each block, as a file does that can't be mapped."""

    def block(self, start, out):
        """See `Column`."""
        self.read(start, out)
        return out


def vectors(gaussian, width=np.float32, column=ArrayColumn):
    """In memory."""
    mean, log_var = (x.astype(width) for x in gaussian)
    uncertainty = np.exp(log_var.astype(np.float32)).sum(-1)
    return Vectors(column(mean), column(uncertainty))


def brute_force(items, queries, k, by, keep=None):
    """Rows and scores [queries, k] by sorting all scores in float64; -1 after the last hit."""
    mean, uncertainty = (x.astype(np.float64) for x in items.take(np.arange(items.count)))
    k = min(k, items.count)
    rows, scores = np.full((len(queries.mean), k), -1), np.full((len(queries.mean), k), -np.inf)
    allowed = np.ones(items.count, bool) if keep is None else keep
    for i, query in enumerate(queries.mean.astype(np.float64)):
        score = (mean * query).sum(-1) - (uncertainty / 2 if by == "csd" else 0)
        order = np.argsort(-score, kind="stable")
        order = order[allowed[order]][:k]
        rows[i, : len(order)], scores[i, : len(order)] = order, score[order]
    return rows, scores


def write_collection(
    directory, gaussian, *, parts=2, width="float32", variance="log_var", model=MODEL, **columns
):
    """A collection as `prolip embed` leaves it; `columns` are ids, uris, texts or thumbnails."""
    directory.mkdir(exist_ok=True)
    count, dim = gaussian.mean.shape
    columns.setdefault("ids", [f"item {i}" for i in range(count)])
    names = ("ids", "uris", "texts", "thumbnails")
    columns = {name: columns.get(name, [None] * count) for name in names}
    ends = np.linspace(0, count, parts + 1).astype(int)
    described = []
    for number, (start, stop) in enumerate(itertools.pairwise(ends)):
        some = {name: tuple(values[start:stop]) for name, values in columns.items()}
        part = Gaussian(*(x[start:stop] for x in gaussian))
        path = directory / embeddings.part_name(number)
        embeddings.write_part(
            path,
            Rows(gaussian=part, uncertainty=np.exp(part.log_var).sum(-1), **some),
            [],
            first_item=int(start),
            items=int(stop - start),
            width=width,
            variance=variance,
        )
        described.append(embeddings.describe_part(path)[0])
    manifest = Manifest(
        format=embeddings.FORMAT,
        kind="image",
        count=count,
        failed=0,
        dim=dim,
        width=width,
        variance=variance,
        model=model,
        checkpoint="runs/a",
        source="pictures",
        parts=tuple(described),
    )
    embeddings.write_manifest(directory, manifest)
    return directory
