"""Which caption of a record is drawn for a training pair."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple, get_args

import numpy as np

from prolip.config import CaptionSampling, DataConfig
from prolip.data.items import Item
from prolip.data.records import DataError
from prolip.data.text import caption_id

NUM_DRAWS = 3  # Feature, text, template.
SENTENCE_DRAWS = 3  # Whether all of the text; first sentence; how many.


class Drawn(NamedTuple):
    """A caption for one pair."""

    text: str  # Filled into a template.
    caption: int  # Id of the text without the template.
    captions: np.ndarray  # Int32[max_captions]: ids of the record's captions; 0 pads.


def check(config: DataConfig) -> None:
    """Raises DataError if features, weights and templates don't fit together."""
    features, weights = config.caption_features, config.caption_weights
    if len(features) != len(weights):
        raise DataError(
            f"data.caption_weights needs one weight for each of the {len(features)} caption "
            f"features, it has {len(weights)}"
        )
    if min(weights, default=0.0) < 0 or sum(weights) <= 0:
        raise DataError("data.caption_weights must not be negative, and not all zero")
    if not config.caption_templates or any("{}" not in t for t in config.caption_templates):
        raise DataError('data.caption_templates must have {} in each, and "{}" alone for none')
    if config.caption_sampling not in get_args(CaptionSampling):
        known = ", ".join(get_args(CaptionSampling))
        raise DataError(f"data.caption_sampling is one of {known}")
    if config.max_captions < 1:
        raise DataError("data.max_captions must be at least 1")


def draw(
    item: Item, config: DataConfig, draws: Sequence[float], more: Sequence[float] = ()
) -> Drawn:
    """Draws a feature by weight among those with texts, one of its texts, and a template.

    If all features with texts weigh nothing, they weigh the same.

    Args:
      item: A record with at least one text.
      config: Weights and templates.
      draws: `NUM_DRAWS` numbers, uniform in [0, 1).
      more: `SENTENCE_DRAWS` of them where sentences are drawn.
    """
    weights = [w if t else 0.0 for w, t in zip(config.caption_weights, item.texts, strict=True)]
    if not any(weights):
        weights = [float(bool(texts)) for texts in item.texts]
    mark = draws[0] * sum(weights)
    feature = next((i for i, end in enumerate(itertools.accumulate(weights)) if mark < end), -1)
    text = _pick(item.texts[feature], draws[1])
    if config.caption_sampling != "whole" and more[0] >= config.caption_whole:
        text = _some(item.sentences.get(text, (text,)), config.caption_sampling, more[1:])
    caption = caption_id(text)
    captions = np.zeros(config.max_captions, np.int32)
    known = item.captions[: config.max_captions]
    captions[: len(known)] = known
    if caption not in known:
        captions[-1] = caption  # A pair is always known to belong together.
    return Drawn(_pick(config.caption_templates, draws[2]).replace("{}", text), caption, captions)


def _some(sentences: Sequence[str], sampling: CaptionSampling, draws: Sequence[float]) -> str:
    """Consecutive sentences: the first ones, or from any one on; each number of them as likely."""
    start = int(draws[0] * len(sentences)) if sampling == "range" else 0
    return " ".join(sentences[start : start + 1 + int(draws[1] * (len(sentences) - start))])


def _pick(options: Sequence[str], draw: float) -> str:
    return options[int(draw * len(options))]
