"""Zero-shot classification with prompts chosen by uncertainty or weighted by images (BPRW).

Beside the plain classes, in which all prompts count alike: the less uncertain half of each class's
prompts, and Bayesian prompt re-weighting with the images nearest to each class, in the settings of
ProLIP (arXiv 2410.18857, table 3). The images are those that are evaluated, without their labels:
re-weighting is transductive, and a result of it says so by its name.
"""

from collections.abc import Callable

import numpy as np

from prolip.evals.context import Context, EvalResult, finite, host_gaussian, take
from prolip.evals.labelled import labelled_images
from prolip.evals.prompts import filtered, keep_least_of_each, reweight_prompts
from prolip.evals.zero_shot import prompts_of, zero_shot
from prolip.gaussian import Gaussian

NEIGHBOURS = 10  # Images of each class, of the published settings.


def chosen_classes(
    prompts: Gaussian, images: Gaussian, num_classes: int
) -> dict[str, Callable[[], Gaussian]]:
    """Returns a function for each choice, by its name, that makes the classes.

    Args:
      prompts: [num_classes * templates, dim], all prompts of a class in a row.
      images: that are evaluated.
      num_classes: how many classes there are.

    Returns:
      `filtered`; and `bprw_transductive`, where the prompts have variances.
    """
    dim = np.shape(prompts.mean)[-1]
    mean, log_var = (np.reshape(x, (num_classes, -1, dim)) for x in prompts)
    each = host_gaussian(mean, log_var)
    trace = np.exp(np.asarray(log_var, np.float64)).sum(-1)
    if not np.isfinite(np.asarray(log_var)).all():
        return {}
    keep = keep_least_of_each(trace, -(-trace.shape[1] // 2))
    neighbours = min(NEIGHBOURS, len(images.mean))
    return {
        "filtered": lambda: filtered(each, keep),
        "bprw_transductive": lambda: reweight_prompts(each, images, neighbours=neighbours)[0],
    }


def choices(
    prompts: Gaussian, images: Gaussian, labels: np.ndarray, num_classes: int, block: int
) -> dict[str, float]:
    """`<choice>/top1` and `<choice>/class_top1` of each choice, see `chosen_classes`."""
    values: dict[str, float] = {}
    for name, classes in chosen_classes(prompts, images, num_classes).items():
        found = zero_shot(images, classes(), labels, block=block)
        values |= {f"{name}/{metric}": found[metric] for metric in ("top1", "class_top1")}
    return values


def evaluate(context: Context) -> EvalResult:
    """Metrics under `prompts/<label feature>/`: `plain/top1`, and of each choice.

    Needs variances, and several templates in `eval.templates`: with one there is nothing to choose.

    Raises:
      ValueError: a label feature that the data set does not have.
    """
    templates = context.config.templates
    reason = ""
    if len(templates) < 2:
        reason = "eval.templates has one template, so there is nothing to choose from"
    if context.slots.count > 1 or not np.isfinite(np.asarray(context.texts.log_var)).all():
        reason = "prompts are chosen by their variances, which this model does not have"
    if reason:
        missing = (f"prompts/{f}/bprw_transductive/top1" for f in context.config.label_features)
        return EvalResult({}, undefined=dict.fromkeys(missing, reason))
    metrics: dict[str, float] = {}
    for feature in context.config.label_features:
        labelled, names, labels = labelled_images(context, feature)
        if not len(labelled):
            continue
        prompts = context.encode_text(prompts_of(names.tolist(), templates))
        images, block = take(context.images, labelled), context.config.block
        dim = np.shape(prompts.mean)[-1]
        each = host_gaussian(*(np.reshape(x, (len(names), -1, dim)) for x in prompts))
        plain = filtered(each, np.ones(each.mean.shape[:2], bool))
        found = zero_shot(images, plain, labels, block=block)
        values = {f"plain/{m}": found[m] for m in ("top1", "class_top1")}
        values["majority"] = found["majority"]
        values |= choices(prompts, images, labels, len(names), block)
        metrics |= {f"prompts/{feature}/{name}": value for name, value in values.items()}
    return EvalResult(finite(metrics))
