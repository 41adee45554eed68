"""COCO 5K and 1K, CxC and ECCV Caption, of embeddings or of rankings.

The numbers are those of the `eccv-caption` package: R@K of COCO's 5,000 images and 25,000 captions,
its mean over five folds of 1,000 images, R@K by the matches of CxC, and R@1, R-Precision and mAP@R
by those of ECCV Caption. In a fold, queries and gallery are those of the fold.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from prolip.config import SlotsConfig
from prolip.evals.benchmarks import annotations as files
from prolip.evals.benchmarks.annotations import NUM_FOLDS, Annotations, Matches
from prolip.evals.benchmarks.given_rankings import GivenRankings
from prolip.evals.benchmarks.rows import Rows
from prolip.evals.context import ONE_SLOT, take
from prolip.evals.given import Embeddings, as_gaussian, both_rankings
from prolip.evals.metrics import KS, from_rankings, summary
from prolip.evals.ranking import ranked_blocks
from prolip.gaussian import Gaussian

WAYS = ("image_to_text", "text_to_image")


def coco(
    images: Embeddings,
    texts: Embeddings,
    image_ids: Any,
    caption_ids: Any,
    *,
    annotations: Annotations | str | Path | None = None,
    ks: Sequence[int] = KS,
    block: int = 1024,
    slots: SlotsConfig = ONE_SLOT,
) -> dict[str, float]:
    """COCO 5K and 1K, CxC and ECCV Caption from embeddings, by CSD and by means alone.

    Args:
      images: Gaussians, or points [N, dim], of at least COCO's 5,000 test images; others are left
        out.
      texts: of at least the 25,000 captions.
      image_ids: Int[N], COCO's ids of the images.
      caption_ids: Int[M], COCO's annotation ids of the captions.
      annotations: what `annotations.read` gives, or the folder that it reads; None takes the files
        of the installed `eccv-caption` package.
      ks: at which K recall is measured.
      block: queries scored at a time.
      slots: `model.config.slots` of a model whose embeddings are sets.

    Returns:
      `<benchmark>/<way>/<metric>` by CSD and `<benchmark>/<way>/mean/<metric>` by means alone.
      Benchmarks: `coco_5k`, `coco_1k`, `cxc`, `eccv`. Ways: `image_to_text`, `text_to_image`.
      Metrics: `recall@K`, `num_queries`; `median_rank` in COCO 5K; `r_precision`, `map_at_r` in
      ECCV Caption. And `<benchmark>/rsum` or `<benchmark>/mean/rsum`: the sum of recalls in %.

    Raises:
      DataError: no annotations.
      ValueError: an image or caption is missing or there twice, or an embedding is not a number.
    """
    truth = _read(annotations)
    sides = [
        _chosen(images, image_ids, truth.image_ids, "image"),
        _chosen(texts, caption_ids, truth.caption_ids, "caption"),
    ]
    result: dict[str, float] = {}
    for way, name in enumerate(WAYS):
        own, other = sides[way], sides[1 - way]
        gallery, asked = _gallery(truth, way), _asked(truth, way)
        whole = gallery.targets(truth.coco[way], asked)
        folds = [_Fold(*_fold_rows(members, way, whole)) for members in _folds(truth)]
        length = max(*ks, _most(truth.eccv[way]))
        for prefixes, mean_only in both_rankings(*sides).items():
            heads, best = _heads(own, other, whole, length, mean_only, block, slots)
            values = _of_heads(heads, best, truth, way, ks)
            each = []
            for fold in folds:
                some = take(own, fold.queries), take(other, fold.gallery)
                head, _ = _heads(*some, fold.positives, max(ks), mean_only, block, slots)
                rows = from_rankings(head, fold.positives, ks, complete=True)
                each.append(summary(rows, len(fold.queries), ks))
            for prefix in prefixes:
                result |= _named(values | _mean_of_folds(each), name, prefix)
    return result | _rsums(result, "") | _rsums(result, "mean/")


def coco_rankings(
    image_to_text: Any,
    text_to_image: Any,
    image_ids: Any,
    caption_ids: Any,
    *,
    annotations: Annotations | str | Path | None = None,
    ks: Sequence[int] = KS,
) -> dict[str, float]:
    """The same from rankings, by whatever they were made.

    Args:
      image_to_text: Int[5000, length], for each image ids of captions from the best on. Full
        rankings give everything; 48 are enough for all but the 1K folds, in which each query needs
        as many of its own fold as the largest K. What lies beyond is not read.
      text_to_image: Int[25000, length], for each caption ids of images.
      image_ids: Int[5000], of the rows of `image_to_text`.
      caption_ids: Int[25000], of the rows of `text_to_image`.
      annotations: as in `coco`.
      ks: as in `coco`.

    Returns:
      As `coco`, without `mean/`. `coco_1k` is left out where a ranking is too short for it.

    Raises:
      DataError: no annotations.
      ValueError: a query is missing or there twice; a ranking is too short, or has an item twice
        or one that is not among the 5,000 and 25,000.
    """
    truth = _read(annotations)
    given = ((image_to_text, image_ids, "image"), (text_to_image, caption_ids, "caption"))
    members = list(_folds(truth))
    result: dict[str, float] = {}
    for way, (rankings, ids, kind) in enumerate(given):
        rankings = np.asarray(rankings)
        if rankings.ndim != 2 or rankings.dtype.kind not in "iu":
            raise ValueError(f"{WAYS[way]} rankings must be integers [{kind}s, length]")
        if len(rankings) != len(ids):
            raise ValueError(f"{WAYS[way]}: {len(rankings)} rankings but {len(ids)} {kind} ids")
        gallery, asked = _gallery(truth, way), _asked(truth, way)
        rows = Rows(ids, kind)[asked]
        length = max(*ks, _most(truth.eccv[way]))
        if rankings.shape[1] < length:
            raise ValueError(
                f"{WAYS[way]} rankings of {rankings.shape[1]} are too short: {length} are needed"
            )
        own_fold, fold = np.empty(len(rows), np.int8), np.empty(len(gallery), np.int8)
        for number, both in enumerate(members):
            own_fold[both[way]], fold[both[1 - way]] = number, number
        read = GivenRankings(rankings, rows, gallery, own_fold, fold)
        heads, folded = read.heads(length, max(ks))
        values = _of_heads(heads, None, truth, way, ks)
        if folded is not None:
            whole = gallery.targets(truth.coco[way], asked)
            each = [
                summary(
                    from_rankings(folded[b[way]], [whole[i] for i in b[way]], ks, complete=True),
                    len(b[way]),
                    ks,
                )
                for b in members
            ]
            values |= _mean_of_folds(each)
        result |= _named(values, WAYS[way], "")
    return result | _rsums(result, "")


def _heads(
    queries: Gaussian,
    gallery: Gaussian,
    positives: list[np.ndarray],
    length: int,
    mean_only: bool,
    block: int,
    slots: SlotsConfig,
) -> tuple[np.ndarray, np.ndarray]:
    """Int[queries, length] best targets, and Int[queries] rank of the best positive."""
    parts = ranked_blocks(
        queries,
        gallery,
        positives,
        at_least=length,
        mean_only=mean_only,
        block=block,
        slots=slots,
    )
    orders, best = zip(*((part.order, part.best_rank) for part in parts), strict=True)
    return np.concatenate([order[:, :length] for order in orders]), np.concatenate(best)


def _of_heads(
    heads: np.ndarray,
    best: np.ndarray | None,
    truth: Annotations,
    way: int,
    ks: Sequence[int],
) -> dict[str, float]:
    """Metrics of the benchmarks that rank the whole gallery, by the heads of its rankings."""
    values: dict[str, float] = {}
    gallery = _gallery(truth, way)
    row = {query: i for i, query in enumerate(_asked(truth, way).tolist())}
    for name, judgement in (("coco_5k", truth.coco), ("cxc", truth.cxc), ("eccv", truth.eccv)):
        asked = [query for query in judgement[way] if query in row]
        own = gallery.targets(judgement[way], asked)
        rows = from_rankings(heads[[row[query] for query in asked]], own, ks)
        if name == "coco_5k" and best is not None:
            rows = rows._replace(best_rank=best[[row[query] for query in asked]])
        numbers = summary(rows, len(asked), ks)
        if name == "coco_5k" and best is None:
            numbers.pop("median_rank", None)
        values |= {f"{name} {key}": value for key, value in numbers.items() if _kept(name, key)}
    return values


def _kept(benchmark: str, metric: str) -> bool:
    """Whether the metric belongs to the benchmark."""
    if metric.startswith("recall") or metric == "num_queries":
        return True
    if benchmark == "coco_5k":
        return metric == "median_rank"
    return benchmark == "eccv" and metric in ("r_precision", "map_at_r")


def _mean_of_folds(folds: Sequence[dict[str, float]]) -> dict[str, float]:
    recalls = [key for key in folds[0] if key.startswith("recall")]
    values = {f"coco_1k {key}": float(np.mean([f[key] for f in folds])) for key in recalls}
    return values | {"coco_1k num_queries": sum(f["num_queries"] for f in folds)}


def _named(values: dict[str, float], way: str, variant: str) -> dict[str, float]:
    result = {}
    for key, value in values.items():
        name, metric = key.split(" ")
        result[f"{name}/{way}/{variant}{metric}"] = value
    return result


def _rsums(result: dict[str, float], variant: str) -> dict[str, float]:
    sums: dict[str, float] = {}
    for name in ("coco_5k", "coco_1k", "cxc"):
        prefixes = tuple(f"{name}/{way}/{variant}recall@" for way in WAYS)
        recalls = [value for key, value in result.items() if key.startswith(prefixes)]
        if len({key.split("/")[1] for key in result if key.startswith(prefixes)}) == len(WAYS):
            sums[f"{name}/{variant}rsum"] = 100 * sum(recalls)
    return sums


def _folds(truth: Annotations) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows of images and of captions of each fold: 5,000 captions in a row, and their images."""
    images = Rows(truth.image_ids, "image")
    size = len(truth.caption_ids) // NUM_FOLDS
    for fold in range(NUM_FOLDS):
        captions = np.arange(fold * size, (fold + 1) * size)
        yield np.unique(images[truth.image_of_caption[captions]]), captions


