"""Weights of a configuration -> the total loss, its named terms, and what they are made of."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from prolip import sharding
from prolip.config import ObjectiveConfig, SlotsConfig
from prolip.gaussian import Gaussian
from prolip.losses.bottleneck import bottleneck
from prolip.losses.inclusion import inclusion
from prolip.losses.mismatch import measured
from prolip.losses.order import next_includer
from prolip.losses.pairwise import Logit, dense_targets, streamed_ppcl, streamed_siglip
from prolip.losses.pcme import pcme
from prolip.losses.pcmepp import streamed_pcmepp
from prolip.losses.positives import ColumnFacts, RowFacts, known_pairs, pair_facts
from prolip.losses.sets import sets_diversity, streamed_sets
from prolip.losses.shared_captions import shared_captions
from prolip.losses.soft_labels import soft_labels
from prolip.losses.softmax import streamed_clip
from prolip.losses.triplet import triplet
from prolip.slot_similarity import ONE_SLOT


class Embeddings(NamedTuple):
    """What the towers made of one global batch."""

    image: Gaussian  # [B, D]
    text: Gaussian  # [B, D]
    originals: tuple[Gaussian, Gaussian] | None  # Rows [B / mask_every] of image and text ...
    masked: tuple[Gaussian, Gaussian] | None  # ... and what their masked views gave.


def objective(
    config: ObjectiveConfig,
    embeddings: Embeddings,
    logit_scale: jax.Array,
    logit_bias: jax.Array,
    captions: jax.Array,
    caption: jax.Array,
    weight: jax.Array | None = None,
    key: jax.Array | None = None,
    slots: SlotsConfig = ONE_SLOT,
    image_id: jax.Array | None = None,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Total loss of the global batch and, without their weights, the terms that make it.

    Args:
      config: weights and forms; a term of weight zero is not computed.
      embeddings: of the global batch, laid out by row.
      logit_scale: the applied scale, not its log.
      logit_bias: scalar.
      captions: [B, M] ids of the captions known for each image.
      caption: [B] id of the caption drawn for each image.
      weight: [B] the part of each image that is its own, the rest being of the image B - 1 - i;
        None if no image is blended.
      key: of what is drawn in this step: samples of PCME.
      slots: of embeddings that are sets.
      image_id: [B, 2] equal where rows are of one image, whose captions are then those of all
        these rows; None if it is not known which are.

    Returns:
      The total, and metrics: `loss/<term>`, mean cosine of positive and of negative pairs, mean
      uncertainty of images and of texts.
    """
    image, text = embeddings.image, embeddings.text
    extended = config.positives == "extended"
    if image_id is not None and (extended or config.inclusion_text_text or config.measure_mismatch):
        captions = shared_captions(captions, caption, image_id)
    facts = pair_facts(captions, caption, extended=extended, weight=weight, image=image_id)
    logit = Logit(logit_scale, logit_bias)
    contrastive = _contrastive(config, image, text, logit, facts, key, slots)
    forms = config.form
    # Once per process of the ring that the published runs used.
    repeats = config.reference_world_size
    terms: dict[str, tuple[float, Callable[[], jax.Array]]] = {
        "bottleneck": (
            repeats * config.bottleneck,
            lambda: bottleneck(image, forms) + bottleneck(text, forms),
        ),
        "inclusion_image_text": (
            repeats * config.inclusion_image_text,
            lambda: _included(config, image, text),
        ),
        "inclusion_text_text": (
            config.inclusion_text_text,
            lambda: _in_general_text(config, text, known_pairs(captions, caption, image_id)),
        ),
        "sets_diversity": (
            config.sets_diversity,
            lambda: sets_diversity(image.mean, slots) + sets_diversity(text.mean, slots),
        ),
    }
    if embeddings.originals is not None and embeddings.masked is not None:
        for name, inner, outer in zip(
            ("inclusion_masked_image", "inclusion_masked_text"),
            embeddings.originals,
            embeddings.masked,
            strict=True,
        ):
            terms[name] = (
                repeats * config.inclusion_masked,
                functools.partial(_included, config, inner, outer),
            )
    values: dict[str, tuple[float, jax.Array]] = {}
    sums: dict[str, jax.Array] | None = None
    for name, pairs in contrastive.items():
        if factor := getattr(config, name):
            value, sums = pairs()
            values[name] = factor, value
    values |= {name: (factor, term()) for name, (factor, term) in terms.items() if factor}
    total = sum((weight * value for weight, value in values.values()), start=jnp.zeros(()))
    metrics = {f"loss/{name}": value for name, (_, value) in values.items()}
    if config.measure_mismatch:
        metrics |= measured(config, image, text, logit, captions, caption, weight, image_id)
    return total, metrics | _statistics(embeddings, sums)


