"""Measures sets with one model, wherever it is from: the table and the JSON of `prolip eval`."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax

from prolip.checkpoint.agreement import agree
from prolip.config import ConfigError, EvalConfig
from prolip.evals.sets.running import Sets, open_sets
from prolip.loading import load
from prolip.watchdog import Alive, unwatched


def evaluate_model(
    source: str | Path,
    sets: Sequence[str],
    config: EvalConfig,
    *,
    step: int | None = None,
    threads: int = 4,
    alive: Alive = unwatched,
    say: Callable[[str], Any] = lambda sentence: None,
) -> dict[str, Any]:
    """Measures sets with a model.

    Of several processes, which all call this, each embeds a part of the images of each set, and
    process 0 alone has the result.

    Args:
      source: what `prolip.load` takes: a workdir, a directory in the Hub's layout, or a Hub id.
      sets: addresses, see `prolip.evals.sets.address`.
      config: sizes of batches and blocks, number of bins.
      step: of a workdir; None takes the newest one.
      threads: that decode images.
      alive: signs of life, for a watchdog.
      say: gets a sentence for each set.

    Returns:
      JSON values: `model` (its source and hashes), `metrics` (`sets/<name>/<metric>`), and for each
      set what was measured, `sets`. Empty on other processes than the first.

    Raises:
      ConfigError: no set, or words of another form.
      DataError: files that are missing, too few, or damaged.
      CheckpointError, SourceError: there is no such model, or no tokenizer with it.
    """
    if not sets:
        raise ConfigError("name a set: --set NAME=WHERE; `prolip eval --list` has the names")
    opened = open_sets(sets, threads)
    alive("loading the model")
    model = load(source, step)
    _ = model.tokenizer  # Without one there are no prompts: better said now than in an hour.
    running = Sets(opened, config, alive, threads)
    running.use(model)
    first = jax.process_index() == 0
    metrics: dict[str, float] = {}
    about: dict[str, Any] = {}
    for number, one in enumerate(opened):
        if first:
            say(f"evaluating on {one.sentence}")
            result = running.evaluate(running.names[number], lambda _: None)
            metrics |= result.metrics
            about[one.name] = {
                key: result.notes[key] for key in ("about", "without") if key in result.notes
            }
        else:
            running.embed(number)
        agree(0)  # The others wait here while process 0 measures.
    if not first:
        return {}
    found = {"source": model.source or str(source), **model.identity}
    return {"model": found, "metrics": metrics, "sets": about}
