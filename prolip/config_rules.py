"""Rules between several fields of a configuration, and options that have no effect beside others.

Bounds of single fields stand beside them: `prolip.config_bounds`.
"""

import difflib
import math
from collections.abc import Iterator

from prolip.config import CheckpointConfig, ConfigError, EvalConfig, TrainConfig, flatten, to_dict
from prolip.config_bounds import check_bounds
from prolip.config_objective import ObjectiveConfig

# Weights of the objective, all of which may not be zero.
TERMS = (
    *("ppcl", "siglip", "clip", "pcmepp", "pcme", "triplet", "sets", "sets_diversity"),
    *("bottleneck", "inclusion_image_text", "inclusion_masked", "inclusion_text_text"),
)
# Options that act only where another has a certain value; None: any but zero. Without those of
# terms that are on by default: to switch a term off by its weight needs no comment.
ONLY_WITH: tuple[tuple[str, str, str | None], ...] = (
    ("config.optimizer.muon_scale", "config.optimizer.name", "muon"),
    ("config.optimizer.muon_momentum", "config.optimizer.name", "muon"),
    ("config.max_skipped", "config.non_finite", "skip"),
    ("config.model.slots.alpha", "config.model.slots.similarity", "smooth_chamfer"),
    ("config.objective.pcme_samples", "config.objective.pcme", None),
    ("config.objective.pseudo_positives", "config.objective.pcmepp", None),
    ("config.objective.triplet_margin", "config.objective.triplet", None),
    ("config.objective.triplet_negatives", "config.objective.triplet", None),
    ("config.data.augment.jitter", "config.data.augment.jitter_probability", None),
)


def check(config: TrainConfig) -> None:
    """Checks all values and how they fit together, before a run writes anything.

    Raises:
      ConfigError: a value is out of bounds, or two of them contradict each other.
    """
    check_bounds(config)
    _check_checkpoints(config.checkpoint)
    _check_best_metric(config.checkpoint, config.eval)
    _check_objective(config)


def check_new(config: TrainConfig) -> None:
    """Checks what matters to a run that begins without other weights; a resumed one ignores it.

    Raises:
      ConfigError: the initial scale of the logits is not one that the optimizer keeps.
    """
    scale, largest = config.model.logit_scale_init, config.optimizer.max_logit_scale
    if not 1 <= scale <= largest:
        raise ConfigError(
            f"config.model.logit_scale_init: {scale:g} is outside 1 to "
            f"config.optimizer.max_logit_scale ({largest:g}), in which the scale is kept after "
            "each update"
        )


def notes(config: TrainConfig) -> Iterator[str]:
    """Sentences about options that are allowed, but don't do what their names promise."""
    optimizer = config.optimizer
    if optimizer.schedule == "cosine" and optimizer.warmup_steps == config.total_steps:
        yield (
            f"config.optimizer.warmup_steps: {optimizer.warmup_steps} is all of "
            "config.total_steps: the learning rate rises to the end and never falls"
        )
    if config.data.tokenizer.kind == "train" and config.data.tokenizer.path:
        yield (
            "config.data.tokenizer.path has no effect with config.data.tokenizer.kind=train; use "
            "hf or sentencepiece to read a tokenizer from a file"
        )
    ours, default = flatten(to_dict(config)), flatten(to_dict(TrainConfig()))
    for key, other, needed in ONLY_WITH:
        acts = ours[other] == needed if needed else ours[other]
        if ours[key] != default[key] and not acts:
            condition = f"{other}={needed}" if needed else f"a value of {other}"
            yield f"{key} has no effect without {condition}"


def _check_checkpoints(config: CheckpointConfig) -> None:
    every, keep = config.every, config.keep_every
    if keep % every == 0:
        return
    below, above = keep // every * every, (keep // every + 1) * every
    nearest = f"{below} or {above}" if below else f"{above}"
    raise ConfigError(
        f"config.checkpoint.keep_every: {keep} is not a multiple of config.checkpoint.every "
        f"({every}), so not all of those steps would be saved; use {nearest}, or "
        f"every={math.gcd(every, keep)}, or 0 to keep none for good"
    )


def _check_best_metric(config: CheckpointConfig, evaluation: EvalConfig) -> None:
    """Metrics are called `<evaluator>/...` or `<set>/...`; the rest is known once one has run."""
    if not config.keep_best:
        return
    sets = [_set_name(text) for text in evaluation.sets]
    measured = (*evaluation.evaluators, *sets)
    first, slash, _ = config.best_metric.partition("/")
    if slash and first in measured:
        return
    near = difflib.get_close_matches(first, measured, n=1)
    hint = f"did you mean {near[0]}/...? " if near else ""
    raise ConfigError(
        f"config.checkpoint.best_metric: nothing measures {config.best_metric!r}; {hint}Metrics "
        f"begin with one of config.eval.evaluators or the name of one of config.eval.sets: "
        f"{', '.join(measured) or 'there are none'}"
    )


def _set_name(address: str) -> str:
    """Name of an evaluation set: `as=NAME` or what is before the first "="."""
    renamed = [word[3:] for word in address.split()[1:] if word.startswith("as=")]
    return renamed[-1] if renamed else address.partition("=")[0].strip()


def _check_objective(config: TrainConfig) -> None:
    goal: ObjectiveConfig = config.objective
    if not any(getattr(goal, name) for name in TERMS):
        raise ConfigError(
            f"config.objective: all weights are 0; give one to {', '.join(TERMS[:6])} or another"
        )
    image = config.model.image
    patches = (image.image_size // image.patch) ** 2
    if goal.inclusion_masked and int(goal.mask_image_keep * patches) < 1:
        raise ConfigError(
            f"config.objective.mask_image_keep: {goal.mask_image_keep:g} of {patches} patches "
            "leaves none"
        )