class _Fold(NamedTuple):
    """A fifth of the images with their captions, one way."""

    queries: np.ndarray  # Int[queries], rows of all.
    gallery: np.ndarray  # Int[targets], rows of all.
    positives: list[np.ndarray]  # For each query indices into the fold's gallery.


def _fold_rows(
    members: tuple[np.ndarray, np.ndarray], way: int, whole: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    queries, gallery = members[way], members[1 - way]
    return queries, gallery, [np.searchsorted(gallery, whole[row]) for row in queries]


def _gallery(truth: Annotations, way: int) -> Rows:
    return Rows(truth.caption_ids, "caption") if way == 0 else Rows(truth.image_ids, "image")


def _asked(truth: Annotations, way: int) -> np.ndarray:
    return truth.image_ids if way == 0 else truth.caption_ids


def _most(truth: Matches) -> int:
    return max(len(targets) for targets in truth.values())


def _chosen(given: Embeddings, ids: Any, wanted: np.ndarray, kind: str) -> Gaussian:
    rows = Rows(ids, kind)
    count = len(given[0] if isinstance(given, tuple) else given)
    if len(rows) != count:
        raise ValueError(f"{count} {kind} embeddings but {len(rows)} {kind} ids")
    return take(as_gaussian(given, kind, rows.ids), rows[wanted])


def _read(annotations: Annotations | str | Path | None) -> Annotations:
    if isinstance(annotations, Annotations):
        return annotations
    return files.read(annotations)
