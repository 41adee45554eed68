"""Sets of unit vectors, several for an image or a text, and what compares them.

An embedding of several slots is still one row: its slots one after the other, each of length
1 / sqrt(K), so that the row is of unit length. What takes rows for points (`prolip.similarity`,
probes) sees the mean of the cosines of slots of the same number; `set_similarity` compares the sets
as the model was trained to, and doesn't depend on the order of the slots.
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from prolip.config import SlotsConfig
from prolip.gaussian import Gaussian

ONE_SLOT = SlotsConfig()


def set_similarity(a: Gaussian, b: Gaussian, slots: SlotsConfig) -> Float[Array, "n m"]:
    """Similarity of all pairs of sets: the cosine where there is one slot.

    max: max_kl c_kl, with c_kl the cosine of slot k of one and slot l of the other.
    smooth_chamfer: 1/(2 alpha K) [sum_k log sum_l e^(alpha c_kl) + sum_l log sum_k e^(alpha c_kl)].

    Args:
      a: N points of a model with slots, by its `encode_image` or `encode_text`.
      b: M points.
      slots: `model.config.slots`.

    Source: PVSE, arXiv 1906.04402; smooth Chamfer similarity, Kim et al., arXiv 2211.16761.
    """
    return mean_set_similarity(a.mean, b.mean, slots)


def mean_set_similarity(
    a: Float[ArrayLike, "n dim"], b: Float[ArrayLike, "m dim"], slots: SlotsConfig
) -> Float[Array, "n m"]:
    """`set_similarity` of arrays; as many of the size of the pairs are alive as there are slots."""
    wide = [x.astype(jnp.promote_types(x.dtype, jnp.float32)) for x in map(jnp.asarray, (a, b))]
    if slots.count == 1:
        return jnp.matmul(wide[0], wide[1].T, precision=jax.lax.Precision.HIGHEST)
    # Slots first: a last dimension of two to four would be filled up to a whole register.
    left, right = (_slots(x, slots) for x in wide)
    best = by_left = by_right = None
    for slot in left:
        cosine = slots.count * jnp.einsum(
            "nd,kmd->knm", slot, right, precision=jax.lax.Precision.HIGHEST
        )
        if slots.similarity == "max":
            nearest = cosine.max(0)
            best = nearest if best is None else jnp.maximum(best, nearest)
            continue
        scaled = slots.alpha * cosine
        nearest = jax.nn.logsumexp(scaled, 0)
        by_left = nearest if by_left is None else by_left + nearest
        by_right = scaled if by_right is None else jnp.logaddexp(by_right, scaled)
    if best is not None:
        return best
    assert by_left is not None and by_right is not None
    return (by_left + by_right.sum(0)) / (2 * slots.alpha * slots.count)


def unit_slots(mean: Float[Array, "rows slots dim"]) -> Float[Array, "rows slots dim"]:
    """Slots of length 1 / sqrt(K), so that all of them together are of unit length."""
    norm = jnp.sqrt(jnp.maximum((mean**2).sum(-1, keepdims=True), 1e-24))
    return mean / (norm * mean.shape[-2] ** 0.5)


def _slots(x: jax.Array, slots: SlotsConfig) -> Float[Array, "slots rows dim"]:
    if x.shape[-1] % slots.count:
        raise ValueError(f"{x.shape[-1]} dimensions are no {slots.count} slots of the same size")
    return jnp.moveaxis(x.reshape(len(x), slots.count, -1), 1, 0)
