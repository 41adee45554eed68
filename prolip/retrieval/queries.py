"""What is asked for → Gaussians, by no other model than the one that made the collection."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from PIL import Image

from prolip.data.records import DataError
from prolip.data.text import clean, is_blank
from prolip.gaussian import Gaussian
from prolip.retrieval.embeddings import Identity, Manifest

if TYPE_CHECKING:
    from prolip.model import Model

# Strings are texts; an image is a path object, a PIL image or a uint8 array [H, W, 3].
Query = str | Path | Image.Image | np.ndarray
Queries = Gaussian | Query | Sequence[Query]
SHOWN = 12  # Digits of a hash in a message.


def as_gaussian(
    queries: Queries, dim: int, model: "Model | None", manifest: Manifest | None
) -> Gaussian:
    """NumPy float32 [Q, dim].

    Args:
      queries: what is asked for.
      dim: of the collection.
      model: that embeds; None does for a Gaussian, whose model can't be checked.
      manifest: of the collection; None for one in memory, which knows no model.

    Raises:
      DataError: no model, another one than the collection's, an image that can't be read, another
        dimension, or numbers that are not finite.
    """
    if not isinstance(queries, Gaussian):
        queries = _embed(queries, model, manifest)
    mean: Any = np.asarray(queries.mean, np.float32)
    log_var: Any = np.asarray(queries.log_var, np.float32)
    if mean.ndim != 2 or mean.shape != log_var.shape:
        raise DataError(
            f"queries have a mean and a log_var [queries, {dim}]; "
            f"got {list(mean.shape)} and {list(log_var.shape)}"
        )
    if mean.shape[1] != dim:
        raise DataError(f"queries have dimension {mean.shape[1]}, the collection has {dim}")
    # A log-variance of minus infinity is zero variance, as a deterministic model gives it.
    if not (np.isfinite(mean).all() and (log_var < np.inf).all()):
        raise DataError("queries must be finite")
    return Gaussian(mean, log_var)


def check_model(model: "Model", manifest: Manifest, images: bool) -> None:
    """Refuses a model that did not make the collection.

    Args:
      model: that would embed the queries.
      manifest: of the collection.
      images: whether the queries are images; else they are texts.

    Raises:
      DataError: weights differ, or what the kind of query needs: tokenizer or preprocessing.
    """
    given, made = Identity(**model.identity), manifest.model
    sides = [("weights", given.weights[:SHOWN], made.weights[:SHOWN])]
    if images:
        sides.append(("preprocessing of images", given.preprocessing, made.preprocessing))
    else:
        sides.append(("tokenizer", given.tokenizer[:SHOWN], made.tokenizer[:SHOWN]))
    for what, here, there in sides:
        if here != there:
            raise DataError(
                f"this is not the model of the collection: its {what} {_is(what)} "
                f"{here or 'none'}, the collection was made with {there or 'none'} "
                f"(from {manifest.checkpoint}). Search with that one"
                f"{_form_hint(given, made)}, or embed and index again."
            )


def _form_hint(given: Identity, made: Identity) -> str:
    if given.image_form == made.image_form:
        return ""
    return f" (prolip.load(..., image_form={made.image_form!r}))"


def _is(what: str) -> str:
    return "are" if what == "weights" else "is"


def _embed(queries: Any, model: "Model | None", manifest: Manifest | None) -> Gaussian:
    one = isinstance(queries, str | Path | Image.Image) or (
        isinstance(queries, np.ndarray) and queries.ndim == 3
    )
    several: list[Any] = [queries] if one else list(queries)
    for query in several:
        if not isinstance(query, str | Path | Image.Image | np.ndarray | jax.Array):
            raise DataError(
                f"a query is a text, a path, a PIL image or an array, not {type(query).__name__} "
                f"({ascii(query)[:40]})"
            )
    texts = [isinstance(query, str) for query in several]
    if any(texts) and not all(texts):
        raise DataError("queries are texts or images, not both: strings are texts, paths images")
    if model is None:
        raise DataError("searching for texts or images needs the model: search(..., model=model)")
    if manifest is not None and several:
        check_model(model, manifest, images=not all(texts))
    if all(texts) and several:
        cleaning = model.tokenizer.cleaning
        for text in several:
            if is_blank(clean(text, cleaning)):
                shown = f"{ascii(text)[:40]} is empty after cleaning ({cleaning})"
                raise DataError(f"nothing to search for: {shown}")
    try:
        return model.encode_text(several) if all(texts) else model.encode_image(several)
    except ValueError as error:
        raise DataError(f"a query can't be embedded: {error}") from error
