"""Plausible-match R-Precision: what has nearly the same object classes counts as a match.

Source: PCME (arXiv 2101.05068), naver-ai/pcme `evaluate_pmrp_coco.py`: two images match plausibly
if their sets of object classes differ in at most zeta classes; a caption has the classes of its
image. R-Precision, mean over queries and over zeta of 0, 1 and 2. Images without an object are left
out, as queries and from the gallery, with their captions. People see a match in about six of ten of
these (arXiv 2204.03359), so it says less than ECCV Caption.
"""

import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from prolip.data.records import DataError
from prolip.evals.context import take
from prolip.evals.csd import Terms, terms
from prolip.evals.given import Embeddings, as_gaussian

ZETAS = (0, 1, 2)
INSTANCES = "instances_val2014.json"


def pmrp(
    images: Embeddings,
    texts: Embeddings,
    image_of_text: Any,
    classes: np.ndarray,
    *,
    zetas: Sequence[int] = ZETAS,
    block: int = 64,
) -> dict[str, float]:
    """Plausible-match R-Precision both ways, by CSD and by means alone.

    Rankings are full: the largest R is thousands. Ties are broken by the lower index.

    Args:
      images: N Gaussians, or points [N, dim].
      texts: M Gaussians, or points.
      image_of_text: Int[M], row of each text's image.
      classes: Bool[N, classes], which objects an image has; `object_classes` reads COCO's.
      zetas: how many classes may differ.
      block: queries ranked at a time.

    Returns:
      `pmrp/<way>`, `pmrp/<way>/mean` by means alone (`image_to_text`, `text_to_image`),
      `pmrp/num_images` that were counted, `pmrp/num_without_objects` that were left out.

    Raises:
      ValueError: shapes that don't fit, no image with an object, or a NaN.
    """
    images, texts = as_gaussian(images, "image"), as_gaussian(texts, "text")
    own, table = np.asarray(image_of_text, np.int64), np.asarray(classes, bool)
    if table.shape[:1] != images.mean.shape[:1] or own.shape != texts.mean.shape[:1]:
        raise ValueError(
            f"{len(images.mean)} images and {len(texts.mean)} texts, but classes of {len(table)} "
            f"and images of {len(own)} texts"
        )
    counted = np.flatnonzero(table.any(1))
    if not len(counted):
        raise ValueError("no image has an object: plausible matches are not defined")
    captions = np.flatnonzero(np.isin(own, counted))
    codes = table[counted]
    of_caption = codes[np.searchsorted(counted, own[captions])]
    sides = {"image": (take(images, counted), codes), "text": (take(texts, captions), of_caption)}
    result: dict[str, float] = {}
    for way in ("image_to_text", "text_to_image"):
        (queries, asked), (gallery, given) = (sides[name] for name in way.split("_to_"))
        for variant, mean_only in (("", False), ("/mean", True)):
            scored = terms(queries, gallery, mean_only)
            values = _precisions(scored, asked, given, tuple(zetas), block)
            result[f"pmrp/{way}{variant}"] = float(values.mean())
    result["pmrp/num_images"] = float(len(counted))
    result["pmrp/num_without_objects"] = float(len(table) - len(counted))
    return result


def object_classes(path: str | Path, image_ids: Any) -> np.ndarray:
    """Bool[images, classes] from COCO's `instances_val2014.json`, in the order of `image_ids`.

    Raises:
      DataError: the file can't be read.
    """
    try:
        rows = json.loads(Path(path).read_text())["annotations"]
        pairs = np.array([(int(r["image_id"]), int(r["category_id"])) for r in rows], np.int64)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} does not have COCO's instances ({error!r})") from error
    pairs = pairs.reshape(-1, 2)
    number = {image: row for row, image in enumerate(np.asarray(image_ids).tolist())}
    table = np.zeros((len(number), 1 + pairs[:, 1].max(initial=0)), bool)
    for image, category in pairs.tolist():
        if image in number:
            table[number[image], category] = True
    return table


def _precisions(
    scored: Terms,
    asked: np.ndarray,
    given: np.ndarray,
    zetas: tuple[int, ...],
    block: int,
) -> np.ndarray:
    """Float[zetas, queries]: R-Precision."""
    mean, half = jnp.asarray(scored.gallery, jnp.float32), jnp.asarray(scored.half, jnp.float32)
    codes, sizes = jnp.asarray(given, jnp.float32), jnp.asarray(given.sum(1), jnp.float32)
    query, code = scored.queries.astype(np.float32), asked.astype(np.float32)
    parts = []
    for start in range(0, len(query), block):
        some = slice(start, start + block)
        filled = [_filled(array[some], block) for array in (query, code)]
        part = np.asarray(_precision(*filled, mean, half, codes, sizes, zetas=zetas))
        parts.append(part[:, : len(query[some])])
    return np.concatenate(parts, axis=1)


@functools.partial(jax.jit, static_argnames="zetas")
def _precision(query, code, mean, half, codes, sizes, *, zetas):
    highest = jax.lax.Precision.HIGHEST
    scores = jnp.matmul(query, mean.T, precision=highest) - half[None, :]
    order = jnp.argsort(-scores, axis=1, stable=True)
    common = jnp.matmul(code, codes.T, precision=highest)
    differ = code.sum(1)[:, None] + sizes[None, :] - 2 * common
    ranked = jnp.take_along_axis(differ, order, axis=1)
    place = jnp.arange(ranked.shape[1])[None, :]

    def one(zeta: int):
        match = ranked <= zeta
        count = match.sum(1)
        return (match & (place < count[:, None])).sum(1) / jnp.maximum(count, 1)

    return jnp.stack([one(zeta) for zeta in zetas])


def _filled(rows: np.ndarray, count: int) -> np.ndarray:
    return np.concatenate([rows, np.zeros((count - len(rows), *rows.shape[1:]), rows.dtype)])
