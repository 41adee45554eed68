"""The loss of sets against one pair at a time in float64, on any mesh and in blocks of any size."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prolip import losses, sharding
from prolip.config import MeshConfig, SlotsConfig
from prolip.losses import streamed
from prolip.losses.pairwise import Logit
from prolip.losses.positives import blended, drawn_pairs, known_pairs, pair_facts
from prolip.losses.sets import sets_diversity, streamed_sets

BATCH, DIM = 48, 6
FORMS = ("max", "smooth_chamfer")
MESHES = [(1, 1, 1), (2, 1, 1), (3, 1, 1), (2, 2, 1), (1, 2, 2), (8, 1, 1)]


def draw(count=3, batch=BATCH):
    rng = np.random.default_rng(0)
    mean = rng.normal(size=(2, batch, count, DIM))
    mean[1] += mean[0, :, ::-1]
    mean /= np.linalg.norm(mean, axis=-1, keepdims=True)
    caption = rng.integers(1, 20, batch).astype(np.int32)
    captions = rng.integers(0, 20, (batch, 4)).astype(np.int32)
    captions[:, 0] = caption
    weight = np.where(rng.random(batch) < 0.5, rng.random(batch), 1).astype(np.float32)
    return mean, (captions, caption, weight)


def flat(mean):
    """As towers give it."""
    count = mean.shape[2]
    return (mean / np.sqrt(count)).reshape(2, len(mean[0]), -1).astype(np.float32)


def targets_of(data, extended, blend):
    captions, caption, weight = map(jnp.asarray, data)
    positives = known_pairs(captions, caption) if extended else drawn_pairs(caption)
    return np.asarray(blended(positives, weight) if blend else positives, np.float64)


def similarity(mean, slots):
    """Float64 of all pairs, with an array of all pairs of slots."""
    cosines = np.einsum("nkd,mld->nmkl", *mean)
    if slots.similarity == "max":
        return cosines.max((2, 3))
    nearest = [np.log(np.exp(slots.alpha * cosines).sum(axis)).sum(2) for axis in (2, 3)]
    return sum(nearest) / (2 * slots.alpha * slots.count)


def obvious(mean, data, slots, extended, blend, scale=12.0, bias=-6.0):
    logits = scale * similarity(mean, slots) + bias
    targets = targets_of(data, extended, blend)
    losses = targets * np.logaddexp(0, -logits) + (1 - targets) * np.logaddexp(0, logits)
    return losses.sum() / len(logits)


def in_blocks(mean, logit, data, *, slots, extended=True, blend=False):
    captions, caption, weight = data
    facts = pair_facts(captions, caption, extended=extended, weight=weight if blend else None)
    return streamed_sets(mean[0], mean[1], slots, logit, *facts)


def value_and_grad(mean, data, mesh=None, **options):
    f = jax.jit(
        jax.value_and_grad(functools.partial(in_blocks, **options), argnums=(0, 1), has_aux=True)
    )
    logit = Logit(jnp.float32(12), jnp.float32(-6))
    if mesh is None:
        return f(jnp.asarray(mean), logit, data)
    with jax.set_mesh(mesh):
        pairs = jax.NamedSharding(mesh, jax.P(None, *sharding.spec("batch", "dim")))
        rows = jax.NamedSharding(mesh, sharding.spec("batch"))
        return f(jax.device_put(mean, pairs), logit, tuple(jax.device_put(x, rows) for x in data))


@pytest.mark.parametrize(
    ("extended", "blend"), [(False, False), (True, False), (True, True), (False, True)]
)
@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize("form", FORMS)
def test_equals_the_formula(form, count, extended, blend):
    slots = SlotsConfig(count, form)
    mean, data = draw(count)
    options = dict(slots=slots, extended=extended, blend=blend)
    (value, sums), _ = value_and_grad(flat(mean), data, **options)
    np.testing.assert_allclose(value, obvious(mean, data, slots, extended, blend), rtol=1e-5)
    matches, pairs = targets_of(data, extended, False), similarity(mean, slots)
    np.testing.assert_allclose(sums["every"], pairs.sum(), rtol=1e-5)
    np.testing.assert_allclose(sums["matches"], matches.sum(), rtol=1e-6)
    np.testing.assert_allclose(sums["product"], (matches * pairs).sum(), rtol=1e-5)


@pytest.mark.parametrize("blend", [False, True])
def test_one_slot_is_siglip(blend):
    mean, data = draw(1)
    captions, caption, weight = map(jnp.asarray, data)
    positives = known_pairs(captions, caption)
    targets = blended(positives, weight) if blend else positives

    def plain(mean, logit):
        return losses.siglip(mean[0], mean[1], *logit, targets)

    logit = Logit(jnp.float32(12), jnp.float32(-6))
    expected = jax.value_and_grad(plain, argnums=(0, 1))(jnp.asarray(flat(mean)), logit)
    (value, _), gradients = value_and_grad(flat(mean), data, slots=SlotsConfig(), blend=blend)
    np.testing.assert_allclose(value, expected[0], rtol=1e-6)
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, atol=1e-6 * np.abs(y).max()),
        gradients,
        expected[1],
    )


@pytest.mark.parametrize("form", FORMS)
def test_the_gradient_is_the_slope_of_the_formula(form):
    """In float64 by central differences, in a random direction."""
    slots = SlotsConfig(3, form)
    mean, data = draw()
    _, (gradient, logit) = value_and_grad(flat(mean), data, slots=slots)
    direction = np.random.default_rng(1).normal(size=mean.shape)
    step = 1e-6
    ends = [obvious(mean + s * step * direction, data, slots, True, False) for s in (1, -1)]
    along = (np.asarray(gradient, np.float64) * flat(direction)).sum()
    np.testing.assert_allclose(along, (ends[0] - ends[1]) / (2 * step), rtol=1e-4)
    ends = [obvious(mean, data, slots, True, False, scale=12 + s * 1e-4) for s in (1, -1)]
    np.testing.assert_allclose(logit.scale, (ends[0] - ends[1]) / 2e-4, rtol=1e-4)


@pytest.mark.parametrize("pairs", [1 << 24, 48 * 50, 48 * 7, 48 * 2], ids=lambda n: f"block{n}")
@pytest.mark.parametrize("form", FORMS)
def test_blocks_of_any_size(form, pairs, monkeypatch):
    """Of pairs of slots, in which blocks of pairs are cut again; the last ones are filled up."""
    mean, data = draw()
    options = dict(slots=SlotsConfig(3, form), blend=True)
    expected = value_and_grad(flat(mean), data, **options)
    monkeypatch.setattr(streamed, "PAIRS", pairs)
    assert_close(value_and_grad(flat(mean), data, **options), expected)


@pytest.mark.parametrize(
    ("form", "shape", "scheme"),
    [
        *(("max", shape, "gather") for shape in MESHES),
        *(("smooth_chamfer", shape, "ring") for shape in MESHES),
    ],
    ids=str,
)
def test_any_mesh_gathered_or_in_a_ring(form, shape, scheme, monkeypatch):
    mean, data = draw()
    options = dict(slots=SlotsConfig(3, form))
    expected = value_and_grad(flat(mean), data, **options)
    monkeypatch.setattr(streamed, "GATHERED_BYTES", 0 if scheme == "ring" else 1 << 30)
    devices = jax.devices()[: int(np.prod(shape))]
    mesh = sharding.make_mesh(MeshConfig(*shape), devices)
    assert_close(value_and_grad(flat(mean), data, mesh, **options), expected)


def test_diversity_is_the_mean_squared_cosine_of_two_slots():
    mean, _ = draw(4)
    found = sets_diversity(jnp.asarray(flat(mean)[0]), SlotsConfig(4))
    expected = np.mean(
        [(x[k] @ x[i]) ** 2 for x in mean[0] for k in range(4) for i in range(4) if i != k]
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    same = np.tile(mean[0][:, :1], (1, 4, 1))
    assert sets_diversity(jnp.asarray(flat(np.stack([same] * 2))[0]), SlotsConfig(4)) == (
        pytest.approx(1, rel=1e-5)
    )
    assert sets_diversity(jnp.asarray(flat(draw(1)[0])[0]), SlotsConfig()) == 0


def assert_close(got, expected):
    for x, y in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(x, y, rtol=2e-5, atol=2e-6 * np.abs(y).max())
