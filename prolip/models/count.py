"""Parameters and floating-point operations of a model, without making it."""

import math
from typing import NamedTuple

import jax

from prolip.config import Frozen, ImageTowerConfig, ModelConfig, TextTowerConfig
from prolip.models import two_tower
from prolip.models.heads import extra_tokens


class Count(NamedTuple):
    """What one part of the model costs."""

    parameters: int
    forward_flops: int  # For one image or one text; 2 for a multiply-add.


def count(config: ModelConfig) -> dict[str, Count]:
    """Parameters and forward FLOPs of `image`, `text` and `total`, for one pair."""
    params = two_tower.abstract_params(config)
    sizes = {
        k: sum(math.prod(x.shape) for x in jax.tree.leaves(params[k])) for k in ("image", "text")
    }
    image = Count(sizes["image"], _image_flops(config))
    text = Count(sizes["text"], _text_flops(config))
    # The two scalars of the logit belong to neither tower.
    total = Count(image.parameters + text.parameters + 2, image.forward_flops + text.forward_flops)
    return {"image": image, "text": text, "total": total}


def train_flops_per_pair(config: ModelConfig, frozen: Frozen = "none") -> int:
    """FLOPs of forward and backward for one pair: three times forward, without recomputation.

    Through towers that are frozen there is no way back, only through what makes log_var.
    """
    forward = count(config)["total"].forward_flops
    if frozen == "none":
        return 3 * forward
    return forward + 2 * (_log_var(config, config.image) + _log_var(config, config.text))


def masked_view_flops(config: ModelConfig, image_keep: float) -> int:
    """Forward FLOPs of a masked view of a pair: fewer patches in the blocks, the whole text."""
    num_kept = int(image_keep * (config.image.image_size // config.image.patch) ** 2)
    return _image_flops(config, num_kept) + _text_flops(config)


def _image_flops(config: ModelConfig, num_kept: int | None = None) -> int:
    tower = config.image
    num_patches = (tower.image_size // tower.patch) ** 2
    embed = 2 * num_patches * tower.patch**2 * 3 * tower.width
    length = (num_patches if num_kept is None else num_kept) + extra_tokens(config.heads)
    return embed + _blocks(tower, length) + _heads(config, tower) + _slots(config, tower, length)


def _text_flops(config: ModelConfig) -> int:
    length = config.text.length + extra_tokens(config.heads)
    heads = _heads(config, config.text) + _slots(config, config.text, length)
    return _blocks(config.text, length) + heads


def _blocks(tower: ImageTowerConfig | TextTowerConfig, length: int) -> int:
    projections = 2 * length * (4 * tower.width**2 + 2 * tower.width * tower.mlp_dim)
    attention = 2 * 2 * length**2 * tower.width
    return tower.depth * (projections + attention)


def _slots(config: ModelConfig, tower: ImageTowerConfig | TextTowerConfig, length: int) -> int:
    """Weights of the tokens, sums by them, and a projection of each sum."""
    slots, width = config.slots.count, tower.width
    if slots == 1:
        return 0
    weights = width * (width // 2) + slots * (width // 2)
    return 2 * (length * (weights + slots * width) + slots * width * config.embed_dim)


def _heads(config: ModelConfig, tower: ImageTowerConfig | TextTowerConfig) -> int:
    return 2 * tower.width * config.embed_dim + _log_var(config, tower)


def _log_var(config: ModelConfig, tower: ImageTowerConfig | TextTowerConfig) -> int:
    if config.heads == "deterministic":
        return 0
    hidden = tower.width if config.heads == "adapter" else 0
    return 2 * tower.width * (hidden + config.embed_dim)
