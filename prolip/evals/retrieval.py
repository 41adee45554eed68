"""Retrieval between images and captions where both have many matches."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from prolip.evals.context import Context, EvalResult, finite, take, variance_trace
from prolip.evals.metrics import KS, QueryMetrics, blocked_retrieval, summary, top_k
from prolip.gaussian import Gaussian

EXAMPLES = 24  # Captions, and as many images, whose results a report can show.
SHOWN = 10  # Results of each.


def retrieval(
    images: Gaussian,
    texts: Gaussian,
    positives: Any,
    *,
    ks: Sequence[int] = KS,
    block: int = 1024,
) -> dict[str, float]:
    """Extended-positive retrieval both ways, by uncertainty-aware and by mean-only ranking.

    The uncertainty-aware ranking is by mean product minus half the retrieved item's trace, which
    orders the gallery as the sampled distance does. Source: naver-ai/prolip
    `src/prolip_train/zero_shot_unc.py`.

    Args:
      images: N Gaussians, of any model; zero variance (log_var of minus infinity) is allowed.
      texts: M Gaussians.
      positives: for each text the images that match it: M lists of indices, or a boolean [M, N].
      ks: at which K recall is measured.
      block: queries scored at a time; memory is block x gallery.

    Returns:
      `<task>/<metric>` by the uncertainty-aware ranking and `<task>/mean/<metric>` by means
      alone; the metrics are those of `retrieval_metrics`. Tasks: `text_to_image`,
      `image_to_text`, and both over the texts that have several matches:
      `text_to_image_multiple` (as queries), `image_to_text_multiple` (as gallery), if there are
      any.

    Raises:
      ValueError: shapes that don't fit, or embeddings that are NaN; names the query.
    """
    matches = match_lists(positives, len(images.mean), len(texts.mean))
    multiple = np.flatnonzero([len(row) > 1 for row in matches])
    some_texts = take(texts, multiple)
    own = transpose(matches, len(images.mean))
    own_multiple = transpose([matches[i] for i in multiple], len(images.mean))
    result: dict[str, float] = {}
    for variant, mean_only in (("", False), ("mean/", True)):

        def rows(queries: Gaussian, gallery: Gaussian, targets: Any, m: bool = mean_only) -> Any:
            return query_metrics(queries, gallery, targets, mean_only=m, ks=ks, block=block)

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
            named = summary(values, count, ks)
            result |= {f"{task}/{variant}{name}": value for name, value in named.items()}
    return result


def query_metrics(
    queries: Gaussian,
    gallery: Gaussian,
    positives: Sequence[np.ndarray],
    *,
    mean_only: bool = False,
    ks: Sequence[int] = KS,
    block: int = 1024,
) -> QueryMetrics:
    """Metrics of each query; `positives` are indices into the gallery."""
    score_block = scorer(queries, gallery, mean_only=mean_only)
    return blocked_retrieval(score_block, len(queries.mean), positives, ks, block)


def scorer(
    queries: Gaussian, gallery: Gaussian, *, mean_only: bool = False
) -> Callable[[Any], np.ndarray]:
    """Gives the scores [rows, gallery] of the queries that a slice or an index array selects.

    Products are summed in float64 and rounded to float32, so that equal items tie whatever the
    block size, and the rule for ties decides between them.
    """
    mean = np.asarray(gallery.mean, np.float64).T
    half_trace = 0.0 if mean_only else variance_trace(gallery) / 2
    query_mean = np.asarray(queries.mean)
    return lambda rows: (query_mean[rows].astype(np.float64) @ mean - half_trace).astype(np.float32)


def match_lists(positives: Any, num_images: int, num_texts: int) -> list[np.ndarray]:
    """Sorted image indices for each text, from lists or a boolean [texts, images].

    Raises:
      ValueError: a number of texts, or an image index, that doesn't fit.
    """
    if len(positives) != num_texts:
        raise ValueError(f"{num_texts} texts but positives of {len(positives)}")
    if isinstance(positives, np.ndarray) and positives.dtype == bool:
        if positives.shape != (num_texts, num_images):
            raise ValueError(
                f"boolean positives must be [texts, images] = {(num_texts, num_images)}, "
                f"got {positives.shape}"
            )
        return [np.flatnonzero(row) for row in positives]
    matches = [np.unique(np.asarray(row, np.int64)) for row in positives]
    for text, row in enumerate(matches):
        if len(row) and not 0 <= row[0] <= row[-1] < num_images:
            raise ValueError(f"text {text} matches image {row[-1]}, but there are {num_images}")
    return matches


def transpose(matches: Sequence[np.ndarray], num_images: int) -> list[np.ndarray]:
    """For each image the texts that match it."""
    images = np.concatenate([*matches, np.zeros(0, np.int64)])
    texts = np.repeat(np.arange(len(matches)), [len(row) for row in matches])
    order = np.argsort(images, kind="stable")
    ends = np.cumsum(np.bincount(images, minlength=num_images))
    return np.split(texts[order], ends[:-1])


def evaluate(context: Context) -> EvalResult:
    """Metrics under `retrieval/`, and results of some captions and images to look at."""
    block = context.config.block
    metrics = retrieval(context.images, context.texts, context.positives, block=block)
    named = {f"retrieval/{name}": value for name, value in metrics.items()}
    notes = {
        "captions": _caption_examples(context, _spread(context, EXAMPLES)),
        "images": _image_examples(context),
    }
    return EvalResult(finite(named), {}, notes)


def _caption_examples(context: Context, chosen: list[int]) -> list[dict[str, Any]]:
    order = top_k(scorer(context.texts, context.images)(chosen), SHOWN)
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
    order = top_k(scorer(context.images, context.texts)(chosen), SHOWN)
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
