"""Are the probabilities of pairs what they say? Of pairs given 0.8, do eight of ten match?

The probability of a pair is that of PPCL (ProLIP), and without variances that of SigLIP, of sets
too: sigmoid(scale * (mean product - half of both traces) + bias). PCME++ and PCME train the same
scale and bias for other logits, of distances.

Nearly all pairs are mismatches near zero, so that an error over all pairs is tiny for a model that
knows nothing. Skill scores compare with the one that gives every pair the share of matches: it has
0, and what is worse than knowing nothing is negative. Beside them stands the calibration error of
the pairs that the model calls likely, of which such a model has none.
"""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from prolip.config import SlotsConfig
from prolip.evals.context import ONE_SLOT, Context, EvalResult, finite, variance_trace
from prolip.evals.csd import check_numbers
from prolip.evals.metrics import blocks
from prolip.gaussian import Gaussian
from prolip.slot_similarity import mean_set_similarity

BINS = 15
FINE = 1024  # Bins of the likely pairs, of equal width in the logit, before they are merged.
LIKELY = 0.1  # Probability from which a pair is called likely, and at least twice the base rate.
LEAST = 50  # Pairs of a merged bin on average.
TOP = 9.0  # Logit at which the last fine bin begins: 0.9999.
MOST_PAIRS = 1 << 24  # At a time: some float64 arrays of as many are made on the host.

HEADLINE = ("calibration/brier_skill", "calibration/log_skill", "calibration/ece_likely")


class Reliability(NamedTuple):
    """Probabilities in bins of equal width over [0, 1], and what came true."""

    pairs: np.ndarray  # Float64[bins], how many.
    probability: np.ndarray  # Float64[bins], sum of the pairs' probabilities.
    matches: np.ndarray  # Float64[bins], pairs that match.

    @property
    def ece(self) -> float:
        """Expected calibration error: sum over bins of |matches - probabilities| / all pairs.

        NaN without pairs. Source: Naeini et al. 2015; Guo et al., arXiv 1706.04599, equation 3.
        """
        count = self.pairs.sum()
        gap = np.abs(self.matches - self.probability).sum()
        return float(gap / count) if count else float("nan")

    def merged(self, bins: int) -> "Reliability":
        """Neighbouring bins put together into at most `bins` of about equally many pairs."""
        count = self.pairs.sum()
        middle = np.cumsum(self.pairs) - self.pairs / 2
        group = np.minimum(middle / max(count, 1) * bins, bins - 1).astype(int)
        return Reliability(*(np.bincount(group, field, minlength=bins) for field in self))


