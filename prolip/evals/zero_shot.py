"""Zero-shot classification: each class is the Gaussian of its prompts."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from prolip.config import SlotsConfig
from prolip.evals.context import (
    ONE_SLOT,
    Context,
    EvalResult,
    finite,
    host_gaussian,
    take,
    variance_trace,
)
from prolip.evals.correlation import uncertainty_bins
from prolip.evals.csd import check_numbers, is_unit, squared_length
from prolip.evals.labelled import labelled_images
from prolip.evals.metrics import blocks, class_mean, top_k
from prolip.gaussian import Gaussian
from prolip.slot_similarity import set_similarity

LOGIT_SCALE = 100.0  # The released code's, whatever the model learned; ranks don't depend on it.


def class_embeddings(
    prompts: Gaussian, num_classes: int, slots: SlotsConfig = ONE_SLOT
) -> Gaussian:
    """One Gaussian a class from its prompts.

    The mean is that of the prompts' unit means, made unit again; the variance is the mean of the
    prompts' variances. Source: naver-ai/prolip `src/prolip_train/zero_shot_classifier.py`.

    Args:
      prompts: [num_classes * prompts, dim], all prompts of a class in a row.
      num_classes: how many classes there are.
      slots: of a model whose embeddings are sets; slots of the same number belong together.
    """
    dim = np.shape(prompts.mean)[-1]
    mean = np.asarray(prompts.mean, np.float64).reshape(num_classes, -1, dim)
    mean = (mean / np.linalg.norm(mean, axis=-1, keepdims=True)).mean(1)
    each = mean.reshape(num_classes, slots.count, -1)
    each = each / np.linalg.norm(each, axis=-1, keepdims=True) / slots.count**0.5
    mean = each.reshape(num_classes, dim)
    variance = np.exp(np.asarray(prompts.log_var, np.float64)).reshape(num_classes, -1, dim)
    with np.errstate(divide="ignore"):  # Zero variance stays zero: a log of minus infinity.
        log_var = np.log(variance.mean(1))
    return host_gaussian(mean.astype(np.float32), log_var.astype(np.float32))


def class_logits(
    images: Gaussian,
    classes: Gaussian,
    *,
    mean_only: bool = False,
    scale: float = LOGIT_SCALE,
    slots: SlotsConfig = ONE_SLOT,
) -> np.ndarray:
    """Logits [images, classes] = scale * (mean product - half the class's trace).

    The published formula, which orders classes as the CSD does where their means are unit, as
    `class_embeddings` makes them. For sets, their similarity replaces the product.
    """
    if slots.count > 1:
        product = np.asarray(set_similarity(images, classes, slots), np.float64)
    else:
        product = np.asarray(images.mean, np.float64) @ np.asarray(classes.mean, np.float64).T
    half_trace = 0.0 if mean_only else variance_trace(classes) / 2
    return (scale * (product - half_trace)).astype(np.float32)


def zero_shot(
    images: Gaussian,
    classes: Gaussian,
    labels: np.ndarray,
    bins: int = 10,
    block: int = 1024,
    slots: SlotsConfig = ONE_SLOT,
) -> dict[str, float]:
    """Accuracies of one classification task; logits are made a block of images at a time.

    Args:
      images: N Gaussians.
      classes: C Gaussians, one a class.
      labels: Int[images], the class of each image.
      bins: bins of equal size by the image's uncertainty.
      block: images whose logits are in memory at a time.
      slots: of a model whose embeddings are sets.

    Returns:
      `top1`, `top5` (with more than five classes), `class_top1` (mean over classes), by the
      uncertainty-aware logits, and under `mean/` by the mean-only ones; `bins_pearson_top1` and
      `bins_spearman_top1` (of accuracy with the number of the uncertainty bin); `num_classes`;
      `majority`, the largest class's share, which always answering that class would get.

    Raises:
      ValueError: an embedding is not a number, or a label is not a class.
    """
    labels = np.asarray(labels)
    count = len(classes.mean)
    if (bad := (labels < 0) | (labels >= count)).any():
        image = int(np.argmax(bad))
        raise ValueError(f"image {image} has label {labels[image]}, but there are {count} classes")
    uncertainty = variance_trace(images)
    result = {"num_classes": float(count), "num_images": float(len(labels))}
    result["majority"] = float(np.bincount(labels).max() / len(labels))
    for variant, mean_only in (("", False), ("mean/", True)):
        best = best_classes(images, classes, 5, mean_only=mean_only, block=block, slots=slots)
        hits = best == labels[:, None]
        correct = hits[:, 0]
        result[f"{variant}top1"] = float(correct.mean())
        result[f"{variant}class_top1"] = class_mean(correct, labels)
        if count > 5:
            result[f"{variant}top5"] = float(hits.any(1).mean())
        if len(labels) >= bins and np.ptp(uncertainty) > 0:
            bin_of = uncertainty_bins(correct, uncertainty, bins)
            result[f"{variant}bins_pearson_top1"] = bin_of.pearson
            result[f"{variant}bins_spearman_top1"] = bin_of.spearman
    return result


def best_classes(
    images: Gaussian,
    classes: Gaussian,
    count: int = 1,
    *,
    mean_only: bool = False,
    block: int = 1024,
    slots: SlotsConfig = ONE_SLOT,
) -> np.ndarray:
    """Int[images, at most count]: classes by CSD, the best first, ties by the number.

    That is the order of `class_logits` where the classes' means are unit.

    Raises:
      ValueError: an embedding is not a number; its row is named.
    """
    check_numbers(np.isfinite(np.asarray(images.mean)).all(-1), "image")
    trace = variance_trace(classes)
    check_numbers(np.isfinite(np.asarray(classes.mean)).all(-1) & np.isfinite(trace), "class")
    lengths = np.zeros(1, np.float32)
    if slots.count == 1 and not is_unit(classes.mean):
        lengths = (LOGIT_SCALE * (squared_length(classes.mean) - 1) / 2).astype(np.float32)
    best = []
    for rows in blocks(len(images.mean), block):
        some = host_gaussian(images.mean[rows], images.log_var[rows])
        logits = class_logits(some, classes, mean_only=mean_only, slots=slots)
        best.append(top_k(logits - lengths, count))
    return np.concatenate(best)


def prompts_of(names: Sequence[str], templates: Sequence[str]) -> list[str]:
    """All templates filled with the first name, then with the second, and so on."""
    return [template.replace("{}", name) for name in names for template in templates]


def evaluate(context: Context) -> EvalResult:
    """Metrics under `zero_shot/<label feature>/`, one task for each label feature."""
    metrics: dict[str, float] = {}
    arrays: dict[str, np.ndarray] = {}
    notes: dict[str, Any] = {}
    for feature in context.config.label_features:
        labelled, names, labels = labelled_images(context, feature)
        if not len(labelled):
            continue
        prompts = context.encode_text(prompts_of(names.tolist(), context.config.templates))
        slots = context.slots
        classes = class_embeddings(prompts, len(names), slots)
        images = take(context.images, labelled)
        values = zero_shot(
            images, classes, labels, context.config.bins, context.config.block, slots
        )
        metrics |= {f"zero_shot/{feature}/{name}": value for name, value in values.items()}
        predicted = best_classes(images, classes, block=context.config.block, slots=slots)[:, 0]
        arrays |= {
            f"{feature}_image": labelled,
            f"{feature}_label": labels,
            f"{feature}_predicted": predicted,
            f"{feature}_class_uncertainty": variance_trace(classes),
        }
        notes[feature] = {"classes": names.tolist(), "templates": [*context.config.templates]}
    return EvalResult(finite(metrics), arrays, notes)
