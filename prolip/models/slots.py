"""Several unit vectors of one image or text: its global feature beside what each head looks at."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from prolip import sharding
from prolip.config import ModelConfig, SlotsConfig
from prolip.gaussian import Gaussian
from prolip.sharding import spec
from prolip.slot_similarity import unit_slots


class Slots(nnx.Module):
    """slot_k = unit(norm(global) + norm(P_k sum_t a_kt x_t)), one after the other.

    Weights of the tokens: a_k = softmax_t(w_k . tanh(W x_t)), arXiv 1703.03130. All tokens count,
    padding too, as in the blocks of the towers.

    PVSE (arXiv 1906.04402) has norm(global + sigmoid(P ...)) with one P for all slots. There the
    global feature outweighs the rest, and slots begin as nearly the same vector: what is looked at
    differs little before training. Norms of both sides are of Kim et al., arXiv 2211.16761.
    """

    def __init__(self, width: int, embed_dim: int, slots: SlotsConfig, *, dtype, rngs: nnx.Rngs):
        def linear(inputs: int, outputs: int, *dims: str) -> nnx.Linear:
            kernel_init = sharding.init(*dims)
            return nnx.Linear(
                inputs, outputs, use_bias=False, dtype=dtype, kernel_init=kernel_init, rngs=rngs
            )

        self.count = slots.count
        self.hidden = linear(width, width // 2, "weight_embed", "dim")
        self.weights = linear(width // 2, slots.count, "embed", "dim")
        self.project = nnx.Einsum(
            "bke,ekd->bkd",
            (width, slots.count, embed_dim),
            (slots.count, embed_dim),
            dtype=dtype,
            kernel_init=sharding.init("weight_embed", "length", "dim"),
            bias_init=sharding.zeros("length", "dim"),
            rngs=rngs,
        )
        self.norm_global = nnx.LayerNorm(embed_dim, dtype=dtype, rngs=rngs)
        self.norm_local = nnx.LayerNorm(embed_dim, dtype=dtype, rngs=rngs)

    def __call__(
        self, feature: Float[Array, "batch dim"], tokens: Float[Array, "batch length embed"]
    ) -> Gaussian:
        """Points of the slots, [batch, slots * dim], of the global feature and all tokens."""
        by_token = spec("batch", "length", "dim")
        hidden = jnp.tanh(self.hidden(tokens, out_sharding=by_token))
        weights = jax.nn.softmax(self.weights(hidden, out_sharding=by_token), axis=1)
        pooled = jnp.einsum("blk,ble->bke", weights, tokens)
        local = self.norm_local(self.project(pooled, out_sharding=by_token))
        slots = unit_slots(self.norm_global(feature)[:, None] + local)
        mean = sharding.reshape(slots, (len(slots), self.count * slots.shape[-1]), "batch", "dim")
        return Gaussian(mean, jnp.full_like(mean, -jnp.inf))


def local_slots(config: ModelConfig, width: int, *, dtype, rngs: nnx.Rngs) -> Slots | None:
    """Slots over the tokens of a tower; None where an embedding is one vector."""
    if config.slots.count == 1:
        return None
    return Slots(width, config.embed_dim, config.slots, dtype=dtype, rngs=rngs)
