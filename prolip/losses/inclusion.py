"""Inclusion loss: the specific lies inside the general."""

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from prolip.gaussian import Gaussian, inclusion_terms


def inclusion(
    inner: Gaussian,
    outer: Gaussian,
    scale: float = 1000.0,
    eps: float = -20.0,
    form: Literal["exact", "released"] = "exact",
    rows: Bool[Array, " rows"] | None = None,
) -> Float[Array, ""]:
    """Asks that row i of `inner` lies inside row i of `outer`.

    Mean over rows and dimensions of -log sigmoid(scale h), with h the inclusion test of one
    dimension: log of (integral of p_inner^2 p_outer / integral of p_inner p_outer^2).

    Args:
      inner: B Gaussians, [B, D]: images, or originals.
      outer: B Gaussians, [B, D]: their texts, or their masked views.
      scale: steepness; 1000 in the published runs, 10 for LongProLIP.
      eps: precisions are multiplied by exp(eps); -20 in the published runs, -100 for LongProLIP.
      form: "released" doubles the normalisers, as the published checkpoints were trained.
      rows: [B] which rows count; all if it is not given, and the loss is 0 if none does.

    Source: ProLIP, arXiv 2410.18857, section 3.3; naver-ai/prolip `src/prolip/loss.py`.
    """
    h = inclusion_terms(inner.mean, inner.log_var, outer.mean, outer.log_var, eps=eps, form=form)
    losses = -jax.nn.log_sigmoid(scale * h).mean(-1)
    if rows is None:
        return losses.mean()
    return jnp.where(rows, losses, 0).sum() / jnp.maximum(rows.sum(), 1)
