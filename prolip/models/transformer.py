"""A stack of equal blocks: built by `vmap`, run by `scan`, compiled once whatever the depth."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from prolip import sharding
from prolip.config import AttentionKernel, ImageTowerConfig, Remat, TextTowerConfig
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
        block_rows: int = 0,
        kernel: AttentionKernel = "einsum",
        dtype,
        rngs: nnx.Rngs,
    ):
        self.remat, self.unroll, self.block_rows = remat, unroll, block_rows

        def block(key: jax.Array) -> Block:
            return Block(
                config.width,
                config.num_heads,
                config.mlp_dim,
                config.activation,
                config.norm_eps,
                depth=config.depth,
                kernel=kernel,
                dtype=dtype,
                rngs=nnx.Rngs(key),
            )

        self.blocks = jax.vmap(block)(jax.random.split(rngs.params(), config.depth))

    def __call__(self, *views: Float[Array, "_ _ embed"]) -> tuple[jax.Array, ...]:
        """Runs views of any number of rows and lengths through the blocks, side by side.

        In one scan, the gradient of a block is the sum over all views before it leaves the loop.
        """
        run = Block.__call__
        if self.remat != "none":
            run = jax.checkpoint(run, prevent_cse=False, policy=POLICIES[self.remat])

        def step(views, block):
            # Written out, not a loop: what is kept for the backward pass is then copied once.
            return [[run(block, part) for part in parts] for parts in views], None

        parts = [self._split(x) for x in views]
        parts, _ = jax.lax.scan(step, parts, self.blocks, unroll=self.unroll)
        return tuple(sharding.merge_rows(jnp.stack(p)) if len(p) > 1 else p[0] for p in parts)

    def _split(self, x: jax.Array) -> list[jax.Array]:
        count = num_parts(len(x), self.block_rows)
        return list(sharding.split_rows(x, count)) if count > 1 else [x]


def num_parts(num_rows: int, block_rows: int) -> int:
    """Parts of so many rows of a device that a batch has; 1 where they don't divide."""
    return own_parts(
        num_rows if sharding.no_mesh() else num_rows // sharding.batch_shards(), block_rows
    )


def own_parts(own_rows: int, block_rows: int) -> int:
    """The same for the rows of one device."""
    return own_rows // block_rows if block_rows and own_rows % block_rows == 0 else 1
