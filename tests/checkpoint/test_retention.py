"""Which steps stay, against a rule written the slow way."""

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from prolip.checkpoint.retention import steps_to_keep
from prolip.config import CheckpointConfig

STEPS = st.sets(st.integers(0, 30), max_size=12)
VALUES = st.sampled_from([0.0, 0.5, 1.0, -2.0, math.inf, -math.inf, math.nan])
CONFIGS = st.builds(
    CheckpointConfig,
    keep_latest=st.integers(0, 4),
    keep_every=st.sampled_from([0, 1, 3, 10]),
    keep_best=st.integers(0, 4),
    best_mode=st.sampled_from(["max", "min"]),
    hold_unevaluated=st.booleans(),
)


def stays(step, steps, config, metrics, evaluated, verified):
    """One step at a time, by counting those that would stay before it."""
    if sum(s > step for s in steps) < max(1, config.keep_latest):
        return True
    if step in verified and not any(s > step for s in steps & verified):
        return True
    if config.keep_every and step % config.keep_every == 0:
        return True
    if config.hold_unevaluated and step not in evaluated:
        return True
    measured = {s: metrics[s] for s in steps if s in metrics and not math.isnan(metrics[s])}
    if config.keep_best and not measured and step in evaluated and step not in metrics:
        return True
    if step not in measured:
        return False
    better = 0
    for s, value in measured.items():
        wins = value > measured[step] if config.best_mode == "max" else value < measured[step]
        better += wins or (value == measured[step] and s > step)
    return better < config.keep_best


@settings(deadline=None, max_examples=400)
@given(STEPS, CONFIGS, st.dictionaries(st.integers(0, 30), VALUES), STEPS, STEPS)
def test_keeps_what_the_slow_rule_keeps(steps, config, metrics, evaluated, verified):
    kept = steps_to_keep(steps, config, metrics=metrics, evaluated=evaluated, verified=verified)
    assert kept == {s for s in steps if stays(s, steps, config, metrics, evaluated, verified)}
    assert bool(kept) == bool(steps)
    again = steps_to_keep(kept, config, metrics=metrics, evaluated=evaluated, verified=verified)
    assert again == kept


def test_the_newest_verified_step_stays_below_unverified_ones():
    config = CheckpointConfig(keep_latest=1)
    kept = steps_to_keep([1, 2, 3], config, metrics={}, evaluated=[], verified=[1, 2])
    assert kept == {2, 3}


def test_evaluated_steps_stay_while_none_has_the_metric_that_decides():
    """The name may be misspelled: whichever step is the best is among them."""
    config = CheckpointConfig(keep_latest=1, keep_best=1, best_metric="retrieval/t2i/recall@1")
    steps = [100, 200, 300, 400]
    kept = steps_to_keep(steps, config, metrics={}, evaluated=[100, 200], verified=steps)
    assert kept == {100, 200, 400}
    kept = steps_to_keep(steps, config, metrics={200: 0.5}, evaluated=[100, 200], verified=steps)
    assert kept == {200, 400}
