"""From the embeddings of a set to its numbers: classification, retrieval, or a hierarchy."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from prolip.config import ConfigError, EvalConfig, SlotsConfig
from prolip.evals.benchmarks import annotations, coco, hierarcaps
from prolip.evals.context import ONE_SLOT, EvalResult, finite, joined, variance_trace
from prolip.evals.metrics import KS, blocks
from prolip.evals.multi_label import LEFT_OUT, RIGHT, average_precisions, right_answers
from prolip.evals.prompt_choice import choices
from prolip.evals.retrieval import chances, retrieval
from prolip.evals.sets.listing import Captions
from prolip.evals.sets.opened import Opened
from prolip.evals.zero_shot import (
    best_classes,
    class_embeddings,
    class_logits,
    prompts_of,
    zero_shot,
)
from prolip.gaussian import Gaussian

EncodeText = Callable[[Sequence[str]], Gaussian]  # Cleans as the model's tokenizer does.
WAYS = ("image_to_text", "text_to_image")


def measure(
    opened: Opened,
    images: Gaussian,
    encode_text: EncodeText,
    config: EvalConfig,
    slots: SlotsConfig = ONE_SLOT,
) -> EvalResult:
    """Numbers of a set under `sets/<name>/`, and what was measured beside them.

    Args:
      opened: the set.
      images: its images, float32 [images, dim].
      encode_text: gives float32 [texts, dim]; the templates filled with names go in as they are,
        so that the final text is cleaned, not its parts.
      config: sizes of blocks and number of bins.
      slots: of a model whose embeddings are sets.

    Raises:
      ConfigError: a hierarchy, and a model with sets.
    """
    captions = opened.listing.captions
    if captions is None:
        result = _classified(opened, images, encode_text, config, slots)
    elif captions.levels:
        if slots.count > 1:
            raise ConfigError(
                f"{opened.name} is measured on the way from one point to another, and this model "
                "has sets of them; leave it out"
            )
        result = _hierarchy(images, encode_text, captions)
    else:
        result = _retrieved(opened, images, encode_text, config, captions, slots)
    metrics = {f"sets/{opened.name}/{name}": value for name, value in result.metrics.items()}
    return EvalResult(finite(metrics), result.arrays, result.notes | {"about": opened.about})


def classes_of(
    names: Sequence[str],
    templates: Sequence[str],
    encode_text: EncodeText,
    block: int,
    slots: SlotsConfig = ONE_SLOT,
) -> Gaussian:
    """The Gaussian of each class, [names, dim]; at most about `block` prompts are in memory."""
    parts = []
    for rows in blocks(len(names), max(1, block // len(templates))):
        prompts = encode_text(prompts_of(names[rows], templates))
        parts.append(class_embeddings(prompts, len(names[rows]), slots))
    return joined(parts)


def _classified(
    opened: Opened,
    images: Gaussian,
    encode_text: EncodeText,
    config: EvalConfig,
    slots: SlotsConfig,
) -> EvalResult:
    listing = opened.listing
    assert opened.prompts is not None
    templates = opened.prompts.templates
    classes = classes_of(listing.names, templates, encode_text, config.block, slots)
    arrays = {
        "image_uncertainty": variance_trace(images).astype(np.float32),
        "class_uncertainty": variance_trace(classes).astype(np.float32),
    }
    notes = {"classes": list(listing.classes)}
    if not len(listing.labels):
        assert listing.valid is not None
        return EvalResult(_several(images, classes, listing.valid, slots), arrays, notes)
    values = zero_shot(images, classes, listing.labels, config.bins, config.block, slots)

    if opened.choose:
        if slots.count > 1 or not np.isfinite(np.asarray(classes.log_var)).all():
            raise ConfigError(f"{opened.name}: choose=bprw needs a model with variances")
        prompts = encode_text(prompts_of(listing.names, templates))
        count = len(listing.names)
        values |= choices(prompts, images, listing.labels, count, config.block)

    def answers(mean_only: bool) -> np.ndarray:
        how: dict[str, Any] = {"mean_only": mean_only, "block": config.block, "slots": slots}
        return best_classes(images, classes, **how)[:, 0].astype(np.int32)

    predicted = answers(mean_only=False)
    if listing.valid is not None:
        for variant, given in (("", predicted), ("mean/", answers(mean_only=True))):
            right = right_answers(given, listing.valid)
            values[f"real/{variant}top1"] = float(right.mean()) if len(right) else float("nan")
        values["real/num_images"] = float(len(right))
    arrays |= {"label": listing.labels, "predicted": predicted}
    return EvalResult(values, arrays, notes)


def _several(
    images: Gaussian, classes: Gaussian, valid: np.ndarray, slots: SlotsConfig
) -> dict[str, float]:
    """Mean average precision over classes, where an image shows several."""
    values = {"num_images": float(len(valid)), "num_classes": float(valid.shape[1])}
    judged, right = (valid != LEFT_OUT).sum(0), (valid == RIGHT).sum(0)
    share = (right / np.maximum(judged, 1))[right > 0]  # Of a random order, nearly.
    values["chance/map"] = float(share.mean()) if len(share) else float("nan")
    for variant, mean_only in (("", False), ("mean/", True)):
        scores = class_logits(images, classes, mean_only=mean_only, slots=slots)
        own = average_precisions(scores, valid)
        shown = own[~np.isnan(own)]
        values[f"{variant}map"] = float(shown.mean()) if len(shown) else float("nan")
    return values


def _retrieved(
    opened: Opened,
    images: Gaussian,
    encode_text: EncodeText,
    config: EvalConfig,
    captions: Captions,
    slots: SlotsConfig,
) -> EvalResult:
    texts = encode_text(captions.texts)
    own = captions.image_of_text[:, None]
    how: dict[str, Any] = {"block": config.block, "slots": slots}
    values = retrieval(images, texts, own, **how)
    for variant in ("", "mean/"):
        recalls = [values[f"{way}/{variant}recall@{k}"] for way in WAYS for k in KS]
        values[f"{variant}rsum"] = 100 * sum(recalls)
    values |= chances(list(own), len(images.mean))
    notes: dict[str, Any] = {}
    if opened.known.name == "coco" and not opened.partial:
        if annotations.location() is None:
            notes["without"] = f"COCO 1K, CxC, ECCV Caption: {annotations.INSTALL}"
        else:
            more = coco(images, texts, captions.image_ids, captions.ids, **how)
            values |= more
    return EvalResult(values, {}, notes)


def _hierarchy(images: Gaussian, encode_text: EncodeText, captions: Captions) -> EvalResult:
    texts, empty = encode_text(captions.texts), encode_text([""])
    rows = range(0, len(captions.texts), captions.levels)
    own = [captions.texts[row : row + captions.levels] for row in rows]
    values = hierarcaps(images, texts, np.asarray(empty.mean)[0], own)
    arrays = {"caption_uncertainty": variance_trace(texts).astype(np.float32)}
    return EvalResult(values, arrays)
