"""The parameters that a run trains and those that keep their bits, as two dictionaries."""

from typing import Any

import optax

from prolip.config import Frozen
from prolip.models.two_tower import Params

TOWERS = ("image", "text")
HEAD = "log_var"


def split(params: Params, frozen: Frozen) -> tuple[Params, Params]:
    """What is trained, and the rest; `merge` puts them together again.

    "towers" freezes all that the means are made of; log-variances and the logit's scalars are
    trained.
    """
    if frozen == "none":
        return params, {}
    trained = {k: _part(v, inside=True) if k in TOWERS else v for k, v in params.items()}
    return trained, {k: _part(params[k], inside=False) for k in TOWERS}


def merge(trained: Params, rest: Params) -> Params:
    """All parameters again."""
    return {**trained, **{k: {**v, **trained[k]} for k, v in rest.items()}}


def only_trained(
    optimizer: optax.GradientTransformation, frozen: Frozen
) -> optax.GradientTransformation:
    """`optimizer` with a state for what is trained alone.

    It is given all parameters, and the gradients of those that are trained.
    """
    if frozen == "none":
        return optimizer

    def init(params: Any) -> Any:
        return optimizer.init(split(params, frozen)[0])

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        return optimizer.update(updates, state, split(params, frozen)[0])

    return optax.GradientTransformation(init, update)


def _part(tower: Params, *, inside: bool) -> Params:
    return {k: v for k, v in tower.items() if (k == HEAD) == inside}
