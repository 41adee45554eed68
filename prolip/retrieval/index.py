"""A collection that can be searched: `prolip.Index`."""

import dataclasses
import functools
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from prolip.data.records import DataError
from prolip.gaussian import Gaussian
from prolip.retrieval import approximate as graphs
from prolip.retrieval import embeddings, index_files
from prolip.retrieval.answers import Answer, hits
from prolip.retrieval.approximate import Hnsw
from prolip.retrieval.embeddings import Manifest, Width
from prolip.retrieval.index_files import Approximate, Description
from prolip.retrieval.items import Filter, Items
from prolip.retrieval.queries import Queries, as_gaussian
from prolip.retrieval.rankings import NO_INCLUSION, By
from prolip.retrieval.rounding import measure
from prolip.retrieval.search import Best, exact_search
from prolip.retrieval.thumbnails import read_thumbnails
from prolip.retrieval.vectors import ArrayColumn, Vectors

if TYPE_CHECKING:
    from prolip.model import Model


class Index:
    """Gaussians of a collection with their ids; see `open`, `build` and `from_gaussians`."""

    def __init__(
        self,
        vectors: Vectors,
        items: Items,
        directory: Path | None = None,
        manifest: Manifest | None = None,
        description: Description | None = None,
    ):
        self.items, self.manifest, self.description = items, manifest, description
        self._vectors, self._directory = vectors, directory
        self._loaded: Any = None

    @classmethod
    def open(cls, directory: str | Path) -> "Index":
        """The index of an embedded collection.

        Raises:
          DataError: there is none, a file is missing or cut short, or the collection was embedded
            again since.
        """
        directory = Path(directory)
        description = index_files.read_description(directory)
        folder = directory / index_files.FOLDER / description.folder
        shape = (description.count, description.dim)
        columns = index_files.open_columns(folder, *shape, description.width)
        manifest = embeddings.read_manifest(directory)
        return cls(*columns, directory, manifest, description)

    @classmethod
    def build(
        cls,
        directory: str | Path,
        *,
        width: Width | None = None,
        hnsw: Hnsw | None = None,
        progress: Callable[[int], None] = lambda rows: None,
    ) -> "Index":
        """Indexes an embedded collection; an index that is there stays until the new one is whole.

        Args:
          directory: of `prolip embed`.
          width: "float16" halves the files, and changes the order of near items: `description`
            says of how many lists. By default the width of the collection.
          hnsw: also builds a graph for approximate search with FAISS, and measures its recall.
          progress: called with numbers of rows that are done.

        Raises:
          DataError: the collection is unfinished or damaged, or FAISS is asked for but not there.
        """
        directory = Path(directory)
        if hnsw is not None:
            graphs.import_faiss()  # Before the work, not after it.
        manifest = embeddings.read_manifest(directory)
        width = width or manifest.width
        with index_files.new_folder(directory) as folder:
            index_files.write_columns(directory, manifest, folder, width, progress)
            vectors, _ = index_files.open_columns(folder, manifest.count, manifest.dim, width)
            rounding = measure(folder, vectors, known=manifest.width == "float32")
            graph = None
            if hnsw is not None:
                built = graphs.build(vectors, hnsw, folder)
                recall, queries = graphs.recall_of_graph(built, vectors, hnsw)
                options, points = dataclasses.asdict(hnsw), len(built.points)
                graph = Approximate(**options, recall=recall, queries=queries, points=points)
            index_files.publish(directory, manifest, folder, width, graph, rounding)
        return cls.open(directory)

    @classmethod
    def from_gaussians(
        cls,
        gaussian: Gaussian,
        ids: Sequence[str],
        *,
        uris: Sequence[str | None] | None = None,
        texts: Sequence[str | None] | None = None,
    ) -> "Index":
        """An index in memory, of embeddings [N, D] with means of unit length.

        Raises:
          DataError: lengths that differ, or an embedding that is not finite or not normalised.
        """
        mean, log_var = (np.asarray(x, np.float32) for x in gaussian)
        for name, values in (("ids", ids), ("uris", uris), ("texts", texts)):
            if values is not None and len(values) != len(mean):
                raise DataError(f"{len(mean)} embeddings but {len(values)} {name}")
        uncertainty = np.exp(log_var).sum(-1)
        points = bool(np.isneginf(log_var).all())
        index_files.check_gaussians(mean, None if points else log_var, uncertainty, ids)
        columns = (ArrayColumn(mean), ArrayColumn(uncertainty))
        return cls(Vectors(*columns), Items.of(ids, uris, texts))

    def __len__(self) -> int:
        return self._vectors.count

    @property
    def dim(self) -> int:
        """Length of a mean."""
        return self._vectors.dim

    def search(
        self,
        queries: Queries,
        k: int = 10,
        *,
        by: By = "csd",
        max_query_uncertainty: float = float("inf"),
        max_item_uncertainty: float = float("inf"),
        filter: Filter | None = None,
        approximate: bool = False,
        model: "Model | None" = None,
        block_rows: int | None = None,
    ) -> list[Answer]:
        """The best items of each query.

        Args:
          queries: a `Gaussian` [Q, D]; or, with `model`, a text or an image, or a list of one of
            the two. Strings are texts, path objects are image files.
          k: hits of a query. Ties are broken by the lower row.
          by: "csd" ranks by mean product minus half the item's uncertainty, the order of the
            sampled distance; "mean" by the mean product alone.
          max_query_uncertainty: a query above it is not searched; its answer says `abstained`.
          max_item_uncertainty: items above it are left out.
          filter: what items to choose from: a boolean mask over the rows, ids, "column=pattern"
            with a column of id, uri and text and * and ? in the pattern, or a test of an `Item`.
          approximate: ask the graph, which has to be built for this ranking.
          model: that embeds texts or images; it has to be the one of the collection.
          block_rows: rows read at a time; memory and speed depend on it, no result does.

        Returns:
          One answer for each query, in order.

        Raises:
          DataError: another model, another dimension, an option out of range, or a ranking that
            the collection or its graph does not allow; the sentence says what would.
        """
        if k < 1:
            raise DataError(f"k must be at least 1, got {k}")
        if np.isnan([max_query_uncertainty, max_item_uncertainty]).any():
            raise DataError("a largest uncertainty must be a number, got nan")
        if by not in typing.get_args(By):
            why = f". {NO_INCLUSION}" if str(by) == "inclusion" else ""
            raise DataError(f"{by!r} is not one of {', '.join(typing.get_args(By))}{why}")
        if approximate:
            self._check_graph(by)
        gaussian = as_gaussian(queries, self.dim, model, self.manifest)
        own = np.exp(gaussian.log_var.astype(np.float64)).sum(-1)
        searched = np.flatnonzero(own <= max_query_uncertainty)
        asked = Gaussian(*(x[searched] for x in gaussian))
        keep = None if filter is None else self.items.mask(filter)
        exact = functools.partial(
            exact_search,
            self._vectors,
            k=k,
            by=by,
            keep=keep,
            max_uncertainty=max_item_uncertainty,
            block_rows=block_rows,
        )
        looked_at_all = np.ones(len(searched), bool)
        if approximate and len(self) and len(searched):
            best, looked_at_all = self._approximate(asked, k, keep, max_item_uncertainty, exact)
        else:
            best = exact(asked)
        found = hits(self._vectors, self.items, asked, best)
        answers = [Answer(float(u), (), abstained=True) for u in own]
        for i, some, all_ in zip(searched, found, looked_at_all, strict=True):
            answers[i] = Answer(float(own[i]), some, exact=bool(all_))
        return answers

    def recall(self, queries: Queries, k: int = 10, model: "Model | None" = None) -> float:
        """Mean share of the exact answers that the graph finds for these queries.

        `build` measures it for queries near items; captions that search images are farther away.

        Raises:
          DataError: there is no graph, or as in `search`.
        """
        options, graph = self._graph()
        asked = as_gaussian(queries, self.dim, model, self.manifest)
        found = graphs.approximate_search(
            graph, self._vectors, asked, k, options.by, options.ef_search
        )
        return graphs.recall(found, exact_search(self._vectors, asked, k, options.by))

    def thumbnails(self, rows: Sequence[int]) -> list[bytes | None]:
        """JPEG bytes of the items in these rows; None where the collection has none.

        Raises:
          DataError: a part of the collection is missing or damaged.
        """
        if self.manifest is None or self._directory is None:
            return [None] * len(rows)
        return read_thumbnails(self._directory, self.manifest, rows)

    def check(self) -> None:
        """Reads all files and compares their hashes; `open` only compares sizes.

        Raises:
          DataError: one is damaged.
        """
        if self._directory is not None and self.description is not None:
            index_files.check_hashes(self._directory, self.description)

    def _check_graph(self, by: By) -> None:
        options, _ = self._graph()
        if options.by != by:
            raise DataError(
                f"the graph was built for {options.by!r} and can't rank by {by!r}: search "
                f"exactly, or index again with `--approximate hnsw --by {by}`"
            )

    def _graph(self) -> tuple[Approximate, Any]:
        """The graph and how it was built; read when it is first asked."""
        options = self.description.approximate if self.description else None
        if options is None or self.description is None or self._directory is None:
            raise DataError(
                "there is no graph for approximate search: index with `--approximate hnsw`"
            )
        if self._loaded is None:
            folder = self._directory / index_files.FOLDER / self.description.folder
            self._loaded = graphs.load(folder)
        return options, self._loaded

    def _approximate(
        self,
        queries: Gaussian,
        k: int,
        keep: np.ndarray | None,
        max_uncertainty: float,
        exact: Callable[[Gaussian], Best],
    ) -> tuple[Best, np.ndarray]:
        """Best rows, and boolean [queries]: was it an exact search after all?"""
        options, graph = self._graph()
        if max_uncertainty < np.inf:
            own = np.empty(len(self), np.float32)
            self._vectors.uncertainty.read(0, own)
            keep = (own <= np.float64(max_uncertainty)) & (True if keep is None else keep)
        passing = len(self) if keep is None else int(keep.sum())
        if passing < graphs.LEAST_SHARE * len(self):
            return exact(queries), np.ones(len(queries.mean), bool)
        best = graphs.approximate_search(
            graph, self._vectors, queries, k, options.by, options.ef_search, keep
        )
        short = (best.row >= 0).sum(1) < min(k, passing)
        if short.any():
            best.row[short], best.score[short] = exact(Gaussian(*(x[short] for x in queries)))
        return best, short
