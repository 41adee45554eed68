"""Softmax attention: as products that run everywhere, or as one kernel of cuDNN."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from prolip import sharding
from prolip.config import AttentionKernel, ConfigError, ModelConfig
from prolip.sharding import spec

MAX_HEAD_DIM = 128  # Of cuDNN's kernel, on all of the GPUs that it runs on.


def attend(
    query: jax.Array, key: jax.Array, value: jax.Array, kernel: AttentionKernel = "einsum"
) -> jax.Array:
    """Softmax attention over [batch, length, heads, head_dim].

    "einsum": in bfloat16 the logits and their softmax are as well, as in big_vision: they are the
    largest arrays of a block, and what is moved most. Sums are in float32.

    "cudnn": logits are never written to memory, and the backward pass makes them again; for NVIDIA
    GPUs and bfloat16, see `check_kernel`.
    """
    if kernel == "cudnn":
        return per_shard(query, key, value, "cudnn")
    if query.dtype == jnp.float32:
        return jax.nn.dot_product_attention(query, key, value)
    # The library function has its logits in float32, whatever it is given.
    # A scale in bfloat16 would be off by up to 0.4 %.
    wide = jnp.promote_types(query.dtype, jnp.float32)
    query = (query.astype(wide) * query.shape[-1] ** -0.5).astype(query.dtype)
    logits = jnp.einsum("bqnh,bknh->bnqk", query, key)
    return jnp.einsum("bnqk,bknh->bqnh", jax.nn.softmax(logits), value)


def per_shard(query: jax.Array, key: jax.Array, value: jax.Array, implementation: Any) -> jax.Array:
    """The library function on the rows and heads of each device by itself.

    A kernel is opaque to the compiler, which would otherwise gather what it can't split.
    """
    run = functools.partial(jax.nn.dot_product_attention, implementation=implementation)
    if sharding.no_mesh():
        return run(query, key, value)
    heads = spec("batch", "length", "heads", "head_dim")
    # A kernel does not say over which axes its result varies.
    split = jax.shard_map(run, in_specs=(heads,) * 3, out_specs=heads, check_vma=False)
    return split(query, key, value)


def check_kernel(config: ModelConfig, platform: str) -> None:
    """Raises ConfigError where the kernel does not run: on this platform, dtype or size of heads.

    Args:
      config: of both towers.
      platform: of the devices that will run it, as JAX names it.
    """
    if config.attention != "cudnn":
        return
    name = "config.model.attention: cudnn"
    if platform not in ("gpu", "cuda"):
        raise ConfigError(f"{name} runs on NVIDIA GPUs, not on {platform}; einsum runs everywhere")
    if config.dtype != "bfloat16":
        raise ConfigError(f"{name} needs config.model.dtype bfloat16, not {config.dtype}")
    for tower, sizes in (("image", config.image), ("text", config.text)):
        head_dim = sizes.width // sizes.num_heads
        if head_dim > MAX_HEAD_DIM or head_dim % 8:
            raise ConfigError(
                f"{name} needs heads of a multiple of 8 and at most {MAX_HEAD_DIM} dimensions; "
                f"those of config.model.{tower} have {head_dim}"
            )
