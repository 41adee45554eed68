"""One training step: a pure function from state and batch to state and metrics."""

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from prolip import sharding
from prolip.config import ConfigError, TrainConfig
from prolip.data.image import normalize
from prolip.data.records import Batch
from prolip.gaussian import Gaussian
from prolip.losses.check import check as check_objective
from prolip.losses.check import check_frozen
from prolip.losses.objective import Embeddings, objective
from prolip.models.attention import check_kernel
from prolip.models.text import masked
from prolip.models.two_tower import TwoTower, View
from prolip.sharding import spec
from prolip.train import accumulate, frozen
from prolip.train.mixup import mixup
from prolip.train.state import TrainState, at_step

Metrics = dict[str, jax.Array]
Mesh = jax.sharding.Mesh | jax.sharding.AbstractMesh


class TextIds(NamedTuple):
    """Ids of the tokenizer that masking needs."""

    pad: int
    mask: int


def make_train_step(
    model: TwoTower,
    optimizer: optax.GradientTransformation,
    learning_rate: optax.Schedule,
    config: TrainConfig,
    text_ids: TextIds,
) -> "TrainStep":
    """The jitted step; it takes the state's memory for its result (donation)."""

    @functools.partial(jax.jit, donate_argnames="state")
    def train_step(state: TrainState, batch: Batch, seed: jax.Array) -> tuple[TrainState, Metrics]:
        key = jax.random.fold_in(jax.random.wrap_key_data(seed), state.step)
        (loss, metrics), grads = loss_and_grads(model, config, text_ids, state.params, batch, key)
        grad_norm = optax.tree.norm(grads)
        # On the raw gradients: clipping would spread one bad number over all.
        finite = jnp.isfinite(loss) & jnp.isfinite(grad_norm)
        before = at_step(state.opt_state, state.step)
        updates, opt_state = optimizer.update(grads, before, state.params)
        trained, rest = frozen.split(state.params, config.optimizer.frozen)
        params = clip_scale(optax.apply_updates(trained, updates), config.optimizer.max_logit_scale)
        # A choice, not a product with zero, which would keep NaN.
        keep = functools.partial(jax.tree.map, lambda new, old: jnp.where(finite, new, old))
        new = TrainState(
            state.step + 1,
            frozen.merge(keep(params, trained), rest),
            at_step(keep(opt_state, before), state.step + 1),
        )
        metrics |= {
            "loss": loss,
            "grad_norm": grad_norm,
            "learning_rate": learning_rate(state.step),
            "logit_scale": jnp.exp(state.params["log_logit_scale"]),
            "logit_bias": state.params["logit_bias"],
            "finite": finite,
            "samples_digest": digest(batch),
        }
        return new, metrics

    return TrainStep(train_step, config.seed)


