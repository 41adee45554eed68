"""Embeds and reads back, for tests of bulk embedding."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console

from prolip.gaussian import Gaussian
from prolip.retrieval import bulk, embeddings
from prolip.retrieval.bulk import BulkOptions
from prolip.retrieval.collections.choose import open_collection
from prolip.retrieval.embeddings import Rows

OPTIONS = BulkOptions(batch_size=4, part_size=8, threads=2)


def run(model, collection, directory, options=OPTIONS, console=None):
    """`bulk.embed` of a path or a collection, in silence."""
    if not hasattr(collection, "kind"):
        collection = open_collection(str(collection))
    console = console or Console(file=io.StringIO())
    return bulk.embed(model, collection, directory, options, console=console)


def rows(directory):
    """All rows of a whole collection, and its manifest."""
    manifest = embeddings.read_manifest(Path(directory))
    parts = list(embeddings.read_rows(Path(directory), manifest))
    means, log_vars = (
        None if part[0] is None else np.concatenate(part)
        for part in zip(*(piece.gaussian for piece in parts), strict=True)
    )
    joined = {
        name: tuple(value for piece in parts for value in getattr(piece, name))
        for name in ("ids", "uris", "texts", "thumbnails")
    }
    uncertainty = np.concatenate([piece.uncertainty for piece in parts])
    return Rows(gaussian=Gaussian(means, log_vars), uncertainty=uncertainty, **joined), manifest


def table(directory):
    """All parts, to compare to the last bit."""
    return pa.concat_tables(pq.read_table(p) for p in sorted(Path(directory).glob("part-*")))


class Only:
    """A model that can be asked who it is; embedding is what the test says."""

    def __init__(self, model, image):
        self._model, self.image = model, image

    def __getattr__(self, name):
        return getattr(self._model, name)


def refuses(images):
    raise AssertionError("nothing is to be embedded")
