"""Image tower: normalised pixels to Gaussians."""

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


class ImageTower(nnx.Module):
    """Vision transformer over [CLS], [UNC] and patches, without a patch bias (arXiv 2010.11929).

    mean = unit(mean_head(norm(CLS))), log_var = log_var_head(norm(UNC)). The released wiring
    applies the final norm once more to CLS (naver-ai/prolip `src/prolip/transformer.py`).
    """

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        tower, dtype = config.image, jnp.dtype(config.dtype)
        wide = jnp.promote_types(dtype, jnp.float32)
        self.heads, self.patch, self.dtype = config.heads, tower.patch, dtype
        grid = tower.image_size // tower.patch
        num_extra = extra_tokens(config.heads)
        scale = tower.width**-0.5
        self.embed = nnx.Linear(
            tower.patch * tower.patch * 3,
            tower.width,
            use_bias=False,
            dtype=dtype,
            kernel_init=sharding.init("pixels", "weight_embed"),
            rngs=rngs,
        )
        self.extra = nnx.Param(
            sharding.normal(scale, "length", "embed")(rngs.params(), (num_extra, tower.width))
        )
        self.positions = nnx.Param(
            sharding.normal(0.5, "length", "embed")(
                rngs.params(), (num_extra + grid * grid, tower.width)
            )
        )
        self.norm_pre = nnx.LayerNorm(tower.width, epsilon=tower.norm_eps, dtype=dtype, rngs=rngs)
        self.transformer = Transformer(
            tower,
            remat=config.remat,
            unroll=config.unroll,
            block_rows=config.block_rows,
            kernel=config.attention,
            dtype=dtype,
            rngs=rngs,
        )
        self.norm_post = nnx.LayerNorm(tower.width, epsilon=tower.norm_eps, dtype=wide, rngs=rngs)
        self.mean = Head(tower.width, config.embed_dim, use_bias=False, dtype=wide, rngs=rngs)
        self.slots = local_slots(config, tower.width, dtype=wide, rngs=rngs)
        self.log_var = log_var_head(config, tower.width, dtype=wide, rngs=rngs)

    def __call__(
        self,
        images: Float[Array, "batch height width 3"],
        keep: Int[Array, " kept"] | None = None,
    ) -> Gaussian:
        """Embeds images; `keep` lists, in order, the patches that a masked view has."""
        return self.views([(images, keep)])[0]

    def views(self, views: Sequence[tuple[jax.Array, jax.Array | None]]) -> list[Gaussian]:
        """The same for several lists of images, each with its `keep`, in one way through."""
        tokens = [self._tokens(images, keep) for images, keep in views]
        return [self._embedding(x) for x in self.transformer(*tokens)]

    def _tokens(self, images: jax.Array, keep: jax.Array | None) -> jax.Array:
        x = self.embed(patches(images, self.patch), out_sharding=spec("batch", "length", "embed"))
        positions = self.positions[...].astype(self.dtype)
        num_extra = len(self.extra[...])
        x = x + positions[None, num_extra:]
        if keep is not None:
            x = jnp.take(x, keep, axis=1)
        extra = self.extra[...].astype(self.dtype) + positions[:num_extra]
        return self.norm_pre(jnp.concatenate([sharding.repeat_rows(extra, len(x)), x], axis=1))

    def _embedding(self, x: jax.Array) -> Gaussian:
        x = self.norm_post(x[:, : len(self.extra[...])] if self.slots is None else x)
        cls = x[:, 0]
        mean = self.mean(self.norm_post(cls) if self.heads == "released" else cls)
        if self.log_var is None:
            return deterministic(mean) if self.slots is None else self.slots(mean, x)
        return Gaussian(normalize(mean), self.log_var(x[:, -1]))


def patches(images: jax.Array, patch: int) -> Float[jax.Array, "batch length pixels"]:
    """Cuts images into patches, row by row; a patch is (height, width, channel) flattened."""
    batch, height, width, channels = images.shape
    if height % patch or width % patch:
        raise ValueError(f"images of {height} x {width} do not divide into patches of {patch}")
    rows, columns = height // patch, width // patch
    x = sharding.reshape(
        images, (batch, rows, patch, columns, patch, channels), "batch", *5 * ("pixels",)
    )
    x = x.transpose(0, 1, 3, 2, 4, 5)
    return sharding.reshape(
        x, (batch, rows * columns, patch * patch * channels), "batch", "length", "pixels"
    )