class TrainStep:
    """The jitted step with its seed, which is data: runs of other seeds are the same program."""

    def __init__(self, step: Any, seed: int):
        self.jitted = step
        self._seed = np.asarray(jax.random.key_data(jax.random.key(seed)))

    def __call__(self, state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        return self.jitted(state, batch, self._seed)

    def trace(self, state: Any, batch: Any) -> Any:
        """The step traced for arguments of these shapes and layouts, to be lowered."""
        return self.jitted.trace(state, batch, self._seed)


def loss_and_grads(
    model: TwoTower,
    config: TrainConfig,
    text_ids: TextIds,
    params: Any,
    batch: Batch,
    key: jax.Array,
) -> tuple[tuple[jax.Array, Metrics], Any]:
    """Loss of the global batch, its metrics, and the gradient of what is trained."""
    goal = config.objective
    images = normalize(batch.image, config.data.mean, config.data.std)
    weight = None
    if config.data.augment.mixup:
        images, weight = mixup(images, jax.random.fold_in(key, 1), config.data.augment.mixup)
    views = [View(images, batch.text)]
    if goal.inclusion_masked:
        # Not of `key` itself: its halves are what folding in 0 and 1 gives.
        keep_key, text_key = jax.random.split(jax.random.fold_in(key, 2))
        rows = jax.tree.map(functools.partial(every, stride=goal.mask_every), (images, batch.text))
        texts = _mask_texts(rows[1], text_key, goal.mask_text_drop, text_ids)
        views.append(View(rows[0], texts, kept_patches(keep_key, config)))
    passes = _passes(model, views, config)

    def loss(params: Any, found: Sequence[Sequence[tuple[Gaussian, Gaussian]]]):
        embeddings = [pair for pairs in found for pair in pairs]
        originals = masks = None
        if len(embeddings) == 2:
            originals = jax.tree.map(
                functools.partial(every, stride=goal.mask_every), embeddings[0]
            )
            masks = embeddings[1]
        return objective(
            goal,
            Embeddings(*embeddings[0], originals, masks),
            jnp.exp(params["log_logit_scale"]),
            params["logit_bias"],
            batch.captions,
            batch.caption,
            weight,
            jax.random.fold_in(key, 3),
            config.model.slots,
            batch.image_id,
        )

    trained, rest = frozen.split(params, config.optimizer.frozen)
    return accumulate.value_and_grad(loss, trained, passes, rest)


def check(config: TrainConfig, mesh: Mesh) -> None:
    """Raises ConfigError where the loss needs what the model lacks, or something doesn't divide."""
    _check_mesh(config, mesh)
    if isinstance(mesh, jax.sharding.Mesh):  # An abstract one has no devices to run it on.
        check_kernel(config.model, mesh.devices.flat[0].platform)
    goal, shards, batch = config.objective, sharding.batch_shards(mesh), config.global_batch
    variances, slots = config.model.heads != "deterministic", config.model.slots.count
    check_objective(goal, variances=variances, slots=slots)
    if config.optimizer.frozen != "none":
        check_frozen(goal, variances=variances)
    if batch % shards:
        raise ConfigError(
            f"config.global_batch: {batch} does not divide over {shards} devices "
            f"(mesh data x fsdp); the nearest that does is {max(1, round(batch / shards)) * shards}"
        )
    rows, steps = batch // shards, config.accumulation_steps
    if steps < 1 or rows % steps:
        raise ConfigError(
            f"config.accumulation_steps: {steps} does not divide the {rows} pairs of a device"
        )
    stride = goal.mask_every
    if goal.inclusion_masked and (rows % stride or (rows // stride) % max(1, steps // stride)):
        raise ConfigError(
            f"config.objective.mask_every: masked views of every {stride}th pair don't divide the "
            f"{rows} pairs of a device" + (f" in {steps} accumulation steps" if steps > 1 else "")
        )


def _check_mesh(config: TrainConfig, mesh: Mesh) -> None:
    for name, tower in (("image", config.model.image), ("text", config.model.text)):
        for axis, field in (("tensor", "num_heads"), ("tensor", "mlp_dim"), ("fsdp", "width")):
            if getattr(tower, field) % mesh.shape[axis]:
                raise ConfigError(
                    f"config.mesh.{axis}: {mesh.shape[axis]} does not divide "
                    f"config.model.{name}.{field} {getattr(tower, field)}"
                )


def every(x: jax.Array, stride: int) -> jax.Array:
    """Rows 0, stride, 2 stride ... of the global batch; each device takes them from its own."""
    shape = (len(x) // stride, stride, *x.shape[1:])
    return sharding.reshape(x, shape, "batch", *("dim",) * (len(shape) - 1))[:, 0]


def kept_patches(key: jax.Array, config: TrainConfig) -> jax.Array:
    """Sorted numbers of the patches that the masked images of this step keep."""
    image = config.model.image
    num_patches = (image.image_size // image.patch) ** 2
    num_kept = int(config.objective.mask_image_keep * num_patches)
    return jnp.sort(jax.random.permutation(key, num_patches)[:num_kept])


def clip_scale(params: Any, largest: float) -> Any:
    """Keeps the applied scale in [1, largest]."""
    scale = jnp.clip(params["log_logit_scale"], 0.0, math.log(largest))
    return params | {"log_logit_scale": scale}


def digest(batch: Batch) -> jax.Array:
    """A number (uint32) that tells which samples and captions a batch has, and in which rows."""
    row = jax.lax.broadcasted_iota(
        jnp.uint32, batch.index.shape, 0, out_sharding=jax.typeof(batch.index).sharding
    )
    mixed = batch.index.astype(jnp.uint32) * jnp.uint32(2654435761)
    mixed = (mixed ^ batch.caption.astype(jnp.uint32)) * (2 * row + 1)
    return (mixed ^ (mixed >> 15)).sum(dtype=jnp.uint32)


def _passes(model: TwoTower, views: Sequence[View], config: TrainConfig) -> list[accumulate.Pass]:
    """All views in one way through the towers; each by itself where it is cut into parts."""

    def encode(params: Any, inputs: Any, keeps: Any) -> list[tuple[Gaussian, Gaussian]]:
        pairs = zip(inputs, keeps, strict=True)
        some = [View(images, tokens, keep) for (images, tokens), keep in pairs]
        return model.views(params, some)

    def one_pass(some: Sequence[View], num_parts: int) -> accumulate.Pass:
        inputs = [(view.images, view.tokens) for view in some]
        return accumulate.Pass(encode, inputs, num_parts, [view.keep for view in some])

    steps = config.accumulation_steps
    if steps == 1:
        return [one_pass(views, 1)]
    # No part of masked views is larger than a part of the whole ones.
    parts = (steps, max(1, steps // config.objective.mask_every))
    return [one_pass([view], n) for view, n in zip(views, parts[: len(views)], strict=True)]


def _mask_texts(tokens: jax.Array, key: jax.Array, drop: float, ids: TextIds) -> jax.Array:
    draws = jax.random.uniform(key, tokens.shape, out_sharding=spec("batch", "length"))
    return masked(tokens, draws, drop=drop, pad_id=ids.pad, mask_id=ids.mask)