def _contrastive(
    config: ObjectiveConfig,
    image: Gaussian,
    text: Gaussian,
    logit: Logit,
    facts: tuple[RowFacts, ColumnFacts],
    key: jax.Array | None,
    slots: SlotsConfig,
) -> dict[str, Callable[[], tuple[jax.Array, dict[str, jax.Array]]]]:
    """Terms that look at all pairs, by their key: what gives the value and sums over pairs."""
    labels = soft_labels(config)
    means = image.mean, text.mean

    def sampled() -> tuple[jax.Array, dict[str, jax.Array]]:
        if key is None:
            raise ValueError("objective.pcme draws samples: it needs a key")
        targets, sums = dense_targets(*means, *facts)
        return pcme(image, text, *logit, key, config.pcme_samples, targets, config.form), sums

    def triplets() -> tuple[jax.Array, dict[str, jax.Array]]:
        targets, sums = dense_targets(*means, *facts)
        return triplet(*means, config.triplet_margin, config.triplet_negatives, targets), sums

    return {
        "ppcl": lambda: streamed_ppcl(image, text, logit, *facts, labels),
        "siglip": lambda: streamed_siglip(*means, logit, *facts, labels),
        "clip": lambda: streamed_clip(*means, logit.scale, *facts, labels),
        "pcmepp": lambda: streamed_pcmepp(
            image, text, logit, *facts, config.pseudo_positives, config.label_smoothing
        ),
        "pcme": sampled,
        "triplet": triplets,
        "sets": lambda: streamed_sets(*means, slots, logit, *facts),
    }


def _included(
    config: ObjectiveConfig, inner: Gaussian, outer: Gaussian, rows: jax.Array | None = None
) -> jax.Array:
    return inclusion(inner, outer, config.inclusion_scale, config.inclusion_eps, config.form, rows)


def _in_general_text(config: ObjectiveConfig, text: Gaussian, known: jax.Array) -> jax.Array:
    above = next_includer(known)
    return _included(config, text, sharding.take_rows(text, above.row), above.exists)


def _statistics(embeddings: Embeddings, sums: dict[str, jax.Array] | None) -> dict[str, jax.Array]:
    image, text = jax.lax.stop_gradient((embeddings.image, embeddings.text))
    statistics = {
        "uncertainty/image": image.uncertainty.mean(),
        "uncertainty/text": text.uncertainty.mean(),
    }
    if sums is None:  # No term looks at all pairs.
        return statistics
    matches, product = sums["matches"], sums["product"]
    # The sum over all pairs is the product of the sums; not so where sets are compared.
    every = sums.get(
        "every", jnp.vdot(*(jnp.sum(g.mean, 0, dtype=jnp.float32) for g in (image, text)))
    )
    num = len(image.mean)
    # As a float: the square of 65,536 is no int32.
    others = jnp.maximum(float(num) ** 2 - matches, 1)
    if "clean" in sums:
        statistics["noisy_pairs/clean"] = sums["clean"]
    return statistics | {
        "similarity/positive": product / matches,
        "similarity/negative": (every - product) / others,
        "positives_per_image": matches / num,
    }
