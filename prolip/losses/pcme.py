"""The loss of PCME: matching probability by samples of both Gaussians."""

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from prolip import sharding
from prolip.gaussian import Gaussian
from prolip.losses.pairwise import Targets, dot, wide
from prolip.losses.positives import diagonal


class Matching(NamedTuple):
    """Logs of the probability that two match, and that they don't."""

    yes: Float[Array, "images texts"]
    no: Float[Array, "images texts"]


def pcme(
    images: Gaussian,
    texts: Gaussian,
    logit_scale: Float[Array, ""] | float,
    logit_bias: Float[Array, ""] | float,
    key: jax.Array,
    samples: int = 8,
    positives: Targets | None = None,
    form: Literal["exact", "released"] = "exact",
) -> Float[Array, ""]:
    """Soft contrastive loss: -1/B sum_ij log p_ij of matches and log(1 - p_ij) of others.

    Summed over texts and averaged over images, as PPCL is; the released code sums both directions,
    which are equal, over images: 2B times this. A pair that matches in parts has both logs, by its
    parts. Dense: some arrays of [rows of a device, B], and the samples of all texts on each device.

    Args:
      images: B Gaussians, shape [B, D].
      texts: B Gaussians; row j is the pair of image j.
      logit_scale: a in the paper.
      logit_bias: b in the paper.
      key: of the samples of this step.
      samples: of each Gaussian.
      positives: which pairs match, or to which part; row i, column i alone if it is not given.
      form: "released" has logits twice as large, see `matching`.

    Source: PCME, arXiv 2101.05068, equations 2 and 3; its bottleneck is a term of its own here.
    """
    drawn = draw(images, texts, key, samples)
    log_p = matching(*drawn, logit_scale, logit_bias, form)
    targets = diagonal(log_p.yes) if positives is None else positives
    targets = targets.astype(log_p.yes.dtype)
    losses = -jnp.where(targets > 0, targets * log_p.yes, 0)
    losses -= jnp.where(targets < 1, (1 - targets) * log_p.no, 0)
    return losses.sum() / len(targets)


def draw(
    images: Gaussian, texts: Gaussian, key: jax.Array, samples: int
) -> tuple[Float[Array, "images samples dim"], Float[Array, "texts samples dim"]]:
    """mean + deviation * noise, through which gradients flow to both; the same on any mesh."""
    drawn = []
    for gaussian, part in zip((images, texts), jax.random.split(key), strict=True):
        mean, deviation = wide(gaussian.mean), jnp.exp(wide(gaussian.log_var) / 2)
        rows, dim = mean.shape
        layout = None if sharding.no_mesh() else sharding.spec("batch", "dim", "dim")
        noise = jax.random.normal(part, (rows, samples, dim), mean.dtype, out_sharding=layout)
        drawn.append(mean[:, None] + deviation[:, None] * noise)
    return drawn[0], drawn[1]


def matching(
    images: Float[Array, "images samples dim"],
    texts: Float[Array, "texts samples dim"],
    logit_scale: Float[Array, ""] | float,
    logit_bias: Float[Array, ""] | float,
    form: Literal["exact", "released"] = "exact",
) -> Matching:
    """Logs of p_ij = mean_kl sigmoid(l) and of 1 - p_ij, l = -logit_scale |x_ik - y_jl| + bias.

    `released`: sigmoid(2 l), since naver-ai/pcme `criterions/probemb.py` takes for sigmoid(l) the
    ratio e^l / (e^l + e^-l). The paper says sigmoid.

    One pair of samples at a time, twice: first without gradients for the sums, so that the second
    pass adds up shares of them, which nothing has to be kept for.
    """
    # Samples first: scans go over them.
    sides = jnp.moveaxis(images, 1, 0), jnp.moveaxis(sharding.replicate(texts), 1, 0)
    factor = 2 if form == "released" else 1
    scalars = factor * jnp.asarray(logit_scale), factor * jnp.asarray(logit_bias)
    frozen = jax.lax.stop_gradient((sides, scalars))
    log_sums = _over_samples(lambda logs: logs, jnp.logaddexp, *frozen, start=-jnp.inf)

    def share(logs: Matching) -> Matching:
        return jax.tree.map(lambda x, log_sum: jnp.exp(x - log_sum), logs, log_sums)

    shares = _over_samples(share, jnp.add, sides, scalars, start=0.0)
    count = math.log(images.shape[1] * texts.shape[1])
    return jax.tree.map(lambda log_sum, one: log_sum + jnp.log(one) - count, log_sums, shares)


def _over_samples(
    term: Callable[[Matching], Matching],
    add: Callable[[jax.Array, jax.Array], jax.Array],
    sides: tuple[jax.Array, jax.Array],
    scalars: tuple[jax.Array, jax.Array],
    start: float,
) -> Matching:
    images, texts = sides

    @jax.checkpoint
    def one(x: jax.Array, y: jax.Array, scalars: tuple[jax.Array, jax.Array]) -> Matching:
        scale, bias = scalars
        squares = (x**2).sum(-1)[:, None] + (y**2).sum(-1)[None, :] - 2 * dot(x, y.T)
        # The root has no slope at zero; the released code adds the same.
        logit = bias - scale * jnp.sqrt(jnp.maximum(squares, 0) + 1e-6)
        return term(Matching(jax.nn.log_sigmoid(logit), jax.nn.log_sigmoid(-logit)))

    def text(total: Matching, y: jax.Array) -> tuple[Matching, None]:
        def image(total: Matching, x: jax.Array) -> tuple[Matching, None]:
            return jax.tree.map(add, total, one(x, y, scalars)), None

        return jax.lax.scan(image, total, images)[0], None

    like = one(images[0], texts[0], scalars)
    total = jax.tree.map(lambda x: jnp.full_like(x, start), like)
    return jax.lax.scan(text, total, texts)[0]
