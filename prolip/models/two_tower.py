"""Both towers and the two scalars of the logit, as pure functions of a dictionary of arrays."""

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import AbstractMesh

from prolip import sharding
from prolip.config import ConfigError, ModelConfig
from prolip.gaussian import Gaussian
from prolip.models.text import TextTower
from prolip.models.vit import ImageTower

Params = dict[str, Any]
# Of a ModelConfig: how a model is computed or was initialised, not what its parameters mean.
FREE = (
    *("dtype", "attention", "remat", "block_rows", "text_block_rows", "unroll"),
    *("logit_scale_init", "logit_bias_init", "log_var_init"),
)


class View(NamedTuple):
    """Images and texts that go through the towers together, row by row."""

    images: jax.Array  # [B, H, W, 3].
    tokens: jax.Array  # [B, L].
    keep: jax.Array | None = None  # The patches of a masked view; None: all.


class _Towers(nnx.Module):
    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        self.image = ImageTower(config, rngs=rngs)
        self.text = TextTower(config, rngs=rngs)
        # Explicit dtypes: a weakly typed scalar would compile the train step three times.
        scale = math.log(config.logit_scale_init)
        self.log_logit_scale = nnx.Param(jnp.asarray(scale, jnp.float32))
        self.logit_bias = nnx.Param(jnp.asarray(config.logit_bias_init, jnp.float32))


@dataclasses.dataclass(frozen=True)
class TwoTower:
    """Functions of the parameters; run them under the mesh (`jax.set_mesh`)."""

    config: ModelConfig
    graphdef: Any

    def init(self, key: jax.Array) -> Params:
        """Parameters, float32, as a nested dictionary."""
        towers = _Towers(self.config, rngs=nnx.Rngs(key))
        return nnx.to_pure_dict(nnx.state(towers, nnx.Param))

    def image(self, params: Params, images: jax.Array, keep: jax.Array | None = None) -> Gaussian:
        """Normalised pixels [B, H, W, 3] to Gaussians; `keep`: the patches of a masked view."""
        return nnx.merge(self.graphdef, params).image(images, keep)

    def text(self, params: Params, tokens: jax.Array) -> Gaussian:
        """Token ids [B, L] to Gaussians."""
        return nnx.merge(self.graphdef, params).text(tokens)

    def views(self, params: Params, views: Sequence[View]) -> list[tuple[Gaussian, Gaussian]]:
        """Several views, each of its own B, H, W and L, to their Gaussians, in one way through."""
        towers = nnx.merge(self.graphdef, params)
        images = towers.image.views([(view.images, view.keep) for view in views])
        texts = towers.text.views([view.tokens for view in views])
        return list(zip(images, texts, strict=True))


def build(config: ModelConfig) -> TwoTower:
    """The model of a configuration.

    Raises:
      ConfigError: sizes that don't fit together.
    """
    check(config)
    with sharding.some_mesh():
        return _build(config)


@functools.lru_cache(maxsize=64)  # Half a second, and a start asks half a dozen times.
def _build(config: ModelConfig) -> TwoTower:
    towers = jax.eval_shape(lambda: _Towers(config, rngs=nnx.Rngs(jax.random.key(0))))
    return TwoTower(config, nnx.graphdef(towers))


def abstract_params(config: ModelConfig, mesh: AbstractMesh | None = None) -> Params:
    """Shapes, dtypes and layouts of the parameters, without making them.

    Args:
      config: of the model.
      mesh: that lays them out; by default the one that is set, or one of a single device.

    Raises:
      ConfigError: sizes that don't fit together.
    """
    with sharding.some_mesh() if mesh is None else jax.sharding.use_abstract_mesh(mesh):
        shapes = _shapes(config, jax.sharding.get_abstract_mesh())
    return jax.tree.map(lambda x: x, shapes)  # Its own dictionaries: the others are kept.


@functools.lru_cache(maxsize=64)
def _shapes(config: ModelConfig, mesh: AbstractMesh) -> Params:
    del mesh  # It is set; the results are kept for each.
    return jax.eval_shape(lambda: build(config).init(jax.random.key(0)))


def check(config: ModelConfig) -> None:
    """Raises ConfigError where sizes don't fit together, or a dtype is not switched on."""
    image, text = config.image, config.text
    if config.dtype == "float64" and jax.dtypes.canonicalize_dtype("float64") != "float64":
        raise ConfigError(
            "config.model.dtype: float64 needs the environment variable JAX_ENABLE_X64=1"
        )
    if image.image_size % image.patch:
        raise ConfigError(
            f"config.model.image.patch: {image.patch} does not divide image_size {image.image_size}"
        )
    for name, tower in (("image", image), ("text", text)):
        if tower.width % tower.num_heads:
            raise ConfigError(
                f"config.model.{name}.num_heads: {tower.num_heads} does not divide "
                f"width {tower.width}"
            )
    if config.heads == "released" and text.width != config.embed_dim:
        raise ConfigError(
            "config.model.heads: the released wiring has text.width equal to embed_dim; "
            f"got {text.width} and {config.embed_dim}"
        )
    if config.slots.count > 1 and config.heads != "deterministic":
        raise ConfigError(
            f"config.model.slots.count: {config.slots.count} slots have no variances; set "
            f"config.model.heads=deterministic, not {config.heads}"
        )
