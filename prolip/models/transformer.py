"""A stack of equal blocks: built by `vmap`, run by `scan`, compiled once whatever the depth."""

import jax
from flax import nnx
from jaxtyping import Array, Float

from prolip.config import ImageTowerConfig, Remat, TextTowerConfig
from prolip.models.layers import Block

# What the backward pass keeps of a block. "dots": the products, which are dear to make again.
# "hidden": of them those that cost most for their size; where memory is slower than products, as on
# TPUs, the rest is made again sooner than read.
POLICIES = {
    "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
    "hidden": jax.checkpoint_policies.save_only_these_names("hidden", "attended"),
    "full": None,
}


class Transformer(nnx.Module):
    """`depth` pre-norm blocks with their parameters stacked on a first axis."""

    def __init__(
        self,
        config: ImageTowerConfig | TextTowerConfig,
        *,
        remat: Remat,
        unroll: int,
        dtype,
        rngs: nnx.Rngs,
    ):
        self.remat, self.unroll = remat, unroll

        def block(key: jax.Array) -> Block:
            return Block(
                config.width,
                config.num_heads,
                config.mlp_dim,
                config.activation,
                config.norm_eps,
                depth=config.depth,
                dtype=dtype,
                rngs=nnx.Rngs(key),
            )

        self.blocks = jax.vmap(block)(jax.random.split(rngs.params(), config.depth))

    def __call__(self, x: Float[Array, "batch length embed"]):
        def step(x, block):
            return block(x), None

        if self.remat != "none":
            step = jax.checkpoint(step, prevent_cse=False, policy=POLICIES[self.remat])
        x, _ = jax.lax.scan(step, x, self.blocks, unroll=self.unroll)
        return x
