"""Muon: orthogonal updates of the matrices of blocks, AdamW elsewhere, on any mesh."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_step import IDS, at, batch_of, config_of, setup

from prolip import sharding
from prolip.config import MeshConfig, OptimizerConfig
from prolip.models import two_tower
from prolip.train.optimizer import make_optimizer, matrices
from prolip.train.state import abstract_state, init_state
from prolip.train.step import make_train_step

MUON = OptimizerConfig(name="muon", learning_rate=1e-2, warmup_steps=0, muon_scale=2.0)
CONFIG = config_of("siglip", optimizer=MUON)


@pytest.fixture(autouse=True)
def one_device():
    with jax.set_mesh(sharding.make_mesh(MeshConfig(), jax.devices()[:1])):
        yield


def params_and_gradients():
    params = two_tower.build(CONFIG.model).init(jax.random.key(0))
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    noise = [jax.random.normal(k, x.shape) for k, x in zip(keys, leaves, strict=True)]
    return params, jax.tree.unflatten(tree, noise)


def update(config):
    params, grads = params_and_gradients()
    optimizer = make_optimizer(config, 10)
    return jax.jit(optimizer.update)(grads, optimizer.init(params), params)[0]


def test_updates_of_matrices_are_orthogonal_and_others_are_those_of_adamw():
    params, _ = params_and_gradients()
    no_decay = dataclasses.replace(MUON, weight_decay=0.0)
    got, adamw = update(no_decay), update(dataclasses.replace(no_decay, name="adamw"))
    muon, rest = 0, 0
    for path, sides in jax.tree_util.tree_leaves_with_path(
        matrices(params), is_leaf=lambda x: x is None or isinstance(x, tuple)
    ):
        if sides is None:
            np.testing.assert_allclose(at(got, path), at(adamw, path), rtol=1e-5, atol=1e-9)
            rest += 1
            continue
        muon += 1
        stacked = np.asarray(at(got, path))
        height = int(np.prod([stacked.shape[i] for i in sides.reduction_axis]))
        for matrix in stacked.reshape(len(stacked), height, -1):
            # 0.2 of the root of the longer side, times the learning rate of matrices.
            unit = 0.2 * max(matrix.shape) ** 0.5 * MUON.learning_rate * MUON.muon_scale
            singular = np.linalg.svd(matrix / unit, compute_uv=False)
            # Five steps of the iteration bring them near one; a few that began near zero lag.
            assert np.median(singular) > 0.65 and singular.max() < 1.35, path
    assert muon == 12 and rest > 12


def test_both_parts_decay_alike():
    params, _ = params_and_gradients()
    with_decay, without = update(MUON), update(dataclasses.replace(MUON, weight_decay=0.0))
    step = MUON.learning_rate * MUON.weight_decay
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        decayed = path[-1].key in ("kernel", "embedding", "positions")
        shrink = at(without, path) - at(with_decay, path)
        expected = step * leaf if decayed else jnp.zeros_like(leaf)
        np.testing.assert_allclose(shrink, expected, atol=2e-6, err_msg=str(path))


@pytest.mark.slow
def test_steps_are_the_same_on_any_mesh_and_keep_layouts():
    config = dataclasses.replace(CONFIG, optimizer=dataclasses.replace(MUON, learning_rate=1e-4))

    def losses(devices, layout):
        mesh, model, optimizer, rate = setup(config, devices, layout)
        with jax.set_mesh(mesh):
            state = init_state(model, optimizer, jax.random.key(0))
            step = make_train_step(model, optimizer, rate, config, IDS)
            found = []
            for seed in range(3):
                state, metrics = step(state, sharding.to_global(mesh, batch_of(seed=seed)))
                found.append(float(metrics["loss"]))
            like = abstract_state(model, optimizer, mesh)
            for got, wanted in zip(jax.tree.leaves(state), jax.tree.leaves(like), strict=True):
                assert got.sharding.is_equivalent_to(wanted.sharding, got.ndim)
        return found

    expected = losses(1, None)
    assert expected[0] != expected[2]
    for devices, layout in ((3, None), (8, MeshConfig(2, 2, 2))):
        np.testing.assert_allclose(losses(devices, layout), expected, rtol=1e-5)


def test_moments_of_matrices_are_one():
    params, _ = params_and_gradients()

    def size(name):
        optimizer = make_optimizer(dataclasses.replace(MUON, name=name), 10)
        return sum(x.size for x in jax.tree.leaves(optimizer.init(params)))

    assert size("muon") < 1.6 * sum(x.size for x in jax.tree.leaves(params)) < size("adamw")
