"""Sizes that a model from elsewhere may have, checked before anything of that size is made."""

import math
from collections.abc import Callable
from typing import Any

from prolip.config import ConfigError, ModelConfig

# Largest value of each field; some times that of the largest published model.
LARGEST = {
    "embed_dim": 1 << 16,
    "image_size": 1 << 14,
    "patch": 1 << 12,
    "width": 1 << 16,
    "depth": 1024,
    "num_heads": 1024,
    "mlp_dim": 1 << 20,
    "length": 1 << 20,
    "vocab_size": 1 << 24,
}


def check_sizes(config: ModelConfig, name: Callable[[str], str]) -> None:
    """Refuses sizes that no model has, and an epsilon that gives no numbers.

    Args:
      config: of the model.
      name: gives a field such as "image.depth" the name that it has in the file.

    Raises:
      ConfigError: names the field.
    """
    groups: tuple[tuple[str, Any], ...] = (
        ("", config),
        ("image.", config.image),
        ("text.", config.text),
    )
    for prefix, group in groups:
        for field, most in LARGEST.items():
            value = getattr(group, field, 1)
            if not 1 <= value <= most:
                shown = f"{value:,}" if abs(value) < 1 << 64 else "beyond 64 bits"
                raise ConfigError(f"{name(prefix + field)} is {shown}; models have 1 to {most:,}")
        epsilon = getattr(group, "norm_eps", 1.0)
        if not 0 < epsilon < math.inf:
            raise ConfigError(
                f"{name(prefix + 'norm_eps')} is {epsilon}; it must be finite and above zero"
            )
