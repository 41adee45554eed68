"""Whether the terms of an objective can do what is asked of them."""

from prolip.config import ConfigError, ObjectiveConfig
from prolip.losses.mismatch import MEASURED

NEED_VARIANCES = (
    *("bottleneck", "inclusion_image_text", "inclusion_masked", "inclusion_text_text"),
    "pcme",
)
SOFT = ("ppcl", "siglip", "clip")  # Terms whose targets may be soft.
SMOOTH = (*SOFT, "pcmepp")  # Terms whose targets may be smoothed.
# Option, the value that leaves it out, and the terms that know of it.
OPTIONS = (
    ("label_smoothing", 0, SMOOTH),
    ("false_negatives", "count", SOFT),
    ("noisy_pairs", "keep", SOFT),
    ("measure_mismatch", False, MEASURED),
)
POINTS = (*SMOOTH, "pcme", "triplet")  # Terms that compare one vector with one vector.


def check(goal: ObjectiveConfig, *, variances: bool, slots: int = 1) -> None:
    """Raises ConfigError where a term needs what the model lacks, or an option has no term.

    Args:
      goal: the objective.
      variances: whether the model has any.
      slots: vectors of each of its embeddings.
    """
    _check_slots(goal, slots)
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


def check_frozen(goal: ObjectiveConfig, *, variances: bool) -> None:
    """Raises ConfigError where nothing that is trained beside frozen towers decides the loss."""
    terms = ("ppcl", "pcmepp", *NEED_VARIANCES)
    if not variances or not any(getattr(goal, name) for name in terms):
        raise ConfigError(
            "config.optimizer.frozen: beside frozen towers only variances are trained; set "
            "config.model.heads=adapter and give a weight to one of "
            f"{', '.join(f'config.objective.{name}' for name in terms)}, as emoji:adapter does"
        )


def _check_slots(goal: ObjectiveConfig, slots: int) -> None:
    others = [name for name in POINTS if getattr(goal, name)]
    if slots > 1 and (others or not goal.sets):
        raise ConfigError(
            f"config.model.slots.count: sets of {slots} are trained by config.objective.sets: "
            + (f"set {', '.join(others)} to 0" if others else "give it a weight")
        )
    if slots == 1 and goal.sets_diversity:
        raise ConfigError(
            "config.objective.sets_diversity has nothing to act on: config.model.slots.count is 1"
        )
