"""Are the probabilities of pairs what they say? Of pairs given 0.8, do eight of ten match?

The probability of a pair is that of PPCL (ProLIP), and without variances that of SigLIP, of sets
too: sigmoid(scale * (mean product - half of both traces) + bias). PCME++ and PCME train the same
scale and bias for other logits, of distances. Nearly all pairs are mismatches near zero; therefore
the error of the pairs above the first bin is given beside that of all.
"""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from prolip.config import SlotsConfig
from prolip.evals.context import ONE_SLOT, Context, EvalResult, finite, variance_trace
from prolip.evals.metrics import blocks
from prolip.gaussian import Gaussian
from prolip.slot_similarity import mean_set_similarity

BINS = 15


class Reliability(NamedTuple):
    """Probabilities in bins of equal width over [0, 1], and what came true."""

    pairs: np.ndarray  # Float64[bins], how many.
    probability: np.ndarray  # Float64[bins], sum of the pairs' probabilities.
    matches: np.ndarray  # Float64[bins], pairs that match.

    @property
    def ece(self) -> float:
        """Expected calibration error: sum over bins of |matches - probabilities| / all pairs.

        Source: Naeini et al. 2015; Guo et al., arXiv 1706.04599, equation 3.
        """
        return float(np.abs(self.matches - self.probability).sum() / self.pairs.sum())

    @property
    def ece_above(self) -> float:
        """The same over the pairs above the first bin; NaN if there is none."""
        count = self.pairs[1:].sum()
        gap = np.abs(self.matches - self.probability)[1:].sum()
        return float(gap / count) if count else float("nan")


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


def pair_reliability(
    images: Gaussian,
    texts: Gaussian,
    positives: Sequence[np.ndarray],
    logit_scale: float,
    logit_bias: float,
    *,
    bins: int = BINS,
    block: int = 1024,
    slots: SlotsConfig = ONE_SLOT,
) -> Reliability:
    """`reliability` of all pairs of a text and an image, a block of texts at a time on the device.

    Args:
      images: N Gaussians.
      texts: M Gaussians.
      positives: for each text the images that match it.
      logit_scale: applied scale, not its log.
      logit_bias: as the loss adds it.
      bins: of equal width.
      block: texts at a time.
      slots: of a model whose embeddings are sets.
    """
    count = len(texts.mean)
    block = min(block, max(count, 1))
    image = jnp.asarray(images.mean), jnp.asarray(variance_trace(images) / 2, jnp.float32)
    mean, half = np.asarray(texts.mean, np.float32), variance_trace(texts) / 2
    sums = np.zeros((3, bins))
    for rows in blocks(count, block):
        used = rows.stop - rows.start
        match = np.zeros((block, len(images.mean)), bool)
        for i, own in enumerate(positives[rows]):
            match[i, own] = True
        query, trace = np.zeros((block, mean.shape[1]), np.float32), np.zeros(block, np.float32)
        query[:used], trace[:used] = mean[rows], half[rows]
        parts = _bin_sums(
            query, trace, *image, match, logit_scale, logit_bias, bins=bins, slots=slots
        )
        # Summed by rows on the device, over rows in float64: float32 would lose the small ones.
        sums += np.asarray(parts, np.float64)[:, :, :used].sum(2)
    return Reliability(*sums)


@functools.partial(jax.jit, static_argnames=("bins", "slots"))
def _bin_sums(query, trace, mean, half, match, scale, bias, *, bins, slots):
    """Float32[3 bins texts]: number, probability and matches of each text's pairs."""
    product = mean_set_similarity(query, mean, slots)
    p = jax.nn.sigmoid(scale * (product - trace[:, None] - half[None, :]) + bias)
    bin_of = jnp.minimum((p * bins).astype(jnp.int32), bins - 1)

    def one(number):
        inside = bin_of == number
        return jnp.stack([(inside * w).sum(1) for w in (jnp.ones_like(p), p, match)])

    return jax.lax.map(one, jnp.arange(bins)).swapaxes(0, 1)


def evaluate(context: Context) -> EvalResult:
    """Metrics under `calibration/`; nothing for a model that has no scale and bias of its own.

    `ece`, `ece_above` (pairs above the first bin), `expected_per_match` (sum of probabilities over
    the number of matches: 1 if the model expects as many as there are), `pairs_above`. For a model
    of a softmax or triplet loss the bias is untrained, for one of PCME++ or PCME trained for
    another logit, and the numbers say nothing.
    """
    if context.logit_scale is None or context.logit_bias is None:
        return EvalResult({})
    found = pair_reliability(
        context.images,
        context.texts,
        context.positives,
        context.logit_scale,
        context.logit_bias,
        block=context.config.block,
        slots=context.slots,
    )
    matches = found.matches.sum()
    metrics = {
        "ece": found.ece,
        "ece_above": found.ece_above,
        "expected_per_match": found.probability.sum() / matches if matches else float("nan"),
        "pairs_above": found.pairs[1:].sum(),
    }
    named = {f"calibration/{name}": value for name, value in metrics.items()}
    return EvalResult(finite(named), found._asdict())
