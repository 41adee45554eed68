"""Configuration to one optax transformation: clip, AdamW with a decay mask, schedule."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import optax

from prolip.config import ConfigError, OptimizerConfig

# Leaves with a matrix in them: norms, biases, extra tokens and the logit's scalars don't decay.
DECAYED = ("kernel", "embedding", "positions")


def make_optimizer(config: OptimizerConfig, total_steps: int) -> optax.GradientTransformation:
    """AdamW (arXiv 1711.05101) with decoupled decay on matrices only, clipped by global norm."""
    adamw = optax.adamw(
        schedule(config, total_steps),
        b1=config.b1,
        b2=config.b2,
        eps=config.eps,
        weight_decay=config.weight_decay,
        mask=decay_mask,
    )
    if config.grad_clip_norm > 0:
        return optax.chain(optax.clip_by_global_norm(config.grad_clip_norm), adamw)
    return adamw


def decay_mask(params: Any) -> Any:
    """True for the leaves that weight decay shrinks."""
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key in DECAYED, params)


def schedule(config: OptimizerConfig, total_steps: int) -> optax.Schedule:
    """Learning rate by step, counted from 0: linear warm-up, then the named form.

    cosine: to zero at `total_steps`. constant, rsqrt: then linear to zero over `cooldown_steps`.
    rsqrt: the peak times sqrt(warmup / step), with at least one step of warm-up (arXiv 2106.04560).

    Raises:
      ConfigError: warm-up and cooldown don't fit into the run.
    """
    warmup, cooldown = config.warmup_steps, config.cooldown_steps
    if config.schedule == "cosine" and cooldown:
        raise ConfigError("config.optimizer.cooldown_steps: a cosine schedule has no cooldown")
    if warmup + cooldown > total_steps:
        raise ConfigError(
            f"config.optimizer: warmup_steps {warmup} and cooldown_steps {cooldown} don't fit into "
            f"config.total_steps {total_steps}"
        )

    def learning_rate(step):
        step = jnp.asarray(step, jnp.float32)
        rising = (step + 1) / max(warmup, 1)
        if config.schedule == "cosine":
            part = jnp.clip((step - warmup) / max(total_steps - warmup, 1), 0, 1)
            falling = (1 + jnp.cos(math.pi * part)) / 2
        else:
            falling = jnp.ones(())
            if config.schedule == "rsqrt":
                falling = jnp.sqrt(max(warmup, 1) / jnp.maximum(step + 1, 1))
            if cooldown:
                falling *= jnp.clip((total_steps - step) / cooldown, 0, 1)
        return config.learning_rate * jnp.where(step < warmup, rising, falling)

    return learning_rate
