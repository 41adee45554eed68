"""The step on any mesh, accumulated or not, traced once; the released five steps.

Long because all of these compare runs of one small experiment, which is made here.
"""

import dataclasses
import functools
import json
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from prolip import sharding
from prolip.config import (
    AugmentConfig,
    ConfigError,
    DataConfig,
    ImageTowerConfig,
    MeshConfig,
    ModelConfig,
    ObjectiveConfig,
    OptimizerConfig,
    TextTowerConfig,
    TrainConfig,
)
from prolip.data.records import Batch
from prolip.gaussian import Gaussian
from prolip.interop import released
from prolip.interop.hub_config import model_config
from prolip.losses.objective import Embeddings, objective
from prolip.models import two_tower
from prolip.train.optimizer import decay_mask, make_optimizer, schedule
from prolip.train.state import abstract_state, at_step, from_items, init_state, to_items
from prolip.train.step import TextIds, check, clip_scale, loss_and_grads, make_train_step

FIXTURES = Path(__file__).parents[1] / "fixtures"
IDS = TextIds(pad=0, mask=1)
OBJECTIVES = {
    "prolip": ObjectiveConfig(
        inclusion_image_text=0.1, inclusion_masked=0.1, inclusion_scale=2.0, inclusion_eps=-2.0
    ),
    "extended": ObjectiveConfig(
        positives="extended",
        inclusion_masked=0.0,
        inclusion_text_text=0.3,
        inclusion_scale=5.0,
    ),
    "siglip": ObjectiveConfig(ppcl=0.0, siglip=1.0, bottleneck=0.0, inclusion_masked=0.0),
    "clip": ObjectiveConfig(
        ppcl=0.0, clip=1.0, bottleneck=0.0, inclusion_masked=0.0, positives="extended"
    ),
}
MIXED = ("extended", "clip")


def config_of(name="prolip", **changes):
    model = ModelConfig(
        embed_dim=16,
        image=ImageTowerConfig(16, 4, width=24, depth=2, num_heads=2, mlp_dim=48),
        text=TextTowerConfig(6, 50, width=24, depth=2, num_heads=2, mlp_dim=48),
        log_var_init=-3.0,
    )
    base = TrainConfig(
        total_steps=100,
        global_batch=192,
        model=model,
        objective=OBJECTIVES[name],
        optimizer=OptimizerConfig(warmup_steps=2, learning_rate=1e-3),
        data=DataConfig(augment=AugmentConfig(mixup=0.5 if name in MIXED else 0.0)),
    )
    return dataclasses.replace(base, **changes)


