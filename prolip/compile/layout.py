"""Bytes, FLOPs and exchanges of a step on a mesh by arithmetic, without a compiler or devices.

Memory of parameters and optimizer is exact but for padding. Activations are what the backward pass
keeps by the remat policy: the sum of all is 8 % above what the compiler says for ViT-B/16 on 256
v5e chips (docs/pods.md). `prolip compile` asks the compiler.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from prolip import sharding
from prolip.compile.flops import StepFlops, step_flops
from prolip.config import (
    ConfigError,
    ImageTowerConfig,
    MeshConfig,
    ModelConfig,
    TextTowerConfig,
    TrainConfig,
)
from prolip.losses import streamed
from prolip.models import two_tower
from prolip.models.heads import extra_tokens
from prolip.models.transformer import own_parts
from prolip.train import step
from prolip.train.frozen import split
from prolip.train.optimizer import make_optimizer
from prolip.train.state import abstract_state


class Exchange(NamedTuple):
    """Exchanges of one purpose in a step."""

    what: str
    kind: str
    axes: str
    nbytes: int  # Of the arrays.
    moved: int  # That a device sends at least, as a ring does.


class Layout(NamedTuple):
    """A step on a mesh; bytes are those of one device."""

    mesh: dict[str, int]
    parameters: int
    optimizer: int
    gradients: int
    activations: int  # Kept for the backward pass, and one block being computed.
    loss: int
    batch: int
    flops: StepFlops  # Of all devices.
    exchanges: tuple[Exchange, ...]

    @property
    def total(self) -> int:
        """Bytes of one device in all."""
        parts = (self.parameters, self.optimizer, self.gradients, self.activations)
        return sum(parts) + self.loss + self.batch


def abstract_mesh(config: MeshConfig) -> Any:
    """The mesh of a configuration whose sizes are all given.

    Raises:
      ConfigError: a size is -1: how many devices there are is not known here.
    """
    sizes = (config.data, config.fsdp, config.tensor)
    if min(sizes) < 1:
        raise ConfigError(
            f"config.mesh: a layout needs all sizes, got {'x'.join(map(str, sizes))}; "
            "for example --mesh data=32,fsdp=8,tensor=1"
        )
    kinds = (jax.sharding.AxisType.Explicit,) * len(sizes)
    return jax.sharding.AbstractMesh(sizes, sharding.AXES, axis_types=kinds)


def layout(config: TrainConfig) -> Layout:
    """The layout of a configuration on its own mesh.

    Raises:
      ConfigError: the configuration does not fit the mesh.
    """
    mesh = abstract_mesh(config.mesh)
    two_tower.check(config.model)
    step.check(config, mesh)
    model = two_tower.build(config.model)
    state = abstract_state(model, make_optimizer(config.optimizer, config.total_steps), mesh)
    parameters = _bytes(state.params)
    rows = config.global_batch // sharding.batch_shards(mesh)
    return Layout(
        mesh=dict(mesh.shape),
        parameters=parameters,
        optimizer=_bytes(state.opt_state),
        gradients=_bytes(split(state.params, config.optimizer.frozen)[0]),
        activations=activations(config, rows, mesh.shape["tensor"]),
        loss=loss_bytes(config, rows),
        batch=rows * _pair_bytes(config),
        flops=step_flops(config),
        exchanges=tuple(exchanges(config, state.params, mesh, rows)),
    )


def activations(config: TrainConfig, rows: int, tensor: int) -> int:
    """Bytes that the towers keep for the backward pass, masked views included.

    Of a block with T tokens of width w in a type of b bytes, hidden width m, h heads:
      none: T (8 w + 2 m) b + 2 h T² b: each input of a product or norm, logits and softmax;
      dots: T (7 w + m) b: the results of products with parameters, and the input;
      hidden: T (2 w + m) b: the input, what attention gives, and the hidden units;
      full: T w b: the input alone.
    To all but "none" belongs one block as under "none", while it is made again. Frozen
    towers keep nothing: that block is all.
    """
    model, goal = config.model, config.objective
    patches = (model.image.image_size // model.image.patch) ** 2
    parts = config.accumulation_steps
    views = [(rows // parts, patches)]
    if goal.inclusion_masked:
        share = max(1, parts // goal.mask_every)
        views.append((rows // goal.mask_every // share, int(goal.mask_image_keep * patches)))
    # Views run part after part; without accumulation all are kept until the backward pass.
    frozen = config.optimizer.frozen == "towers"
    kept = []
    for count, image_tokens in views:
        image, text = (
            _tower(model, tower, tokens, tensor, 0 if frozen else count, count // num_parts)
            for tower, tokens, num_parts in (
                (model.image, image_tokens, own_parts(count, model.block_rows)),
                (model.text, model.text.length, own_parts(count, model.rows_of_texts)),
            )
        )
        kept.append(max(image, text) if frozen else image + text)
    return max(kept) if parts > 1 or frozen else sum(kept)


def _tower(
    model: ModelConfig,
    tower: ImageTowerConfig | TextTowerConfig,
    tokens: int,
    tensor: int,
    rows: int,
    at_a_time: int,
) -> int:
    """Bytes for some images or texts that are kept, so many at a time."""
    size = jnp.dtype(model.dtype).itemsize
    tokens += extra_tokens(model.heads)
    # Heads and hidden units are split over `tensor`; the width is not.
    whole: float = (
        tokens * (4 * tower.width + (4 * tower.width + 2 * tower.mlp_dim) / tensor) * size
    )
    whole += tower.num_heads / tensor * tokens**2 * 2 * size
    if model.remat == "none" and rows:
        return math.ceil(rows * tower.depth * whole)
    block: float = tokens * tower.width * size
    if model.remat == "hidden":
        block += tokens * (tower.width + tower.mlp_dim) / tensor * size
    if model.remat == "dots":
        block += tokens * (2 * tower.width + (4 * tower.width + tower.mlp_dim) / tensor) * size
    return math.ceil(rows * tower.depth * block + at_a_time * whole)


def loss_bytes(config: TrainConfig, rows: int) -> int:
    """Gathered texts and their gradient in float32, and three arrays of a block of pairs.

    Of losses in blocks: PCME and the triplet loss hold all pairs of a device, not counted here.
    """
    gathered = 2 * 4 * config.global_batch * config.model.dim
    if gathered > streamed.GATHERED_BYTES:  # Then they go round in parts.
        gathered = 4 * 4 * rows * config.model.dim
    own = 4 * 4 * rows * config.model.dim
    return gathered + own + 3 * 4 * min(streamed.PAIRS, rows * config.global_batch)


def exchanges(config: TrainConfig, params: Any, mesh: Any, rows: int) -> list[Exchange]:
    """What devices exchange, by the rules of `prolip.sharding`.

    A way through the towers gathers its weights once, for all views in it; each view and part has
    gradients of its own.
    """
    goal, steps = config.objective, config.accumulation_steps
    uses = steps + (max(1, steps // goal.mask_every) if goal.inclusion_masked else 0)
    ways = uses if steps > 1 else 1
    size = jnp.dtype(config.model.dtype).itemsize
    frozen = config.optimizer.frozen
    trained = split(params, frozen)[0]
    count, learnt = (sum(math.prod(x.shape) for x in jax.tree.leaves(p)) for p in (params, trained))
    own = _bytes(trained) // 4  # Numbers that a device holds.
    data, fsdp, tensor = (mesh.shape[axis] for axis in sharding.AXES)
    found = []

    def add(what: str, kind: str, axes: str, nbytes: int, devices: int) -> None:
        if devices > 1:
            factor = 2 if kind == "all-reduce" else 1
            moved = round(factor * (devices - 1) / devices * nbytes)
            found.append(Exchange(what, kind, axes, nbytes, moved))

    # Products are made of weights in the type of the computation, and so are their gradients.
    gathers = ways * (1 if config.model.remat == "none" else 2) + ways
    if frozen == "towers":
        gathers = ways
    add("weights of the layers", "all-gather", "fsdp", gathers * size * count // tensor, fsdp)
    add("gradients", "reduce-scatter", "fsdp", uses * size * learnt // tensor, fsdp)
    if sharding.only_data(mesh):  # Added up on each device first: `sharding.per_device`.
        add("gradients", "all-reduce", "data", 4 * own, data)
    else:
        add("gradients", "all-reduce", "data", uses * size * own, data)
    tokens = sum(
        (length + extra_tokens(config.model.heads)) * tower.width * tower.depth
        for length, tower in (
            ((config.model.image.image_size // config.model.image.patch) ** 2, config.model.image),
            (config.model.text.length, config.model.text),
        )
    )
    ways = 4 if frozen == "none" else 2  # After attention and MLP, forward and backward.
    add("activations of the layers", "all-reduce", "tensor", ways * rows * tokens * size, tensor)
    texts = 4 * config.global_batch * config.model.dim
    shards = data * fsdp
    add("texts of the loss", "all-gather", "data, fsdp", texts, shards)
    if frozen == "none":  # Else of their traces alone.
        add("gradients of the texts", "all-reduce", "data, fsdp", texts, shards)
    return found


def _pair_bytes(config: TrainConfig) -> int:
    image, text = config.model.image, config.model.text
    ids = text.length + config.data.max_captions + 4
    # As it comes, and normalised in float32.
    return image.image_size**2 * 3 * (1 + 4) + 4 * ids


def _bytes(tree: Any) -> int:
    """Of the shards that one device holds."""
    return sum(
        math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
        for leaf in jax.tree.leaves(tree)
    )
