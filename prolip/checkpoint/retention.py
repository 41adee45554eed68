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
    sign = 1.0 if config.best_mode == "max" else -1.0
    # Of equally good steps the newer one stays.
    ranked = [(sign * metrics[s], s) for s in ordered if not math.isnan(metrics.get(s, math.nan))]
    keep.update(s for _, s in sorted(ranked, reverse=True)[: config.keep_best])
    return keep
