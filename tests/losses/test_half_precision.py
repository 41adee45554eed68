"""Losses of bfloat16 embeddings are those of the same numbers in float32."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prolip.config import SlotsConfig
from prolip.gaussian import Gaussian
from prolip.losses.bottleneck import bottleneck
from prolip.losses.inclusion import inclusion
from prolip.losses.pairwise import ppcl, siglip, sigmoid_loss
from prolip.losses.pcme import pcme
from prolip.losses.pcmepp import pcmepp
from prolip.losses.sets import sets_diversity
from prolip.losses.softmax import clip
from prolip.losses.triplet import triplet

KEY = jax.random.key(0)
LOSSES = {
    "ppcl": lambda a, b: ppcl(a, b, 100.0, -10.0),
    "siglip": lambda a, b: siglip(a.mean, b.mean, 100.0, -10.0),
    "sigmoid_loss": lambda a, b: sigmoid_loss(a.mean[:, :16], None),
    "clip": lambda a, b: clip(a.mean, b.mean, 100.0),
    "triplet": lambda a, b: triplet(a.mean, b.mean),
    "pcme": lambda a, b: pcme(a, b, 5.0, 5.0, KEY, 2),
    "pcmepp": lambda a, b: pcmepp(a, b, 5.0, 5.0),
    "bottleneck": lambda a, b: bottleneck(a),
    "inclusion": lambda a, b: inclusion(a, b, scale=10.0, eps=0.0),
    "sets_diversity": lambda a, b: sets_diversity(a.mean, SlotsConfig(count=2)),
}


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_half_precision_is_widened_before_anything_is_computed(name):
    rng = np.random.default_rng(0)
    mean = rng.normal(size=(2, 16, 64))
    mean /= np.linalg.norm(mean, axis=-1, keepdims=True)
    log_var = rng.normal(-4, 1, (2, 16, 64))
    half = [
        Gaussian(*(jnp.asarray(x, jnp.bfloat16) for x in g))
        for g in zip(mean, log_var, strict=True)
    ]
    wide = [Gaussian(*(x.astype(jnp.float32) for x in g)) for g in half]
    found, expected = LOSSES[name](*half), LOSSES[name](*wide)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, expected, rtol=1e-6)