def batch_of(rows=192, seed=0):
    rng = np.random.default_rng(seed)
    text = rng.integers(2, 50, (rows, 6)).astype(np.int32)
    text[:, 4:] *= rng.integers(0, 2, (rows, 1), dtype=np.int32)  # Some padding.
    # Each image has a caption of its kind, of its family of kinds, and one that fits all.
    kind = rng.integers(1, 20, rows)
    captions = np.stack([kind, 20 + kind // 5, np.full(rows, 30)], 1).astype(np.int32)
    caption = captions[np.arange(rows), rng.choice(3, rows, p=[0.8, 0.15, 0.05])]
    return Batch(
        rng.integers(0, 256, (rows, 16, 16, 3)).astype(np.uint8),
        text,
        caption,
        captions,
        np.arange(rows, dtype=np.int32),
    )


@functools.cache  # The baselines of several tests are the same.
def gradients(config, devices, mesh=None):
    """Loss, metrics and gradients on the first `devices` devices, from the same start."""
    mesh = sharding.make_mesh(mesh or MeshConfig(), jax.devices()[:devices])
    model = two_tower.build(config.model)
    with jax.set_mesh(mesh):
        params = jax.jit(model.init)(jax.random.key(1))
        batch = sharding.to_global(mesh, batch_of(config.global_batch))
        f = jax.jit(lambda p, b: loss_and_grads(model, config, IDS, p, b, jax.random.key(2)))
        return jax.device_get(f(params, batch))


def assert_same(got, expected, rtol=1e-5):
    """Gradients relative to the largest entry of each leaf: small ones are sums of large ones.

    A leaf whose true gradient is zero (the bias of the keys) has only rounding in it.
    """
    (loss, metrics), grads = got
    (loss0, metrics0), grads0 = expected
    np.testing.assert_allclose(loss, loss0, rtol=rtol)
    for name, value in metrics0.items():
        np.testing.assert_allclose(metrics[name], value, rtol=rtol, atol=1e-7, err_msg=name)
    floor = 1e-4 * max(np.abs(g).max() for g in jax.tree.leaves(grads0))
    rounding = 1e-6 * max(np.abs(g).max() for g in jax.tree.leaves(grads0))
    for (path, g), g0 in zip(
        jax.tree_util.tree_leaves_with_path(grads), jax.tree.leaves(grads0), strict=True
    ):
        largest = max(np.abs(g0).max(), floor)
        name = jax.tree_util.keystr(path)
        if "['key']['bias']" in name:
            assert max(np.abs(g).max(), np.abs(g0).max()) < rounding, name
            continue
        np.testing.assert_allclose(g, g0, atol=rtol * largest, rtol=0, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "counts"),
    [("prolip", (2, 3, 4, 8)), ("extended", (3,)), ("siglip", (8,)), ("clip", (3,))],
)
def test_loss_and_gradients_are_the_same_on_any_number_of_devices(name, counts):
    config = config_of(name)
    expected = gradients(config, 1)
    for devices in counts:
        assert_same(gradients(config, devices), expected)


@pytest.mark.slow
def test_loss_and_gradients_are_the_same_on_any_mesh():
    config = config_of()
    expected = gradients(config, 1)
    for mesh in (MeshConfig(1, 8, 1), MeshConfig(2, 2, 2)):
        assert_same(gradients(config, 8, mesh), expected)


@pytest.mark.slow
@pytest.mark.parametrize("steps", [2, 24])
def test_accumulation_is_exact(steps):
    expected = gradients(config_of(), 1)
    assert_same(gradients(config_of(accumulation_steps=steps), 1), expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("devices", "mesh", "rows", "text_rows"),
    [(2, None, 32, 0), (2, None, 32, 16), (8, MeshConfig(2, 2, 2), 8, 4)],
)
def test_towers_in_parts_are_exact(devices, mesh, rows, text_rows):
    expected = gradients(config_of(), 1)
    config = config_of()
    model = dataclasses.replace(
        config.model, remat="hidden", block_rows=rows, text_block_rows=text_rows
    )
    config = dataclasses.replace(config, model=model)
    assert_same(gradients(config, devices, mesh), expected)


@pytest.mark.slow
def test_accumulation_on_two_devices_and_with_remat():
    expected = gradients(config_of(), 1)
    config = config_of(accumulation_steps=4)
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, remat="dots"))
    assert_same(gradients(config, 2), expected)


def setup(config, devices=8, mesh=None):
    mesh = sharding.make_mesh(mesh or MeshConfig(), jax.devices()[:devices])
    model = two_tower.build(config.model)
    optimizer = make_optimizer(config.optimizer, config.total_steps)
    rate = schedule(config.optimizer, config.total_steps)
    return mesh, model, optimizer, rate


@pytest.mark.slow
def test_step_is_traced_once_donates_and_keeps_layouts():
    config = config_of("siglip")
    mesh, model, optimizer, rate = setup(config, mesh=MeshConfig(2, 2, 2))
    chex.clear_trace_counter()
    with jax.set_mesh(mesh):
        state = init_state(model, optimizer, jax.random.key(0))
        step = make_train_step(model, optimizer, rate, config, IDS)
        one = chex.assert_max_traces(step.jitted.__wrapped__, n=1)
        counted = type(step)(jax.jit(one, donate_argnames="state"), config.seed)
        first = state
        for i in range(4):
            batch = sharding.to_global(mesh, batch_of(seed=i))
            state, metrics = counted(state, batch)
        assert all(x.is_deleted() for x in jax.tree.leaves(first.params))
        kernel = state.params["image"]["transformer"]["blocks"]["mlp"]["up"]["kernel"]
        assert kernel.sharding.spec == sharding.spec("layers", "weight_embed", "mlp")
        like = abstract_state(model, optimizer, mesh)
        for got, wanted in zip(jax.tree.leaves(state), jax.tree.leaves(like), strict=True):
            assert got.sharding.is_equivalent_to(wanted.sharding, got.ndim)
            assert (got.shape, got.dtype) == (wanted.shape, wanted.dtype)
    assert np.isfinite(metrics["loss"])


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_state_survives_the_way_through_plain_dictionaries(name):
    config = config_of(optimizer=OptimizerConfig(name=name))
    mesh, model, optimizer, _ = setup(config, 2)
    with jax.set_mesh(mesh):
        state = init_state(model, optimizer, jax.random.key(0))
        back = from_items(to_items(state), abstract_state(model, optimizer, mesh))
    chex.assert_trees_all_equal(state, back)


