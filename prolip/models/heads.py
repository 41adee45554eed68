"""Last maps of a tower, in float32 at least, whatever the towers compute in."""

import jax
import jax.numpy as jnp
from flax import nnx

from prolip import sharding
from prolip.config import Heads, ModelConfig
from prolip.gaussian import Gaussian
from prolip.models.layers import activate
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


class Adapter(nnx.Module):
    """log_var = head(gelu(hidden(CLS))): what a finished point model says of its own certainty.

    CLS is the token that the mean is a linear map of. After ProbVLM (arXiv 2307.00398), whose
    layers begin with the embedding; the token before knows what the projection drops.
    """

    def __init__(self, width: int, embed_dim: int, *, bias_init: float, dtype, rngs: nnx.Rngs):
        self.hidden = Head(width, width, dtype=dtype, rngs=rngs)
        self.head = Head(width, embed_dim, bias_init=bias_init, dtype=dtype, rngs=rngs)

    def __call__(self, cls: jax.Array) -> jax.Array:
        # A wall, so that the compiler makes the mean as if there were nothing beside it.
        return self.head(activate(self.hidden(jax.lax.optimization_barrier(cls)), "gelu"))


def log_var_head(
    config: ModelConfig, width: int, *, dtype, rngs: nnx.Rngs
) -> Head | Adapter | None:
    """What makes log_var of a token of `width` dimensions; None for points."""
    if config.heads == "deterministic":
        return None
    kind = Adapter if config.heads == "adapter" else Head
    return kind(width, config.embed_dim, bias_init=config.log_var_init, dtype=dtype, rngs=rngs)


def extra_tokens(heads: Heads) -> int:
    """Tokens of a tower besides those of its input: [CLS] and, unless the variance is of it or
    there is none, [UNC]."""
    return 1 if heads in ("deterministic", "adapter") else 2


def normalize(mean: jax.Array) -> jax.Array:
    """Rows to unit length; a row of zeros stays, as in the released code (its eps is 1e-12)."""
    norm = jnp.sqrt(jnp.maximum((mean**2).sum(-1, keepdims=True), 1e-24))
    return mean / norm


def deterministic(mean: jax.Array) -> Gaussian:
    """A point: variance zero."""
    return Gaussian(normalize(mean), jnp.full_like(mean, -jnp.inf))
