"""Which steps are kept."""

import difflib
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
      metrics: `config.best_metric` of evaluated steps; NaN where the evaluation failed. As long as
        no step has a number, `config.keep_best` keeps all evaluated steps that are not in it.
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
    best = ranked({s: metrics[s] for s in ordered if s in metrics}, config.best_mode)
    keep.update(best[: config.keep_best])
    if config.keep_best and not best:  # A misspelled metric: the best step is among them.
        keep.update(s for s in ordered if s in evaluated and s not in metrics)
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


def unmeasured(metric: str, evaluated: Mapping[int, Mapping[str, float]]) -> str:
    """Says that no evaluated step has the metric that decides; "" if one has, or none is evaluated.

    Args:
      metric: `config.best_metric`.
      evaluated: metrics of the evaluated steps.
    """
    names = {name for metrics in evaluated.values() for name in metrics}
    if metric in names or not names:
        return ""
    near = difflib.get_close_matches(metric, names, n=1, cutoff=0)[0]
    return (
        f"no evaluated step has config.checkpoint.best_metric {metric!r}, so all of them are kept; "
        f"the nearest that they have is {near!r}"
    )