@pytest.mark.parametrize("where", ["scale", "bias"])
def test_a_step_that_is_not_finite_changes_nothing_but_the_count_of_steps(where):
    config = config_of()
    mesh, model, optimizer, rate = setup(config, 2)
    with jax.set_mesh(mesh):
        state = init_state(model, optimizer, jax.random.key(0))
        step = make_train_step(model, optimizer, rate, config, IDS)
        batch = sharding.to_global(mesh, batch_of())
        state, good = step(state, batch)
        if where == "bias":
            state.params["logit_bias"] = jnp.full_like(state.params["logit_bias"], jnp.nan)
        else:
            state.params["log_logit_scale"] = jnp.full_like(
                state.params["log_logit_scale"], jnp.inf
            )
        before = jax.device_get(state)
        state, bad = step(state, batch)
    assert bool(good["finite"]) and not bool(bad["finite"])
    after = jax.device_get(state)
    assert after.step == before.step + 1
    chex.assert_trees_all_equal(after.params, before.params)
    # The schedule counts the steps of the run; bias correction those that were applied.
    chex.assert_trees_all_equal(after.opt_state, at_step(before.opt_state, after.step))


def test_masked_views_take_every_eighth_row_whatever_the_mesh():
    from prolip.train.step import every

    x = np.arange(96)
    for devices in (1, 2, 3, 4):
        mesh = sharding.make_mesh(MeshConfig(), jax.devices()[:devices])
        with jax.set_mesh(mesh):
            got = jax.jit(every, static_argnames="stride")(sharding.to_global(mesh, x), stride=8)
        np.testing.assert_array_equal(got, x[::8])


@pytest.mark.parametrize(
    ("changes", "devices", "word"),
    [
        ({"global_batch": 100}, 8, "96|104"),
        ({"global_batch": 24}, 8, "mask_every"),
        ({"accumulation_steps": 5}, 8, "accumulation_steps"),
    ],
)
def test_batches_that_do_not_divide_are_refused(changes, devices, word):
    mesh = sharding.make_mesh(MeshConfig(), jax.devices()[:devices])
    with pytest.raises(ConfigError, match=word):
        check(config_of(**changes), mesh)


def test_schedule_is_that_of_the_released_code():
    info = json.loads((FIXTURES / "tiny_train.json").read_text())
    config = OptimizerConfig(learning_rate=5e-4, warmup_steps=10)
    rate = schedule(config, 100)
    for step, expected in info["cosine_lr(base=5e-4,warmup=10,total=100)"].items():
        assert float(rate(int(step))) == pytest.approx(expected, rel=1e-4, abs=1e-10)


def test_cooldown_ends_at_zero_and_rsqrt_falls_as_a_root():
    constant = OptimizerConfig(
        schedule="constant", warmup_steps=10, cooldown_steps=20, learning_rate=1.0
    )
    rate = schedule(constant, 100)
    assert [float(rate(s)) for s in (50, 79, 80, 90, 100)] == pytest.approx([1, 1, 1, 0.5, 0])
    rsqrt = schedule(dataclasses.replace(constant, schedule="rsqrt", cooldown_steps=0), 10_000)
    assert float(rsqrt(39)) == pytest.approx(0.5)


def released_config():
    return model_config(json.loads((FIXTURES / "tiny/config.json").read_text()))


def released_params(tensors, config):
    wanted, shapes = released.table(config), two_tower.abstract_params(config)
    return released.to_params(tensors.__getitem__, frozenset(tensors), wanted, shapes)


