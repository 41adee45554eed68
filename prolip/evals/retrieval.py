"""Retrieval between images and captions where both have many matches."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from prolip.config import SlotsConfig
from prolip.evals.chance import of_rankings
from prolip.evals.context import ONE_SLOT, Context, EvalResult, finite, take
from prolip.evals.csd import terms
from prolip.evals.given import Embeddings, as_gaussian, both_rankings, match_lists, transpose
from prolip.evals.metrics import KS, QueryMetrics, from_rankings, joined, summary, top_k
from prolip.evals.ranking import ranked_blocks
from prolip.gaussian import Gaussian
from prolip.slot_similarity import mean_set_similarity

EXAMPLES = 24  # Captions, and as many images, whose results a report can show.
SHOWN = 10  # Results of each.


def retrieval(
    images: Embeddings,
    texts: Embeddings,
    positives: Any,
    *,
    ks: Sequence[int] = KS,
    block: int = 1024,
    slots: SlotsConfig = ONE_SLOT,
) -> dict[str, float]:
    """Extended-positive retrieval both ways, by uncertainty-aware and by mean-only ranking.

    The uncertainty-aware ranking is by the sampled distance, CSD = |mean difference|^2 + both
    traces; that by means alone leaves out the traces. Where means are unit, this is the order of
    the mean product minus half the retrieved item's trace. Source: naver-ai/prolip
    `src/prolip_train/zero_shot_unc.py`.

    Scores are made a block of queries at a time, split over the local devices; no matrix of all
    pairs exists. Ties are broken by the lower index, and equal embeddings do tie. A query without
    positives is left out and counted.

    Args:
      images: N Gaussians of any model, float arrays [N, dim], means of any length; or an array
        [N, dim] of points, such as CLIP's, which are made unit and get zero variance: both rankings
        are then the cosine's.
      texts: M Gaussians, or an array [M, dim].
      positives: for each text the images that match it: M lists of indices, or a boolean [M, N].
      ks: at which K recall is measured, and nDCG at the largest.
      block: queries scored at a time; memory is block x gallery.
      slots: `model.config.slots` of a model whose embeddings are sets: they are ranked by
        `prolip.set_similarity`.

    Returns:
      `<task>/<metric>` by the uncertainty-aware ranking and `<task>/mean/<metric>` by means
      alone; the metrics are those of `retrieval_metrics`. Tasks: `text_to_image`,
      `image_to_text`, and both over the texts that have several matches:
      `text_to_image_multiple` (as queries), `image_to_text_multiple` (as gallery), if there are
      any.

    Raises:
      ValueError: shapes that don't fit, a match that doesn't exist, or an embedding that is NaN;
        names the item.
    """
    images, texts = as_gaussian(images, "image"), as_gaussian(texts, "text")
    if images.mean.shape[1] != texts.mean.shape[1]:
        raise ValueError(
            f"images have {images.mean.shape[1]} dimensions, but texts {texts.mean.shape[1]}"
        )
    matches = match_lists(positives, len(images.mean), len(texts.mean))
    multiple = np.flatnonzero([len(row) > 1 for row in matches])
    some_texts = take(texts, multiple)
    own = transpose(matches, len(images.mean))
    own_multiple = transpose([matches[i] for i in multiple], len(images.mean))
    how: dict[str, Any] = {"ks": ks, "block": block, "slots": slots}
    result: dict[str, float] = {}
    for prefixes, mean_only in both_rankings(images, texts).items():

        def rows(queries: Gaussian, gallery: Gaussian, targets: Any, m: bool = mean_only) -> Any:
            return query_metrics(queries, gallery, targets, mean_only=m, **how)

        to_image = rows(texts, images, matches)
        tasks = {
            "text_to_image": (to_image, len(matches)),
            "image_to_text": (rows(images, texts, own), len(own)),
        }
        if len(multiple):
            several = to_image.where(to_image.num_positives > 1)
            tasks["text_to_image_multiple"] = (several, len(multiple))
            tasks["image_to_text_multiple"] = (rows(images, some_texts, own_multiple), len(own))
        for task, (values, count) in tasks.items():
            for name, value in summary(values, count, ks).items():
                result |= {f"{task}/{prefix}{name}": value for prefix in prefixes}
    return result


def query_metrics(
    queries: Gaussian,
    gallery: Gaussian,
    positives: Sequence[np.ndarray],
    *,
    mean_only: bool = False,
    ks: Sequence[int] = KS,
    block: int = 1024,
    slots: SlotsConfig = ONE_SLOT,
) -> QueryMetrics:
    """Metrics of each query; `positives` are indices into the gallery."""
    parts = []
    ranked = ranked_blocks(
        queries, gallery, positives, at_least=max(ks), mean_only=mean_only, block=block, slots=slots
    )
    for part in ranked:
        targets = positives[part.rows]
        rows = from_rankings(part.order, targets, ks, part.rows.start, complete=True)
        best = part.best_rank[rows.query - part.rows.start]
        parts.append(rows._replace(best_rank=best))
    return joined(parts, ks)


def scorer(
    queries: Gaussian,
    gallery: Gaussian,
    *,
    mean_only: bool = False,
    slots: SlotsConfig = ONE_SLOT,
) -> Callable[[Any], np.ndarray]:
    """Gives the scores [rows, gallery] of the queries that a slice or an index array selects.

    Scores order the gallery as the CSD does. Products are summed in float64 and rounded to float32,
    so that equal items tie whatever the block size, and the rule for ties decides between them.
    """
    asked, items, half, _ = terms(queries, gallery, mean_only, slots)
    if slots.count > 1:
        return lambda rows: np.asarray(mean_set_similarity(asked[rows], items, slots))
    mean = np.asarray(items, np.float64).T
    return lambda rows: (asked[rows].astype(np.float64) @ mean - half).astype(np.float32)


def evaluate(context: Context) -> EvalResult:
    """Metrics under `retrieval/`, with those of random orders, and some results to look at."""
    block = context.config.block
    metrics = retrieval(
        context.images, context.texts, context.positives, block=block, slots=context.slots
    )
    metrics |= chances(context.positives, len(context.images.mean))
    named = {f"retrieval/{name}": value for name, value in metrics.items()}
    notes = {
        "captions": _caption_examples(context, _spread(context, EXAMPLES)),
        "images": _image_examples(context),
    }
    return EvalResult(finite(named), {}, notes)


def chances(positives: Sequence[np.ndarray], num_images: int) -> dict[str, float]:
    """`<task>/chance/<metric>`: what random orders get, for the tasks over all of both sides."""
    matches = np.array([len(row) for row in positives])
    own = np.array([len(row) for row in transpose(positives, num_images)])
    tasks = {
        "text_to_image": (matches, num_images),
        "text_to_image_multiple": (matches[matches > 1], num_images),
        "image_to_text": (own, len(matches)),
    }
    return {
        f"{task}/chance/{name}": value
        for task, (counts, gallery) in tasks.items()
        for name, value in of_rankings(counts, gallery).items()
    }


def _caption_examples(context: Context, chosen: list[int]) -> list[dict[str, Any]]:
    score = scorer(context.texts, context.images, slots=context.slots)
    order = top_k(score(chosen), SHOWN)
    return [
        {
            "index": text,
            "caption": context.captions[text],
            "level": context.levels[text],
            "matches": len(context.positives[text]),
            "images": images.tolist(),
            "hits": np.isin(images, context.positives[text]).tolist(),
        }
        for text, images in zip(chosen, order, strict=True)
    ]


def _image_examples(context: Context) -> list[dict[str, Any]]:
    count = len(context.images.mean)
    chosen = np.unique(np.linspace(0, count - 1, min(EXAMPLES, count)).astype(int))
    score = scorer(context.images, context.texts, slots=context.slots)
    order = top_k(score(chosen), SHOWN)
    return [
        {
            "index": int(image),
            "captions": [context.captions[t] for t in texts],
            "levels": [context.levels[t] for t in texts],
            "hits": [bool(np.isin(image, context.positives[t])) for t in texts],
        }
        for image, texts in zip(chosen, order, strict=True)
    ]


def _spread(context: Context, count: int) -> list[int]:
    """Up to `count` captions, as many of each level, with several matches if the level has such."""
    levels, several = np.asarray(context.levels), [len(row) > 1 for row in context.positives]
    names = np.unique(levels)
    chosen: list[int] = []
    for name in names:
        members = np.flatnonzero(levels == name)
        many = np.flatnonzero((levels == name) & several)
        members = many if len(many) else members
        each = min(len(members), -(-count // len(names)))
        picks = (np.arange(each) + 0.5) * len(members) / each
        chosen += members[picks.astype(int)].tolist()
    return chosen
