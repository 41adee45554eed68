"""Text tower: token ids to Gaussians."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from prolip import sharding
from prolip.config import ModelConfig
from prolip.gaussian import Gaussian
from prolip.models.heads import Head, deterministic, extra_tokens, log_var_head, normalize
from prolip.models.slots import local_slots
from prolip.models.transformer import Transformer
from prolip.sharding import spec


class TextTower(nnx.Module):
    """Transformer over tokens, [UNC] and [CLS], the two appended at the end.

    No causal mask and no padding mask. A text shorter than the context gives [UNC] and [CLS]
    earlier positions, as in the released code.

    mean = unit(mean_head(norm(CLS))). log_var is a linear map of norm(UNC); in the released wiring,
    of the mean before its normalisation (naver-ai/prolip `src/prolip/transformer.py`).
    """

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        tower, dtype = config.text, jnp.dtype(config.dtype)
        wide = jnp.promote_types(dtype, jnp.float32)
        self.heads, self.dtype, self.max_length = config.heads, dtype, tower.length
        num_extra = extra_tokens(config.heads)
        self.tokens = nnx.Embed(
            tower.vocab_size,
            tower.width,
            embedding_init=sharding.normal(0.02, "vocab", "weight_embed"),
            rngs=rngs,
        )
        self.extra = nnx.Param(
            sharding.normal(0.01, "length", "embed")(rngs.params(), (num_extra, tower.width))
        )
        self.positions = nnx.Param(
            sharding.normal(0.01, "length", "embed")(
                rngs.params(), (tower.length + num_extra, tower.width)
            )
        )
        self.transformer = Transformer(
            tower,
            remat=config.remat,
            unroll=config.unroll,
            block_rows=config.rows_of_texts,
            kernel=config.attention,
            dtype=dtype,
            rngs=rngs,
        )
        self.norm_final = nnx.LayerNorm(tower.width, epsilon=tower.norm_eps, dtype=wide, rngs=rngs)
        self.mean = Head(tower.width, config.embed_dim, dtype=wide, rngs=rngs)
        self.slots = local_slots(config, tower.width, dtype=wide, rngs=rngs)
        inputs = config.embed_dim if config.heads == "released" else tower.width
        self.log_var = log_var_head(config, inputs, dtype=wide, rngs=rngs)

    def __call__(self, tokens: Int[Array, "batch length"]) -> Gaussian:
        """Embeds token ids; a sequence may be shorter than the context, not longer."""
        return self.views([tokens])[0]

    def views(self, views: Sequence[jax.Array]) -> list[Gaussian]:
        """The same for several lists of texts, in one way through."""
        return [self._embedding(x) for x in self.transformer(*map(self._tokens, views))]

    def _tokens(self, tokens: jax.Array) -> jax.Array:
        if tokens.shape[1] > self.max_length:
            raise ValueError(f"{tokens.shape[1]} tokens exceed the context of {self.max_length}")
        # Gathered whole first: a look-up in a split table makes XLA replicate the activations.
        table = sharding.replicate(self.tokens.embedding[...]).astype(self.dtype)
        x = table.at[tokens].get(out_sharding=spec("batch", "length", "embed"))
        extra = self.extra[...].astype(self.dtype)
        x = jnp.concatenate([x, sharding.repeat_rows(extra, len(x))], axis=1)
        return x + self.positions[...][None, : x.shape[1]].astype(self.dtype)

    def _embedding(self, x: jax.Array) -> Gaussian:
        x = self.norm_final(x[:, -len(self.extra[...]) :] if self.slots is None else x)
        mean = self.mean(x[:, -1])
        if self.log_var is None:
            return deterministic(mean) if self.slots is None else self.slots(mean, x)
        # Of [UNC]; of [CLS] where there is no other.
        log_var = self.log_var(mean if self.heads == "released" else x[:, 0])
        return Gaussian(normalize(mean), log_var)


def masked(
    tokens: Int[Array, "batch length"],
    draws: Float[Array, "batch length"],
    *,
    drop: float,
    pad_id: int,
    mask_id: int,
) -> Int[Array, "batch length"]:
    """Replaces each token that isn't padding by `mask_id` where its draw is below `drop`."""
    return jnp.where((draws < drop) & (tokens != pad_id), mask_id, tokens)
