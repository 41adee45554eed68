"""Embeds a checkpoint once and hands it to the evaluators of a configuration."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from prolip.config import DataConfig, EvalConfig
from prolip.evals.context import EvalResult
from prolip.evals.embed import Encoder, Split, embed, tiny_pictures
from prolip.evals.ledger import config_hash
from prolip.evals.registry import evaluator


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

    # The pictures are those of every step.
    pixels = functools.cache(lambda: tiny_pictures(split, config.batch))

    def evaluate(step: int) -> Callable[[str], EvalResult]:
        encoder, tokenize = load(step)
        context = embed(split, encoder, tokenize, config)._replace(pixels=pixels)
        return lambda name: evaluator(name)(context)

    return evaluate


def evaluation_id(config: EvalConfig, data: DataConfig, contents: Mapping[str, Any]) -> str:
    """Hash of what decides the results, and not of how they are computed.

    Args:
      config: without the lists of evaluators and sets (each has its own entries) and block sizes.
      data: its split and features.
      contents: what else identifies the records: `EvalSet.identity`, and the cleaning of texts.
    """
    options = dataclasses.asdict(config)
    for name in ("evaluators", "sets", "batch", "block"):
        del options[name]
    names = ("name", "eval_split", "image_feature", "caption_features")
    chosen = {name: getattr(data, name) for name in names}
    return config_hash({"eval": options, "data": chosen, "contents": dict(contents)})
