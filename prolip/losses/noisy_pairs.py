"""Which drawn pairs are no wrong pairs, by how the losses of a batch fall into two groups."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

ITERATIONS = 10
VARIANCE = 5e-4  # Added to both variances, of losses scaled to [0, 1].


def clean_probability(losses: Float[Array, " pairs"]) -> Float[Array, " pairs"]:
    """Probability that each pair is of the component with the smaller mean loss.

    The losses of the pairs, scaled to [0, 1], are fitted by a mixture of two Gaussians: ten steps
    of EM from the means 0 and 1. No gradient flows through it.

    NCR fits the losses of the whole data set once an epoch, those of one network for the other to
    be trained with, after a warm-up. This is of one batch, of the network that is being trained and
    of its present loss: of few pairs, and without a second opinion.
    A mixture of two always finds two: of clean data too, the worst fitting pairs weigh less. And a
    pair better than the mean of the better component counts as that mean, where the wider tail of
    the other one would claim it.

    Source: NCR, NeurIPS 2021, section 3.1 (XLearning-SCU/2021-NeurIPS-NCR, `NCR/co_train.py`).
    """
    losses = jax.lax.stop_gradient(losses)
    low, high = losses.min(), losses.max()
    scaled = (losses - low) / jnp.where(high > low, high - low, 1)
    spread = jnp.var(scaled) + VARIANCE
    one = jnp.ones_like(spread)
    better, worse = (0 * one, spread, one / 2), (one, spread, one / 2)

    def step(_: jax.Array, parts: tuple) -> tuple:
        share = _share(scaled, *parts)
        return tuple(
            _moments(scaled, weight, part)
            for weight, part in zip((share, 1 - share), parts, strict=True)
        )

    better, worse = jax.lax.fori_loop(0, ITERATIONS, step, (better, worse))
    return _share(jnp.maximum(scaled, better[0]), better, worse)


def _share(x: jax.Array, better: tuple, worse: tuple) -> jax.Array:
    """Posterior probability of the better of two components."""
    a, b = (jnp.log(w) - (x - m) ** 2 / (2 * v) - jnp.log(v) / 2 for m, v, w in (better, worse))
    return jax.nn.sigmoid(a - b)


def _moments(x: jax.Array, weight: jax.Array, before: tuple) -> tuple:
    total = weight.sum()
    safe = jnp.maximum(total, 1e-6)
    # A component that nothing belongs to stays where it is.
    mean = jnp.where(total > 1e-6, (weight * x).sum() / safe, before[0])
    variance = (weight * (x - mean) ** 2).sum() / safe + VARIANCE
    return mean, variance, jnp.clip(total / len(x), 1e-6, 1)