def test_five_steps_of_the_released_trainer():
    """Losses, gradients and parameters of five AdamW steps of naver-ai/prolip on one batch."""
    info = json.loads((FIXTURES / "tiny_train.json").read_text())
    data = np.load(FIXTURES / "tiny_train.npz")
    config = released_config()
    to_params = lambda name: released_params(load_file(FIXTURES / name), config)  # noqa: E731
    model = two_tower.build(config)
    hyper = info["loss"]
    goal = ObjectiveConfig(
        bottleneck=hyper["vib_beta"],
        inclusion_image_text=hyper["inclusion_alpha"],
        inclusion_masked=hyper["inclusion_alpha_occ"],
        inclusion_scale=hyper["inclusion_loss_scale"] * 1.0,
        inclusion_eps=hyper["inclusion_loss_eps"] * 1.0,
        form="released",
    )
    adamw = info["adamw"]
    optimizer = make_optimizer(
        OptimizerConfig(
            learning_rate=adamw["lr"],
            schedule="constant",
            warmup_steps=0,
            b1=adamw["betas"][0],
            b2=adamw["betas"][1],
            eps=adamw["eps"],
            weight_decay=adamw["weight_decay"],
        ),
        100,
    )
    images = jnp.asarray(data["images"].transpose(0, 2, 3, 1))
    text, masked_text = jnp.asarray(data["text"]), jnp.asarray(data["masked_text"])
    ids = jnp.arange(1, 9)
    n = info["n_masked_samples"]

    def loss(params, keep):
        image, texts = model.image(params, images), model.text(params, text)
        masks = model.image(params, images[:n], keep), model.text(params, masked_text)
        originals = tuple(Gaussian(g.mean[:n], g.log_var[:n]) for g in (image, texts))
        return objective(
            goal,
            Embeddings(image, texts, originals, masks),
            jnp.exp(params["log_logit_scale"]),
            params["logit_bias"],
            ids[:, None],
            ids,
        )

    @jax.jit
    def step(params, opt_state, keep):
        (total, metrics), grads = jax.value_and_grad(loss, has_aux=True)(params, keep)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        params = clip_scale(jax.tree.map(jnp.add, params, updates), 100.0)
        return params, opt_state, total, metrics, grads

    with jax.set_mesh(sharding.make_mesh(MeshConfig(), jax.devices()[:1])):
        params = jax.tree.map(jnp.asarray, to_params("tiny/model.safetensors"))
        opt_state = optimizer.init(params)
        for i in range(5):
            params, opt_state, total, metrics, grads = step(
                params, opt_state, jnp.asarray(data["keep_indices"][i])
            )
            columns = dict(zip(info["loss_terms_columns"], data["loss_terms"][i], strict=True))
            np.testing.assert_allclose(total, columns["total"], rtol=1e-5)
            np.testing.assert_allclose(metrics["loss/ppcl"], columns["ppcl"], rtol=1e-5)
            if i == 0:
                compare_trees(grads, to_params("tiny_train_grads.safetensors"), relative=1e-3)
    expected = to_params("tiny_train_params_after5.safetensors")
    for path, got in jax.tree_util.tree_leaves_with_path(params):
        wanted = at(expected, path)
        # The true gradient of the key bias is zero: Adam makes steps of rounding noise there.
        atol = 1e-3 if "'key'" in jax.tree_util.keystr(path) else 1e-4
        np.testing.assert_allclose(got, wanted, atol=atol, err_msg=jax.tree_util.keystr(path))


def at(tree, path):
    for part in path:
        tree = tree[part.key]
    return tree


def compare_trees(got, expected, relative):
    floor = 1e-4 * max(np.abs(g).max() for g in jax.tree.leaves(got))
    for path, g in jax.tree_util.tree_leaves_with_path(got):
        wanted = at(expected, path)
        largest = max(np.abs(wanted).max(), floor)
        np.testing.assert_allclose(
            g, wanted, atol=relative * largest, err_msg=jax.tree_util.keystr(path)
        )


def test_decay_falls_on_the_matrices_that_the_released_code_decays():
    info = json.loads((FIXTURES / "tiny_train.json").read_text())
    config = released_config()
    tensors = load_file(FIXTURES / "tiny/model.safetensors")
    # Mark each decayed tensor with ones and see which of our leaves are made of them.
    marked = {
        k: np.full_like(v, float(k in info["adamw"]["weight_decay_on"])) for k, v in tensors.items()
    }
    theirs = jax.tree.map(lambda x: bool(np.all(x == 1)), released_params(marked, config))
    ours = decay_mask(released_params(tensors, config))
    assert ours == theirs
