"""Variational information bottleneck: keeps variances from collapsing."""

from typing import Literal

import jax.numpy as jnp
from jaxtyping import Array, Float

from prolip.gaussian import Gaussian
from prolip.losses.pairwise import wide


def bottleneck(
    gaussian: Gaussian, form: Literal["exact", "released"] = "exact"
) -> Float[Array, ""]:
    """KL(N(mean, variance) || N(0, I)), averaged over rows and dimensions, in nats.

    exact: (variance + mean^2 - 1 - log variance) / 2. `released` has the deviation and its log in
    the place of the variance and its log, as naver-ai/prolip `src/prolip/loss.py` does.

    Source: ProLIP, arXiv 2410.18857, section 3.2 (VIB term).
    """
    mean, log_var = map(wide, gaussian)
    log_var = log_var if form == "exact" else log_var / 2
    return (jnp.exp(log_var) + mean**2 - 1 - log_var).mean() / 2
