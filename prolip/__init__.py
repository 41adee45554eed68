"""Probabilistic image-text models in JAX.

What is listed here is the public API. It is loaded when it is first used, so that
`import prolip` and `prolip --help` are quick.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prolip import evals, losses
    from prolip.blocks import in_blocks
    from prolip.gaussian import (
        Gaussian,
        bhattacharyya,
        csd,
        csd_paired,
        expected_likelihood,
        inclusion,
        inclusion_paired,
        kl,
        similarity,
        similarity_paired,
        symmetric_kl,
        wasserstein2,
    )
    from prolip.loading import load
    from prolip.model import Model
    from prolip.retrieval.index import Index
    from prolip.slot_similarity import set_similarity

__version__ = "0.1.0"

_COMPARISONS = (
    "Gaussian",
    "bhattacharyya",
    "csd",
    "csd_paired",
    "expected_likelihood",
    "inclusion",
    "inclusion_paired",
    "kl",
    "similarity",
    "similarity_paired",
    "symmetric_kl",
    "wasserstein2",
)
_HOME = dict.fromkeys(_COMPARISONS, "prolip.gaussian") | {
    "Index": "prolip.retrieval.index",
    "Model": "prolip.model",
    "in_blocks": "prolip.blocks",
    "load": "prolip.loading",
    "set_similarity": "prolip.slot_similarity",
}
_MODULES = ("evals", "losses")

__all__ = [
    "Gaussian",
    "Index",
    "Model",
    "bhattacharyya",
    "csd",
    "csd_paired",
    "evals",
    "expected_likelihood",
    "in_blocks",
    "inclusion",
    "inclusion_paired",
    "kl",
    "load",
    "losses",
    "set_similarity",
    "similarity",
    "similarity_paired",
    "symmetric_kl",
    "wasserstein2",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    if name in _MODULES:
        return importlib.import_module(f"prolip.{name}")
    raise AttributeError(f"module 'prolip' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
