"""The loss of PCME++: cross-entropy of pairs by their sampled distance, with pseudo-positives."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from prolip import gaussian, sharding
from prolip.gaussian import Gaussian
from prolip.losses.pairwise import Logit, Targets, sigmoid_loss, streamed_ppcl
from prolip.losses.positives import ColumnFacts, RowFacts, diagonal
from prolip.losses.soft_labels import SoftLabels


def pcmepp(
    images: Gaussian,
    texts: Gaussian,
    logit_scale: Float[Array, ""] | float,
    logit_bias: Float[Array, ""] | float,
    positives: Targets | None = None,
    pseudo_positives: float = 0.1,
) -> Float[Array, ""]:
    """2 L(t) + pseudo_positives (L(rows) + L(columns)), each L a mean over all B^2 pairs.

    L(t) = -1/B^2 sum_ij t_ij log sigmoid(l_ij) + (1 - t_ij) log sigmoid(-l_ij), with
    l_ij = -logit_scale csd_ij + logit_bias

    Twice, as the losses of both directions are equal. The targets `rows` have besides every pair
    with l_ij >= l_ii, `columns` every pair with l_ij >= l_jj; such a pair gets the label of the
    drawn pair, less than one where the image is blended. Targets carry no gradient. Dense: the form
    in which the paper prints it; the trainer has `streamed_pcmepp`.

    Args:
      images: B Gaussians, shape [B, D].
      texts: B Gaussians; row j is the pair of image j.
      logit_scale: a in the paper, 5 at the start.
      logit_bias: b in the paper, 5 at the start.
      positives: which pairs match, or to which part; row i, column i alone if it is not given.
      pseudo_positives: alpha in the paper.

    Source: PCME++, arXiv 2305.18171, equations 1 and 2, and its pseudo-positives; naver-ai/pcmepp
    `pcmepp/criterions/pcmepp.py`, which has the bottleneck in the same function.
    """
    logits = logit_bias - logit_scale * gaussian.csd(images, sharding.replicate(texts))
    targets = diagonal(logits) if positives is None else positives
    mean = 1 / len(logits)  # `sigmoid_loss` is a mean over rows only.
    total = 2 * mean * sigmoid_loss(logits, targets)
    if not pseudo_positives:
        return total
    scores, targets = jax.lax.stop_gradient((logits, targets.astype(logits.dtype)))
    own = logit_bias - logit_scale * gaussian.csd_paired(images, texts)
    label = jnp.where(diagonal(logits), targets, 0).sum(1)
    # Texts of the same caption tie; rounding must not decide.
    least = jax.lax.stop_gradient(own - 1e-5 * logit_scale)
    for anchor, part in ((least[:, None], label[:, None]), (_row(least), _row(label))):
        more = jnp.maximum(targets, jnp.where(scores >= anchor, part, 0))
        total += pseudo_positives * mean * sigmoid_loss(logits, more)
    return total


def streamed_pcmepp(
    images: Gaussian,
    texts: Gaussian,
    logit: Logit,
    row_facts: RowFacts,
    column_facts: ColumnFacts,
    pseudo_positives: float = 0.1,
    smoothing: float = 0.0,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """`pcmepp` without any array of the size of the pairs; and sums over the matching pairs.

    Means are of unit length, so that the logit is that of PPCL with twice the scale and a bias
    shifted by it: b - a csd = 2a (1 - csd / 2) + (b - 2a). The cross-entropy is linear in its
    targets, so that the four L are one, of the mean target.
    """
    labels = pcmepp_labels(pseudo_positives, smoothing)
    value, sums = streamed_ppcl(images, texts, as_ppcl(logit), row_facts, column_facts, labels)
    return (2 + 2 * pseudo_positives) / len(images.mean) * value, sums


def as_ppcl(logit: Logit) -> Logit:
    """The scalars that make PPCL's logit that of PCME++."""
    return Logit(2 * logit.scale, logit.bias - 2 * logit.scale)


def pcmepp_labels(pseudo_positives: float, smoothing: float) -> SoftLabels:
    """The mean of the targets of its four L."""
    return SoftLabels(smoothing, relabelled=pseudo_positives / (1 + pseudo_positives))


def _row(x: jax.Array) -> jax.Array:
    return sharding.replicate(x)[None, :]
