"""What an evaluator gets, and what it gives back."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from prolip.config import EvalConfig, SlotsConfig
from prolip.gaussian import Gaussian
from prolip.slot_similarity import ONE_SLOT as ONE_SLOT


class MaskedViews(NamedTuple):
    """Masked views of some images and texts, and the numbers of those."""

    images: Gaussian
    image_rows: np.ndarray  # Int64[views].
    texts: Gaussian
    text_rows: np.ndarray  # Int64[views].


class Context(NamedTuple):
    """One checkpoint's embeddings of the evaluation split, as float32 NumPy arrays."""

    images: Gaussian  # Float[images dim]
    texts: Gaussian  # Float[captions dim]
    captions: Sequence[str]  # Distinct texts.
    levels: Sequence[str]  # For each caption the feature that it comes from.
    positives: Sequence[np.ndarray]  # For each caption the images that it matches.
    labels: Mapping[str, Sequence[str]]  # For each label feature, one class name an image.
    encode_text: Callable[[Sequence[str]], Gaussian]  # For texts of an evaluator's own.
    config: EvalConfig
    # Of the model's pair probabilities, as applied; None where it has none.
    logit_scale: float | None = None
    logit_bias: float | None = None
    masked: Callable[[], MaskedViews] | None = None  # Made when asked for; None: can't be made.
    # Float[images features] of the pictures alone, without a model; made when asked for.
    pixels: Callable[[], np.ndarray] | None = None
    slots: SlotsConfig = ONE_SLOT  # Of embeddings that are sets, one slot after the other.


@dataclasses.dataclass(frozen=True)
class EvalResult:
    """Numbers for the curves, and what a report needs beside them."""

    metrics: dict[str, float]  # Finite; what is not defined for this data is left out.
    arrays: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    notes: dict[str, Any] = dataclasses.field(default_factory=dict)  # JSON.
    # Names of metrics that this data or model does not define, and why: shown in their place.
    undefined: dict[str, str] = dataclasses.field(default_factory=dict)


Evaluator = Callable[[Context], EvalResult]


def host_gaussian(mean: Any, log_var: Any) -> Gaussian:
    """A Gaussian of NumPy arrays."""
    return Gaussian(mean, log_var)


def take(gaussian: Gaussian, rows: np.ndarray) -> Gaussian:
    """The rows of a Gaussian that an index array selects, as NumPy arrays."""
    return host_gaussian(np.asarray(gaussian.mean)[rows], np.asarray(gaussian.log_var)[rows])


def joined(parts: Iterable[Gaussian]) -> Gaussian:
    """The rows of several Gaussians, at least one, as those of one."""
    means, log_vars = zip(*parts, strict=True)
    return host_gaussian(np.concatenate(means), np.concatenate(log_vars))


def variance_trace(gaussian: Gaussian) -> np.ndarray:
    """Uncertainty [batch] in float64; a log-variance of minus infinity counts as zero variance."""
    return np.exp(np.asarray(gaussian.log_var, np.float64)).sum(-1)


def finite(metrics: Mapping[str, float]) -> dict[str, float]:
    """The metrics that are numbers: a correlation with a constant, say, is not."""
    return {name: float(value) for name, value in metrics.items() if np.isfinite(value)}
