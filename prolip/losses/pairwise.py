"""Sigmoid losses over all image-text pairs of the global batch: PPCL and SigLIP."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from prolip import gaussian, sharding
from prolip.gaussian import Gaussian

Targets = Bool[Array, "images texts"] | Float[Array, "images texts"]


def ppcl(
    images: Gaussian,
    texts: Gaussian,
    logit_scale: Float[Array, ""] | float,
    logit_bias: Float[Array, ""] | float,
    positives: Targets | None = None,
) -> Float[Array, ""]:
    """Probabilistic pairwise contrastive loss.

    -1/B sum_ij log sigmoid(y_ij l_ij), with
    l_ij = logit_scale (m_i . m_j - (tr_i + tr_j) / 2) + logit_bias

    Args:
      images: B Gaussians, shape [B, D].
      texts: B Gaussians; row j is the pair of image j.
      logit_scale: the applied scale, not its log.
      logit_bias: added to every logit.
      positives: which pairs match, or to which part; row i, column i alone if it is not given.
        The loss of a part y is -y log sigmoid(l) - (1 - y) log sigmoid(-l).

    Source: ProLIP, arXiv 2410.18857, section 3.2. Differs from naver-ai/prolip `src/prolip/loss.py`
    in nothing on one process; over several the released ring exchange is not this sum.
    """
    return sigmoid_loss(ppcl_logits(images, texts, logit_scale, logit_bias), positives)


def ppcl_logits(
    images: Gaussian,
    texts: Gaussian,
    logit_scale: Float[Array, ""] | float,
    logit_bias: Float[Array, ""] | float,
) -> Float[Array, "images texts"]:
    """Logits of all pairs: logit_scale (1 - csd / 2) + logit_bias for unit means."""
    texts = sharding.replicate(texts)
    score = gaussian.similarity(images, texts) - images.uncertainty[:, None] / 2
    return logit_scale * score + logit_bias


def siglip(
    image_means: Float[Array, "images dim"],
    text_means: Float[Array, "texts dim"],
    logit_scale: Float[Array, ""] | float,
    logit_bias: Float[Array, ""] | float,
    positives: Targets | None = None,
) -> Float[Array, ""]:
    """Pairwise sigmoid loss on the means alone: -1/B sum_ij log sigmoid(y_ij l_ij).

    Source: SigLIP, arXiv 2303.15343, equation 1. Arguments as for `ppcl`.
    """
    return sigmoid_loss(mean_logits(image_means, text_means, logit_scale) + logit_bias, positives)


def mean_logits(
    image_means: Float[Array, "images dim"],
    text_means: Float[Array, "texts dim"],
    logit_scale: Float[Array, ""] | float,
) -> Float[Array, "images texts"]:
    """logit_scale times the cosine of all pairs of unit means; images stay where they are."""
    texts = sharding.replicate(text_means)
    return logit_scale * jnp.matmul(image_means, texts.T, precision=jax.lax.Precision.HIGHEST)


def sigmoid_loss(
    logits: Float[Array, "images texts"], positives: Targets | None
) -> Float[Array, ""]:
    """Binary cross-entropy of all pairs, summed over texts and averaged over images."""
    if positives is None:
        positives = diagonal(logits)
    if positives.dtype == bool:
        log_p = jax.nn.log_sigmoid(jnp.where(positives, logits, -logits))
    else:
        yes, no = jax.nn.log_sigmoid(logits), jax.nn.log_sigmoid(-logits)
        log_p = positives * yes + (1 - positives) * no
    return -log_p.sum() / len(logits)


def diagonal(like: Shaped[Array, "images texts"]) -> Bool[Array, "images texts"]:
    """True where row and column are the same pair, laid out as `like`."""
    rows = jax.lax.broadcasted_iota(jnp.int32, like.shape, 0, out_sharding=_sharding(like))
    columns = jax.lax.broadcasted_iota(jnp.int32, like.shape, 1, out_sharding=_sharding(like))
    return rows == columns


def _sharding(x: jax.Array):
    return None if sharding.no_mesh() else jax.typeof(x).sharding
