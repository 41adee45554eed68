"""Configuration to one optax transformation: clip, AdamW or Muon with a decay mask, schedule."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import optax
import optax.contrib

from prolip import sharding
from prolip.config import ConfigError, OptimizerConfig
from prolip.train.frozen import only_trained

# Leaves with a matrix in them: norms, biases, extra tokens and the logit's scalars don't decay.
DECAYED = ("kernel", "embedding", "positions")


def make_optimizer(config: OptimizerConfig, total_steps: int) -> optax.GradientTransformation:
    """AdamW or Muon with decoupled decay on matrices only, after clipping by global norm.

    Of what is not frozen: `frozen.only_trained`.
    """
    rate = schedule(config, total_steps)
    make = _muon if config.name == "muon" else _adamw
    optimizer = make(config, rate)
    if config.grad_clip_norm > 0:
        optimizer = _clipped(optimizer, config.grad_clip_norm)
    return only_trained(optimizer, config.frozen)


def _clipped(optimizer: optax.GradientTransformation, norm: float) -> optax.GradientTransformation:
    """`optimizer` on clipped gradients, with its own state alone: clipping may come and go."""
    clip = optax.clip_by_global_norm(norm)

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        updates, _ = clip.update(updates, optax.EmptyState(), params)
        return optimizer.update(updates, state, params)

    return optax.GradientTransformation(optimizer.init, update)


def _adamw(config: OptimizerConfig, rate: optax.Schedule) -> optax.GradientTransformation:
    return optax.adamw(
        rate,
        b1=config.b1,
        b2=config.b2,
        eps=config.eps,
        weight_decay=config.weight_decay,
        mask=decay_mask,
    )


def _muon(config: OptimizerConfig, rate: optax.Schedule) -> optax.GradientTransformation:
    """Muon on the matrices of the blocks, AdamW on everything else.

    Put together here because `optax.contrib.muon` decays norms and biases, and has Nesterov's
    momentum in its AdamW.
    """
    scale = config.muon_scale
    muon = optax.chain(
        optax.contrib.scale_by_muon(beta=config.muon_momentum, weight_dimension_numbers=matrices),
        optax.stateless(lambda updates, _: _as_large_as_adamw(updates)),
        # Both decay by learning_rate x weight_decay.
        optax.add_decayed_weights(config.weight_decay / scale),
        optax.scale_by_learning_rate(lambda step: scale * rate(step)),
    )
    both = optax.partition({"muon": muon, "adamw": _adamw(config, rate)}, _labels)

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        if sharding.no_mesh():
            return both.update(updates, state, params)
        # A matrix times itself sums over split dimensions: the compiler chooses their layout.
        layouts = jax.tree.map(lambda x: jax.typeof(x).sharding, (updates, state))
        return jax.sharding.auto_axes(both.update, out_sharding=layouts)(updates, state, params)

    return optax.GradientTransformation(both.init, update)


def matrices(params: Any) -> Any:
    """Which dimensions of a leaf are the two sides of a matrix; None for leaves that AdamW has.

    Kernels of blocks are stacked on a first dimension, and those of attention have heads and their
    width in the place of one side.
    """

    def sides(path: Any, _: Any) -> optax.contrib.MuonDimensionNumbers | None:
        names = [part.key for part in path]
        if "blocks" not in names or names[-1] != "kernel":
            return None
        if "attention" not in names:
            return optax.contrib.MuonDimensionNumbers((1,), (2,))
        if names[-2] == "out":
            return optax.contrib.MuonDimensionNumbers((1, 2), (3,))
        return optax.contrib.MuonDimensionNumbers((1,), (2, 3))

    return jax.tree_util.tree_map_with_path(sides, params)


def _labels(params: Any) -> Any:
    return jax.tree.map(
        lambda sides: "adamw" if sides is None else "muon", matrices(params), is_leaf=_is_sides
    )


def _as_large_as_adamw(updates: Any) -> Any:
    """Orthogonal matrices times 0.2 sqrt(longer side): entries of 0.2 on average, as AdamW's.

    Source: arXiv 2502.16982, section 2.2.
    """

    def scaled(sides: optax.contrib.MuonDimensionNumbers, update: jax.Array) -> jax.Array:
        lengths = [
            math.prod(update.shape[i] for i in axes)
            for axes in (sides.reduction_axis, sides.output_axis)
        ]
        return 0.2 * math.sqrt(max(lengths)) * update

    return jax.tree.map(scaled, matrices(updates), updates, is_leaf=_is_sides)


def _is_sides(x: Any) -> bool:
    return x is None or isinstance(x, optax.contrib.MuonDimensionNumbers)


def check(config: OptimizerConfig, total_steps: int) -> None:
    """Raises ConfigError where options don't fit together, or into the run."""
    warmup, cooldown = config.warmup_steps, config.cooldown_steps
    if config.schedule == "cosine" and cooldown:
        raise ConfigError("config.optimizer.cooldown_steps: a cosine schedule has no cooldown")
    if warmup + cooldown > total_steps:
        raise ConfigError(
            f"config.optimizer: warmup_steps {warmup} and cooldown_steps {cooldown} don't fit into "
            f"config.total_steps {total_steps}"
        )


def decay_mask(params: Any) -> Any:
    """True for the leaves that weight decay shrinks."""
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key in DECAYED, params)


def schedule(config: OptimizerConfig, total_steps: int) -> optax.Schedule:
    """Learning rate by step, counted from 0: linear warm-up, then the named form.

    cosine: to zero at `total_steps`. constant, rsqrt: then linear to zero over `cooldown_steps`.
    rsqrt: the peak times sqrt(warmup / step), with at least one step of warm-up (arXiv 2106.04560).
    """
    warmup, cooldown = config.warmup_steps, config.cooldown_steps

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


def rate_change(
    saved: OptimizerConfig, saved_steps: int, ours: OptimizerConfig, total_steps: int, step: int
) -> str:
    """Says how changed options move the learning rate at a resume; "" where they don't.

    Args:
      saved: options that the checkpoint was trained with.
      saved_steps: `total_steps` at that time.
      ours: options of this start.
      total_steps: of this start.
      step: steps done.
    """
    last = max(step - 1, 0)
    before, after = (
        float(schedule(config, steps)(last))
        for config, steps in ((saved, saved_steps), (ours, total_steps))
    )
    if math.isclose(before, after, rel_tol=1e-3, abs_tol=1e-3 * ours.learning_rate):
        return ""
    following = float(schedule(ours, total_steps)(step))
    return (
        f"the learning rate was {before:.3g} at step {step} and goes on with {following:.3g}: its "
        "schedule has changed"
    )
