"""Losses in blocks, over any mesh, gathered or in a ring, are those of the dense forms."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prolip import losses, sharding
from prolip.config import MeshConfig
from prolip.gaussian import Gaussian
from prolip.losses import streamed
from prolip.losses.pairwise import Logit, streamed_ppcl, streamed_siglip
from prolip.losses.positives import blended, drawn_pairs, known_pairs, pair_facts
from prolip.losses.softmax import streamed_clip

BATCH, DIM = 48, 10
MESHES = [(1, 1, 1), (2, 1, 1), (3, 1, 1), (2, 2, 1), (1, 2, 2), (8, 1, 1)]


def draw(seed=0, batch=BATCH):
    rng = np.random.default_rng(seed)
    mean = rng.normal(size=(2, batch, DIM)).astype(np.float32)
    mean[1] += 2 * mean[0]
    mean /= np.linalg.norm(mean, axis=-1, keepdims=True)
    log_var = rng.normal(-4, 1, (2, batch, DIM)).astype(np.float32)
    caption = rng.integers(1, 20, batch).astype(np.int32)
    captions = rng.integers(0, 20, (batch, 4)).astype(np.int32)
    captions[:, 0] = caption
    weight = np.where(rng.random(batch) < 0.5, rng.random(batch), 1).astype(np.float32)
    inputs = {"mean": mean, "log_var": log_var, "scale": np.float32(12), "bias": np.float32(-6)}
    return inputs, (captions, caption, weight)


def parts(x):
    return (Gaussian(x["mean"][i], x["log_var"][i]) for i in range(2))


def dense(x, data, *, name, extended, blend):
    captions, caption, weight = data
    images, texts = parts(x)
    positives = known_pairs(captions, caption) if extended else drawn_pairs(caption)
    targets = blended(positives, weight) if blend else positives
    if name == "ppcl":
        return losses.ppcl(images, texts, x["scale"], x["bias"], targets)
    if name == "siglip":
        return losses.siglip(images.mean, texts.mean, x["scale"], x["bias"], targets)
    return losses.clip(images.mean, texts.mean, x["scale"], targets)


def in_blocks(x, data, *, name, extended, blend):
    captions, caption, weight = data
    images, texts = parts(x)
    facts = pair_facts(captions, caption, extended=extended, weight=weight if blend else None)
    logit = Logit(x["scale"], x["bias"])
    if name == "ppcl":
        return streamed_ppcl(images, texts, logit, *facts)
    if name == "siglip":
        return streamed_siglip(images.mean, texts.mean, logit, *facts)
    return streamed_clip(images.mean, texts.mean, x["scale"], *facts)


def expected(options, batch=BATCH):
    inputs, data = draw(batch=batch)
    return jax.value_and_grad(functools.partial(dense, **options))(
        *jax.tree.map(jnp.asarray, (inputs, data))
    )


def compare(got, wanted):
    (value, _), gradients = got
    np.testing.assert_allclose(value, wanted[0], rtol=1e-5)
    for key, gradient in wanted[1].items():
        largest = np.abs(gradient).max()
        np.testing.assert_allclose(
            gradients[key], gradient, atol=1e-5 * largest + 1e-9, err_msg=key
        )


def streamed_value_and_grad(options, mesh=None, batch=BATCH):
    inputs, data = draw(batch=batch)
    f = jax.jit(jax.value_and_grad(functools.partial(in_blocks, **options), has_aux=True))
    if mesh is None:
        return f(inputs, data)
    with jax.set_mesh(mesh):
        rows = jax.NamedSharding(mesh, sharding.spec("batch"))
        pairs = jax.NamedSharding(mesh, jax.P(None, *sharding.spec("batch", "dim")))
        placed = {
            k: jax.device_put(v, pairs) if np.ndim(v) else jnp.asarray(v) for k, v in inputs.items()
        }
        by_row = [
            jax.device_put(
                x, rows if x.ndim == 2 else jax.NamedSharding(mesh, sharding.spec("batch"))
            )
            for x in data
        ]
        return f(placed, tuple(by_row))


OPTIONS = [
    dict(name=name, extended=extended, blend=blend)
    for name in ("ppcl", "siglip", "clip")
    for extended, blend in ((False, False), (True, False), (True, True), (False, True))
]


@pytest.mark.parametrize("pairs", [1 << 24, 48 * 16, 48 * 7], ids=lambda n: f"block{n}")
@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: "-".join(map(str, o.values())))
def test_blocks_of_any_size(options, pairs, monkeypatch):
    """Also sizes that don't divide the batch, so that the last block is filled up."""
    monkeypatch.setattr(streamed, "PAIRS", pairs)
    compare(streamed_value_and_grad(options), expected(options))


