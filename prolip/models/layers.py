"""The parts of a transformer block, each with its layout over the mesh."""

import jax
import jax.numpy as jnp
from flax import nnx
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float

from prolip import sharding
from prolip.config import Activation, AttentionKernel
from prolip.models.attention import attend
from prolip.sharding import spec


class Attention(nnx.Module):
    """Self-attention over all positions, without a mask."""

    def __init__(
        self,
        width: int,
        num_heads: int,
        *,
        depth: int,
        kernel: AttentionKernel,
        dtype,
        rngs: nnx.Rngs,
    ):
        self.kernel = kernel
        head_dim = width // num_heads

        def project() -> nnx.Einsum:
            # Three products, each split over heads, not one fused kernel that is cut apart after.
            return nnx.Einsum(
                "bld,dnh->blnh",
                (width, num_heads, head_dim),
                (num_heads, head_dim),
                dtype=dtype,
                kernel_init=sharding.init("weight_embed", "heads", "head_dim"),
                bias_init=sharding.zeros("heads", "head_dim"),
                rngs=rngs,
            )

        self.query, self.key, self.value = project(), project(), project()
        self.out = nnx.Einsum(
            "blnh,nhd->bld",
            (num_heads, head_dim, width),
            (width,),
            dtype=dtype,
            # Residual branches of a deep stack add up to the variance of one.
            kernel_init=sharding.init(
                "heads", "head_dim", "weight_embed", inputs=2, scale=1 / (2 * depth)
            ),
            bias_init=sharding.zeros("embed"),
            rngs=rngs,
        )

    def __call__(self, x: Float[Array, "batch length embed"]):
        heads = spec("batch", "length", "heads", "head_dim")
        query, key, value = (f(x, out_sharding=heads) for f in (self.query, self.key, self.value))
        x = checkpoint_name(attend(query, key, value, self.kernel), "attended")
        return self.out(x, out_sharding=spec("batch", "length", "embed"))


class Mlp(nnx.Module):
    """Two products with an activation between them."""

    def __init__(
        self, width: int, mlp_dim: int, activation: Activation, *, depth: int, dtype, rngs: nnx.Rngs
    ):
        self.activation = activation
        self.up = nnx.Linear(
            width,
            mlp_dim,
            dtype=dtype,
            kernel_init=sharding.init("weight_embed", "mlp"),
            bias_init=sharding.zeros("mlp"),
            rngs=rngs,
        )
        self.down = nnx.Linear(
            mlp_dim,
            width,
            dtype=dtype,
            kernel_init=sharding.init("mlp", "weight_embed", scale=1 / (2 * depth)),
            bias_init=sharding.zeros("embed"),
            rngs=rngs,
        )

    def __call__(self, x: Float[Array, "batch length embed"]):
        # Names for the remat policies of `transformer`.
        x = checkpoint_name(self.up(x, out_sharding=spec("batch", "length", "mlp")), "hidden")
        x = activate(x, self.activation)
        return self.down(x, out_sharding=spec("batch", "length", "embed"))


class Block(nnx.Module):
    """Pre-norm transformer block."""

    def __init__(
        self,
        width: int,
        num_heads: int,
        mlp_dim: int,
        activation: Activation,
        norm_eps: float,
        *,
        depth: int,
        kernel: AttentionKernel,
        dtype,
        rngs: nnx.Rngs,
    ):
        self.norm_attention = nnx.LayerNorm(width, epsilon=norm_eps, dtype=dtype, rngs=rngs)
        self.attention = Attention(
            width, num_heads, depth=depth, kernel=kernel, dtype=dtype, rngs=rngs
        )
        self.norm_mlp = nnx.LayerNorm(width, epsilon=norm_eps, dtype=dtype, rngs=rngs)
        self.mlp = Mlp(width, mlp_dim, activation, depth=depth, dtype=dtype, rngs=rngs)

    def __call__(self, x: Float[Array, "batch length embed"]):
        x = x + self.attention(self.norm_attention(x))
        return x + self.mlp(self.norm_mlp(x))


def activate(x: jax.Array, activation: Activation) -> jax.Array:
    """Exact GELU, or the sigmoid form of early CLIP models.

    By `erf`, as PyTorch has it; `jax.nn.gelu` calls `erfc`, which takes several times as long. The
    difference, 1e-6 at most in float32, is in the rounding of values that are nearly zero.
    """
    if activation == "quick_gelu":
        return x * jax.nn.sigmoid(jnp.asarray(1.702, x.dtype) * x)
    return x * (0.5 * jax.lax.erf(x * jnp.asarray(2**-0.5, x.dtype)) + 0.5)
