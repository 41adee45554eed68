"""Rows of one image: the captions of all of them match it, in every form of the facts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_batch import BIAS, SCALE, inputs, only

from prolip import sharding
from prolip.config import MeshConfig
from prolip.gaussian import Gaussian
from prolip.losses.objective import Embeddings, objective
from prolip.losses.positives import (
    blended,
    block_matches,
    block_targets,
    drawn_targets,
    known_pairs,
    pair_facts,
)
from prolip.losses.shared_captions import shared_captions

BATCH, KNOWN = 24, 3


def draw(seed, images=8, vocabulary=40):
    """Known captions (some padded), the drawn ones, and ids of images that differ in one word."""
    rng = np.random.default_rng(seed)
    number = rng.integers(0, images, BATCH)
    ids = np.stack([number // 3, number % 3], 1).astype(np.int32) - np.int32(2**31 - 1)
    captions = rng.integers(0, vocabulary, (BATCH, KNOWN)).astype(np.int32)
    captions[:, 0] = caption = rng.integers(1, vocabulary, BATCH).astype(np.int32)
    return tuple(map(jnp.asarray, (captions, caption, ids)))


def truth(captions, caption, ids):
    """By sets, a pair at a time."""
    known = {}
    for row, words in zip(captions.tolist(), map(tuple, ids.tolist()), strict=True):
        known.setdefault(words, set()).update(row)
    rows = [known[tuple(words)] - {0} for words in ids.tolist()]
    return np.array([[c in row for c in caption.tolist()] for row in rows])


@pytest.mark.parametrize("seed", range(3))
def test_captions_of_all_rows_of_an_image_match_each_of_its_rows(seed):
    captions, caption, ids = draw(seed, vocabulary=200)
    expected = truth(captions, caption, ids)
    assert (
        expected.sum() > truth(captions, caption, np.arange(2 * BATCH).reshape(-1, 2)).sum()
    )  # Each row by itself.
    shared = jax.jit(shared_captions)(captions, caption, ids)
    np.testing.assert_array_equal(known_pairs(shared, caption, ids), expected)
    rows, columns = pair_facts(shared, caption, extended=True, image=ids)
    np.testing.assert_array_equal(block_matches(rows, columns), expected)
    rows, columns = pair_facts(shared, caption, extended=False, image=ids)
    np.testing.assert_array_equal(block_matches(rows, columns), np.eye(BATCH, dtype=bool))


def test_blends_match_the_captions_of_all_rows_of_both_images():
    captions, caption, ids = draw(3)
    weight = jnp.linspace(0.5, 1, BATCH, dtype=np.float32)
    rows, columns = pair_facts(captions, caption, extended=True, weight=weight, image=ids)
    expected = blended(known_pairs(captions, caption, ids), weight)
    targets = block_targets(rows, columns, block_matches(rows, columns))
    np.testing.assert_allclose(targets, expected, rtol=1e-6)
    np.testing.assert_allclose(drawn_targets(rows, columns), np.diagonal(expected), rtol=1e-6)


def test_an_image_with_more_rows_than_known_captions_matches_all_of_them():
    captions = jnp.arange(1, BATCH + 1, dtype=np.int32)[:, None]
    ids = jnp.zeros((BATCH, 2), np.int32)
    shared = shared_captions(captions, captions[:, 0], ids)
    assert known_pairs(shared, captions[:, 0], ids).all()


def test_without_a_repeated_image_known_captions_stay_as_they_are():
    captions, caption, _ = draw(4)
    ids = jnp.asarray(np.random.default_rng(0).permutation(2 * BATCH).reshape(BATCH, 2))
    shared = shared_captions(captions, caption, ids)
    np.testing.assert_array_equal(shared[:, :KNOWN], captions)
    assert not shared[:, KNOWN:].any()


@pytest.mark.parametrize(
    "terms", [{"ppcl": 1.0, "measure_mismatch": True, "inclusion_text_text": 1.0}, {"clip": 1.0}]
)
def test_matches_and_loss_are_the_same_on_any_mesh(terms):
    mean, log_vars, *_ = inputs()
    facts = tuple(map(np.asarray, draw(5)))
    config = only(positives="extended", **terms)
    totals = []
    for devices in (1, 2, 3, 4, 8):
        mesh = sharding.make_mesh(MeshConfig(), jax.devices()[:devices])
        with jax.set_mesh(mesh):
            sides, (captions, caption, ids) = sharding.to_global(
                mesh,
                (
                    [Gaussian(m, v) for m, v in np.stack([mean, log_vars], 1).astype(np.float32)],
                    facts,
                ),
            )

            def total(sides, captions, caption, ids):
                parts = Embeddings(*sides, None, None)
                scalars = jnp.float32(SCALE), jnp.float32(BIAS)
                return objective(config, parts, *scalars, captions, caption, image_id=ids)

            value, metrics = jax.device_get(jax.jit(total)(sides, captions, caption, ids))
        matches = truth(*facts).sum() / BATCH
        assert metrics["positives_per_image"] == pytest.approx(matches)
        if "measure_mismatch" in terms:
            assert metrics["mismatch/positives"] == pytest.approx(matches)
        totals.append(value)
    np.testing.assert_allclose(totals, totals[0], rtol=1e-5)
