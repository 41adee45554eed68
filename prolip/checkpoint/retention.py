"""Which steps are kept."""

import math
from collections.abc import Collection, Mapping

from prolip.config import CheckpointConfig


def steps_to_keep(
    steps: Collection[int],
    config: CheckpointConfig,
    *,
    metrics: Mapping[int, float],
    evaluated: Collection[int],
    verified: Collection[int],
) -> set[int]:
    """Steps that must stay; the others may be deleted.

    Args:
      steps: those that exist.
      config: how many are kept, and why.
      metrics: `config.best_metric` of evaluated steps; NaN counts as not measured.
      evaluated: steps that the evaluator has finished.
      verified: steps whose every byte is known to be right; the newest of them always stays.

    Returns:
      A subset of `steps`.
    """
    ordered = sorted(steps, reverse=True)
    keep = set(ordered[: max(1, config.keep_latest)])
    keep.update([s for s in ordered if s in verified][:1])
    if config.keep_every > 0:
        keep.update(s for s in ordered if s % config.keep_every == 0)
    if config.hold_unevaluated:
        keep.update(s for s in ordered if s not in evaluated)
    known = {s: metrics[s] for s in ordered if s in metrics}
    keep.update(ranked(known, config.best_mode)[: config.keep_best])
    return keep


def ranked(metrics: Mapping[int, float], mode: str) -> list[int]:
    """Steps from the best to the worst; of equally good ones the newer comes first.

    Args:
      metrics: of each step the one that decides; a step with NaN is left out.
      mode: "max" or "min".
    """
    sign = 1.0 if mode == "max" else -1.0
    known = [(sign * value, step) for step, value in metrics.items() if not math.isnan(value)]
    return [step for _, step in sorted(known, reverse=True)]