@pytest.mark.parametrize("scheme", ["gather", "ring"])
@pytest.mark.parametrize("shape", MESHES, ids=str)
@pytest.mark.parametrize("name", ["ppcl", "siglip", "clip"])
def test_any_mesh_gathered_or_in_a_ring(name, shape, scheme, monkeypatch):
    monkeypatch.setattr(streamed, "GATHERED_BYTES", 0 if scheme == "ring" else 1 << 30)
    monkeypatch.setattr(streamed, "PAIRS", 100)
    options = dict(name=name, extended=True, blend=True)
    devices = jax.devices()[: int(np.prod(shape))]
    mesh = sharding.make_mesh(MeshConfig(*shape), devices)
    compare(streamed_value_and_grad(options, mesh), expected(options))


def test_the_ring_is_a_ring(monkeypatch):
    """Texts travel: no program gathers them."""
    mesh = sharding.make_mesh(MeshConfig(), jax.devices()[:4])
    programs = {}
    for scheme, limit in (("ring", 0), ("gather", 1 << 30)):
        monkeypatch.setattr(streamed, "GATHERED_BYTES", limit)
        with jax.set_mesh(mesh):
            inputs, data = draw()
            spec = jax.NamedSharding(mesh, jax.P(None, ("data", "fsdp")))
            rows = jax.NamedSharding(mesh, jax.P(("data", "fsdp")))
            shaped = {k: jax.device_put(v, spec) if np.ndim(v) else v for k, v in inputs.items()}
            f = functools.partial(in_blocks, name="ppcl", extended=True, blend=False)
            placed = tuple(jax.device_put(x, rows) for x in data)
            programs[scheme] = jax.jit(f).lower(shaped, placed).compile().as_text()
    assert "collective-permute" in programs["ring"] and "all-gather" not in programs["ring"]
    assert "all-gather" in programs["gather"] and "collective-permute" not in programs["gather"]


def test_statistics_are_those_of_the_matching_pairs():
    inputs, (captions, caption, _) = draw()
    for name in ("ppcl", "clip"):
        (_, sums), _ = streamed_value_and_grad(dict(name=name, extended=True, blend=False))
        matches = known_pairs(jnp.asarray(captions), jnp.asarray(caption))
        product = inputs["mean"][0] @ inputs["mean"][1].T
        assert float(sums["matches"]) == matches.sum()
        np.testing.assert_allclose(sums["product"], product[np.asarray(matches)].sum(), rtol=1e-5)


@pytest.mark.parametrize("name", ["ppcl", "clip"])
def test_memory_does_not_grow_with_the_square_of_the_batch(name, monkeypatch):
    monkeypatch.setattr(streamed, "PAIRS", 1 << 14)
    options = dict(name=name, extended=True, blend=False)
    temporary = []
    for batch in (512, 2048):
        f = jax.jit(jax.value_and_grad(functools.partial(in_blocks, **options), has_aux=True))
        memory = f.lower(*draw(batch=batch)).compile().memory_analysis()
        temporary.append(memory.temp_size_in_bytes)
    assert temporary[1] < 6 * temporary[0]  # Four times the rows; sixteen times the pairs.
    assert temporary[1] < 2048 * 2048  # A quarter of one array of pairs.


def test_a_small_loss_is_no_difference_of_large_sums(monkeypatch):
    """Logits of pairs and their normalisers are near 100; their sums over the batch, 10^5."""
    monkeypatch.setattr(streamed, "PAIRS", 1 << 18)
    batch = 2048
    rng = np.random.default_rng(0)
    images = rng.normal(size=(batch, 64))
    texts = images + 0.3 * rng.normal(size=(batch, 64))
    images, texts = (
        jnp.asarray(x / np.linalg.norm(x, axis=1, keepdims=True), jnp.float32)
        for x in (images, texts)
    )
    caption = jnp.arange(1, batch + 1, dtype=jnp.int32)
    facts = pair_facts(caption[:, None], caption, extended=False)
    value, _ = jax.jit(streamed_clip)(images, texts, jnp.float32(100), *facts)
    assert abs(float(value)) < 1e-6  # In float64 it is 10^-15.


@pytest.mark.parametrize("log_var", [-30.0, 10.0])
def test_extreme_variances_stay_numbers(log_var):
    inputs, data = draw()
    inputs["log_var"] = np.full_like(inputs["log_var"], log_var)
    f = functools.partial(in_blocks, name="ppcl", extended=True, blend=True)
    (value, _), gradients = jax.jit(jax.value_and_grad(f, has_aux=True))(inputs, data)
    assert np.isfinite(value) and all(np.isfinite(g).all() for g in gradients.values())


@pytest.mark.parametrize(
    ("rows", "columns"), [(1, 1), (16384, 16384), (128, 32768), (7, 1 << 25), (100003, 100003)]
)
def test_chunks_cover_all_columns_and_are_of_bounded_size(rows, columns):
    count, size = streamed.chunking(rows, columns)
    assert columns <= count * size < columns + count
    assert rows * size <= max(streamed.PAIRS + rows, rows)
