"""A small batch with captions in common, and its objective on some devices."""

import jax
import jax.numpy as jnp
import numpy as np

from prolip import sharding
from prolip.config import MeshConfig, ObjectiveConfig
from prolip.gaussian import Gaussian
from prolip.losses.objective import Embeddings, objective

BATCH, DIM, SCALE, BIAS = 24, 6, 5.0, 5.0


def only(**keys):
    """An objective of these terms alone."""
    off = dict.fromkeys(("ppcl", "bottleneck", "inclusion_image_text", "inclusion_masked"), 0.0)
    return ObjectiveConfig(**(off | keys))


def inputs(seed=0, batch=BATCH, log_var=-3.0):
    """Gaussians, ids of captions with many in common, and parts of blended images."""
    rng = np.random.default_rng(seed)
    mean = rng.normal(size=(2, batch, DIM))
    mean[1] += mean[0]
    mean /= np.linalg.norm(mean, axis=-1, keepdims=True)
    log_vars = rng.normal(log_var, 0.5, (2, batch, DIM))
    captions = rng.integers(0, 12, (batch, 3))
    captions[:, 0] = caption = rng.integers(1, 12, batch)
    weight = np.where(rng.random(batch) < 0.5, 0.5 + rng.random(batch) / 2, 1)
    return mean, log_vars, captions.astype(np.int32), caption.astype(np.int32), weight


def gaussians(mean, log_vars, dtype=jnp.float32):
    return (Gaussian(jnp.asarray(mean[i], dtype), jnp.asarray(log_vars[i], dtype)) for i in (0, 1))


def through_objective(config, devices, blend=False):
    """Total, metrics and gradients on the first `devices` devices."""
    mean, log_vars, captions, caption, weight = inputs()
    mesh = sharding.make_mesh(MeshConfig(), jax.devices()[:devices])
    with jax.set_mesh(mesh):
        sides = sharding.to_global(
            mesh, [Gaussian(m, v) for m, v in np.stack([mean, log_vars], 1).astype(np.float32)]
        )
        facts = sharding.to_global(
            mesh, [captions, caption, weight.astype(np.float32) if blend else None]
        )

        def loss(sides, scale, bias):
            return objective(
                config,
                Embeddings(*sides, None, None),
                scale,
                bias,
                *facts,
                key=jax.random.key(3),
            )

        f = jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True))
        return jax.device_get(f(sides, jnp.float32(SCALE), jnp.float32(BIAS)))


def assert_same_on_any_mesh(config, blend, counts=(3,)):
    (total, metrics), gradients = through_objective(config, 1, blend)
    for devices in counts:
        (again, others), slopes = through_objective(config, devices, blend)
        np.testing.assert_allclose(again, total, rtol=1e-5)
        for name, value in metrics.items():
            np.testing.assert_allclose(others[name], value, rtol=1e-5, atol=1e-7, err_msg=name)
        for got, expected in zip(jax.tree.leaves(slopes), jax.tree.leaves(gradients), strict=True):
            np.testing.assert_allclose(got, expected, atol=1e-5 * np.abs(expected).max() + 1e-9)
    return metrics
