"""Last linear maps of a tower, in float32 at least, whatever the towers compute in."""

import jax
import jax.numpy as jnp
from flax import nnx

from prolip import sharding
from prolip.gaussian import Gaussian
from prolip.sharding import spec


class Head(nnx.Module):
    """Linear map from a token to the embedding, in `dtype`."""

    def __init__(
        self,
        width: int,
        embed_dim: int,
        *,
        use_bias: bool = True,
        bias_init: float = 0.0,
        dtype,
        rngs: nnx.Rngs,
    ):
        self.linear = nnx.Linear(
            width,
            embed_dim,
            use_bias=use_bias,
            dtype=dtype,
            kernel_init=sharding.init("weight_embed", "dim"),
            bias_init=nnx.initializers.constant(bias_init, jnp.float32),
            rngs=rngs,
        )

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.linear(x, out_sharding=spec("batch", "dim"))


def normalize(mean: jax.Array) -> jax.Array:
    """Rows to unit length; a row of zeros stays, as in the released code (its eps is 1e-12)."""
    norm = jnp.sqrt(jnp.maximum((mean**2).sum(-1, keepdims=True), 1e-24))
    return mean / norm


def deterministic(mean: jax.Array) -> Gaussian:
    """A point: variance zero."""
    return Gaussian(normalize(mean), jnp.full_like(mean, -jnp.inf))
