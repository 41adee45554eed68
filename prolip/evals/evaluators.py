"""The evaluators by the names that `eval.evaluators` of a configuration uses.

A new one is a file with `evaluate(context) -> EvalResult`, and a line here.
"""

import dataclasses
import difflib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from prolip.config import DataConfig, EvalConfig
from prolip.evals import zero_shot
from prolip.evals.context import EvalResult, Evaluator
from prolip.evals.embed import Encoder, Split, embed
from prolip.evals.ledger import config_hash
from prolip.evals.retrieval import evaluate as evaluate_retrieval
from prolip.evals.uncertainty import evaluate as evaluate_uncertainty

EVALUATORS: dict[str, Evaluator] = {
    "retrieval": evaluate_retrieval,
    "zero_shot": zero_shot.evaluate,
    "uncertainty": evaluate_uncertainty,
}


def evaluator(name: str) -> Evaluator:
    """The evaluator with this name.

    Raises:
      ValueError: there is none; the nearest name is given.
    """
    if name in EVALUATORS:
        return EVALUATORS[name]
    near = difflib.get_close_matches(name, EVALUATORS, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(EVALUATORS)}"
    raise ValueError(f"there is no evaluator {name!r}; {hint}")


def step_evaluation(
    load: Callable[[int], tuple[Encoder, Callable[[list[str]], np.ndarray]]],
    split: Split,
    config: EvalConfig,
) -> Callable[[int], Callable[[str], EvalResult]]:
    """What `evals.loop.evaluate_steps` calls with a step: embeds once, for all evaluators.

    Args:
      load: gives the encoder and the tokenizer of a step.
      split: what is embedded.
      config: passed to the evaluators.
    """

    def evaluate(step: int) -> Callable[[str], EvalResult]:
        encoder, tokenize = load(step)
        context = embed(split, encoder, tokenize, config)
        return lambda name: evaluator(name)(context)

    return evaluate


def evaluation_id(config: EvalConfig, data: DataConfig, contents: Mapping[str, Any]) -> str:
    """Hash of what decides the results, and not of how they are computed.

    Args:
      config: without the list of evaluators (each has its own entries) and the block sizes.
      data: its split and features.
      contents: what else identifies the records, such as version and number of the data set.
    """
    options = dataclasses.asdict(config)
    for name in ("evaluators", "batch", "block"):
        del options[name]
    names = ("name", "eval_split", "image_feature", "caption_features")
    chosen = {name: getattr(data, name) for name in names}
    return config_hash({"eval": options, "data": chosen, "contents": dict(contents)})