class PairCalibration(NamedTuple):
    """Sums over all pairs of a text and an image, in float64."""

    pairs: int
    matches: int
    squares: float  # (probability - outcome)^2
    log_loss: float  # -log of the probability of the outcome, in nats.
    all: Reliability  # Bins of equal width over [0, 1].
    likely: Reliability  # Fine bins, of the pairs from `threshold` on.
    threshold: float

    @property
    def brier_skill(self) -> float:
        """1 - Brier score / that of giving every pair the share of matches; NaN if it has no error.

        Source: Murphy 1973; the reference forecast is the base rate of this very data.
        """
        rate = self.matches / max(self.pairs, 1)
        return _skill(self.squares, self.pairs * rate * (1 - rate))

    @property
    def log_skill(self) -> float:
        """1 - log loss / that of giving every pair the share of matches; NaN if it has no error."""
        rate = self.matches / max(self.pairs, 1)
        if rate in (0, 1):
            return float("nan")
        entropy = -rate * np.log(rate) - (1 - rate) * np.log1p(-rate)
        return _skill(self.log_loss, self.pairs * entropy)

    @property
    def ece_likely(self) -> float:
        """Calibration error of the likely pairs, in bins of equally many; NaN if there are none.

        Bins have `LEAST` pairs on average at least, if there is more than one: fewer would measure
        chance.
        """
        bins = int(np.clip(self.likely.pairs.sum() // LEAST, 1, BINS))
        return self.likely.merged(bins).ece


def reliability(probabilities: Any, matches: Any, bins: int = BINS) -> Reliability:
    """Counts pairs by their probability.

    Args:
      probabilities: Float in [0, 1], any shape.
      matches: Bool of the same shape.
      bins: of equal width; a probability of 1 belongs to the last.

    Raises:
      ValueError: shapes that differ, or a probability that is none.
    """
    p, match = np.asarray(probabilities, np.float64), np.asarray(matches, bool)
    if p.shape != match.shape:
        raise ValueError(f"probabilities {p.shape} but matches {match.shape}")
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError("probabilities must be from 0 to 1, and numbers")
    bin_of = np.minimum((p * bins).astype(int), bins - 1).ravel()
    count, total, true = (
        np.bincount(bin_of, weights=w, minlength=bins)
        for w in (np.ones(p.size), p.ravel(), match.ravel())
    )
    return Reliability(count, total, true)


def pair_calibration(
    images: Gaussian,
    texts: Gaussian,
    positives: Sequence[np.ndarray],
    logit_scale: float,
    logit_bias: float,
    *,
    bins: int = BINS,
    block: int = 1024,
    slots: SlotsConfig = ONE_SLOT,
) -> PairCalibration:
    """Scores the probabilities of all pairs of a text and an image, a block of texts at a time.

    Args:
      images: N Gaussians of a model whose means are unit.
      texts: M Gaussians.
      positives: for each text the images that match it.
      logit_scale: applied scale, not its log.
      logit_bias: as the loss adds it.
      bins: of equal width.
      block: texts at a time, at most.
      slots: of a model whose embeddings are sets.

    Raises:
      ValueError: an embedding, scale or bias is not a number.
    """
    half = variance_trace(images) / 2, variance_trace(texts) / 2
    for kind, side, trace in (("image", images, half[0]), ("text", texts, half[1])):
        check_numbers(np.isfinite(np.asarray(side.mean)).all(-1) & np.isfinite(trace), kind)
    if not np.isfinite([logit_scale, logit_bias]).all():
        raise ValueError(f"scale {logit_scale} and bias {logit_bias} must be finite")
    count = len(texts.mean)
    pairs, matches = count * len(images.mean), sum(len(row) for row in positives)
    threshold = max(LIKELY, 2 * matches / max(pairs, 1))
    block = max(1, min(block, count, MOST_PAIRS // max(len(images.mean), 1)))
    image = jnp.asarray(images.mean), jnp.asarray(half[0], jnp.float32)
    mean, text_half = np.asarray(texts.mean, np.float32), half[1]
    wide, fine, scores = np.zeros((3, bins)), np.zeros((3, FINE)), np.zeros(2)
    for rows in blocks(count, block):
        used = rows.stop - rows.start
        query, trace = np.zeros((block, mean.shape[1]), np.float32), np.zeros(block, np.float32)
        query[:used], trace[:used] = mean[rows], text_half[rows]
        found = _logits(query, trace, *image, logit_scale, logit_bias, slots=slots)
        logits = np.asarray(found, np.float64)[:used]
        match = _rows_and_columns(positives[rows])
        with np.errstate(over="ignore"):  # Infinity gives a probability of zero, as it should be.
            probability = 1 / (1 + np.exp(-logits))
        matched = probability[match]
        scores[0] += (probability**2).sum() + (1 - 2 * matched).sum()
        scores[1] += np.logaddexp(0, logits).sum() - logits[match].sum()
        wide += _binned((probability * bins).astype(int), probability, match, bins)
        bin_of = _fine_bins(logits, threshold)
        fine += _binned(bin_of, probability, match, FINE + 1)[:, :FINE]
    return PairCalibration(
        pairs,
        matches,
        squares=float(scores[0]),
        log_loss=float(scores[1]),
        all=Reliability(*wide),
        likely=Reliability(*fine),
        threshold=threshold,
    )


def _rows_and_columns(positives: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    lengths = [len(row) for row in positives]
    columns = np.concatenate([np.zeros(0, np.int64), *positives]).astype(np.int64)
    return np.repeat(np.arange(len(lengths)), lengths), columns


def _fine_bins(logits: np.ndarray, threshold: float) -> np.ndarray:
    """Bins of equal width in the logit from the threshold on; `FINE` for what is below it."""
    low = np.log(threshold) - np.log1p(-threshold) if threshold < 1 else np.inf
    if low >= TOP:
        return np.where(logits >= low, FINE - 1, FINE)
    numbers = np.clip((logits - low) * ((FINE - 1) / (TOP - low)), 0, FINE - 1).astype(int)
    return np.where(logits >= low, numbers, FINE)


def _binned(
    bin_of: np.ndarray, probability: np.ndarray, match: tuple[np.ndarray, np.ndarray], bins: int
) -> np.ndarray:
    """Float64[3 bins]: number, probability and matches of the pairs of each bin."""
    bin_of = np.minimum(bin_of, bins - 1)
    count = np.bincount(bin_of.ravel(), minlength=bins)
    total = np.bincount(bin_of.ravel(), probability.ravel(), minlength=bins)
    return np.stack([count, total, np.bincount(bin_of[match], minlength=bins)]).astype(float)


def _skill(loss: float, reference: float) -> float:
    return float(1 - loss / reference) if reference > 0 else float("nan")


@functools.partial(jax.jit, static_argnames="slots")
def _logits(query, trace, mean, half, scale, bias, *, slots):
    """Float32[texts images]."""
    product = mean_set_similarity(query, mean, slots)
    return scale * (product - trace[:, None] - half[None, :]) + bias


def evaluate(context: Context) -> EvalResult:
    """Metrics under `calibration/`; none for a model that has no scale and bias of its own.

    `brier_skill` and `log_skill` over all pairs: 1 is perfect, 0 is what giving every pair the
    share of matches has, negative is worse than that. `ece_likely` over the `pairs_likely` pairs of
    a probability of at least `threshold_likely`. `ece_all_pairs` is small for any model that calls
    nothing likely, and `expected_per_match` (sum of probabilities over the number of matches) is 1
    for one that knows the share of matches and nothing else. For a model of a softmax or triplet
    loss the bias is untrained, for one of PCME++ or PCME trained for another logit.
    """
    if context.logit_scale is None or context.logit_bias is None:
        reason = "the model has no scale and bias that make probabilities"
        return EvalResult({}, undefined=dict.fromkeys(HEADLINE, reason))
    found = pair_calibration(
        context.images,
        context.texts,
        context.positives,
        context.logit_scale,
        context.logit_bias,
        block=context.config.block,
        slots=context.slots,
    )
    metrics = {
        "brier_skill": found.brier_skill,
        "log_skill": found.log_skill,
        "ece_likely": found.ece_likely,
        "pairs_likely": found.likely.pairs.sum(),
        "threshold_likely": found.threshold,
        "ece_all_pairs": found.all.ece,
        "expected_per_match": found.all.probability.sum() / found.matches
        if found.matches
        else float("nan"),
    }
    named = {f"calibration/{name}": float(value) for name, value in metrics.items()}
    some = 0 < found.matches < found.pairs
    reasons = dict.fromkeys(HEADLINE, "no pair matches, or every one does") if not some else {}
    if found.threshold >= 1:
        reasons[HEADLINE[-1]] = "half of all pairs match or more, so that none stands out as likely"
    elif not metrics["pairs_likely"]:
        reasons[HEADLINE[-1]] = (
            f"the model gives no pair a probability of {found.threshold:.2g} or more"
        )
    likely = found.likely.merged(BINS)._asdict()
    arrays = found.all._asdict() | {f"likely_{name}": value for name, value in likely.items()}
    return EvalResult(finite(named), arrays, undefined=reasons)
