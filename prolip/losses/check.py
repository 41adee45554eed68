"""Whether the terms of an objective can do what is asked of them."""

from prolip.config import ConfigError, ObjectiveConfig

NEED_VARIANCES = (
    *("bottleneck", "inclusion_image_text", "inclusion_masked", "inclusion_text_text"),
    "pcme",
)
SOFT = ("ppcl", "siglip", "clip")  # Terms whose targets may be soft.
SMOOTH = (*SOFT, "pcmepp")
# Option, the value that leaves it out, and the terms that know of it.
OPTIONS = (
    ("label_smoothing", 0, SMOOTH),
    ("false_negatives", "count", SOFT),
    ("noisy_pairs", "keep", SOFT),
    ("measure_mismatch", False, SMOOTH),
)


def check(goal: ObjectiveConfig, *, variances: bool) -> None:
    """Raises ConfigError where a term needs variances, or an option has no term to act on.

    Args:
      goal: the objective.
      variances: whether the model has any.
    """
    for name in NEED_VARIANCES:
        if not variances and getattr(goal, name):
            raise ConfigError(
                f"config.objective.{name} needs variances, which config.model.heads=deterministic "
                "does not have; set it to 0"
            )
    for name, off, terms in OPTIONS:
        if getattr(goal, name) != off and not any(getattr(goal, term) for term in terms):
            raise ConfigError(
                f"config.objective.{name} has nothing to act on: give a weight to one of "
                f"{', '.join(terms)}, or set it to {off}"
            )
