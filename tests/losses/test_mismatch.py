"""The survey's claim about sparse labels, as numbers of a batch (arXiv 2505.19614, section 3.1)."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_batch import BATCH, gaussians, inputs, only

from prolip import losses
from prolip.config import ConfigError
from prolip.losses.check import check
from prolip.losses.mismatch import measured, mismatch
from prolip.losses.objective import Embeddings, objective
from prolip.losses.pairwise import Logit
from prolip.losses.positives import known_pairs, pair_facts
from prolip.losses.softmax import image_slope

CLIP = only(clip=1.0, measure_mismatch=True)
SIGLIP = only(siglip=1.0, measure_mismatch=True)
SCALE = jnp.float32(6)


def facts():
    _, _, captions, caption, _ = inputs()
    return jnp.asarray(captions), jnp.asarray(caption)


def softmax_of_rows(mean):
    logits = float(SCALE) * mean[0] @ mean[1].T
    return np.exp(logits) / np.exp(logits).sum(1, keepdims=True)


def image_to_text(images, texts, targets):
    """-1/B sum_ij target_ij log p_ij."""
    logits = SCALE * images @ texts.T
    return -(targets * jax.nn.log_softmax(logits, 1)).sum() / BATCH


@pytest.mark.parametrize("extended", [False, True])
def test_sparse_and_ideal_gradients_are_the_printed_formulas(extended):
    mean, *_ = inputs()
    images, texts = (g.mean for g in gaussians(mean, mean))
    valid = np.asarray(known_pairs(*facts()))
    targets = valid / valid.sum(1, keepdims=True) if extended else np.eye(BATCH)
    slope = image_slope(images, texts, SCALE, *pair_facts(*facts(), extended=extended))
    np.testing.assert_allclose(slope, softmax_of_rows(mean) - targets, atol=1e-6)
    # sum_j p_j g(y_j) - g(y_1), or sum_j (p_j - p*_j) g(y_j): by autodiff of the loss.
    by_autodiff = jax.grad(image_to_text)(images, texts, jnp.asarray(targets, jnp.float32))
    np.testing.assert_allclose(SCALE / BATCH * slope @ texts, by_autodiff, atol=1e-6)


def test_the_ideal_gradient_is_zero_where_every_match_has_its_share():
    """Two texts that are equally near to each of two images and infinitely far from the others."""
    mean = jnp.repeat(jnp.eye(BATCH // 2), 2, axis=0)
    ids = jnp.repeat(jnp.arange(1, BATCH // 2 + 1), 2)
    slope, sparse = (
        image_slope(mean, mean, jnp.float32(100), *pair_facts(ids[:, None], ids, extended=extended))
        for extended in (True, False)
    )
    np.testing.assert_allclose(slope, 0, atol=1e-6)
    assert (np.abs(sparse).sum(1) > 0.99).all()  # Half away from the drawn one, half to the other.
    value, gradient = jax.value_and_grad(losses.clip)(
        mean, mean, jnp.float32(100), known_pairs(ids[:, None], ids)
    )
    np.testing.assert_allclose(value, np.log(2), rtol=1e-5)
    np.testing.assert_allclose(gradient, 0, atol=1e-5)


def test_numbers_are_those_of_slow_sums():
    mean, log_vars, *_ = inputs()
    images, texts = gaussians(mean, log_vars)
    got = measured(CLIP, images, texts, Logit(SCALE, jnp.float32(-2)), *facts(), None)
    p, valid = softmax_of_rows(mean), np.asarray(known_pairs(*facts()))
    push, difference, ideal = 0.0, 0.0, 0.0
    for i in range(BATCH):
        matches = np.flatnonzero(valid[i])
        push += sum(p[i, j] for j in matches if j != i) / BATCH
        sparse = p[i] @ mean[1] - mean[1, i]
        right = p[i] @ mean[1] - mean[1, matches].mean(0)
        difference += ((sparse - right) ** 2).sum()
        ideal += (right**2).sum()
    np.testing.assert_allclose(got["mismatch/positives"], valid.sum(1).mean(), rtol=1e-6)
    np.testing.assert_allclose(got["mismatch/push"], push, rtol=1e-5)
    np.testing.assert_allclose(got["mismatch/gradient"], np.sqrt(difference / ideal), rtol=1e-5)


@pytest.mark.parametrize("config", [CLIP, SIGLIP])
def test_nothing_is_pushed_away_where_every_match_was_drawn_or_counts(config):
    images, texts = gaussians(*inputs()[:2])
    logit = Logit(SCALE, jnp.float32(-2))
    alone = jnp.arange(1, BATCH + 1)
    got = measured(config, images, texts, logit, alone[:, None], alone, None)
    assert got["mismatch/positives"] == 1 and got["mismatch/push"] == 0
    np.testing.assert_allclose(got["mismatch/gradient"], 0, atol=1e-6)
    extended = dataclasses.replace(config, positives="extended")
    got = measured(extended, images, texts, logit, *facts(), None)
    np.testing.assert_allclose(got["mismatch/gradient"], 0, atol=1e-6)
    sparse = measured(config, images, texts, logit, *facts(), None)
    assert sparse["mismatch/gradient"] > 0.1 and sparse["mismatch/push"] > got["mismatch/push"]


def test_more_captions_in_common_mean_more_mismatch():
    """K images and K texts of each kind, all of them valid for each other."""
    found = []
    for k in (1, 2, 4, 8):
        ids = jnp.repeat(jnp.arange(1, BATCH // k + 1), k)
        mean, log_vars, *_ = inputs(batch=BATCH)
        images, texts = gaussians(mean, log_vars)
        got = measured(CLIP, images, texts, Logit(SCALE, jnp.float32(0)), ids[:, None], ids, None)
        assert got["mismatch/positives"] == k
        found.append(float(got["mismatch/push"]))
    assert found == sorted(found) and found[0] == 0


@pytest.mark.parametrize("config", [CLIP, SIGLIP])
@pytest.mark.parametrize("option", ["weight", "relabel"])
def test_options_against_false_negatives_push_less(config, option):
    images, texts = gaussians(*inputs()[:2])
    logit = Logit(SCALE, jnp.float32(-2))
    push = [
        measured(
            dataclasses.replace(config, false_negatives=value), images, texts, logit, *facts(), None
        )["mismatch/push"]
        for value in ("count", option)
    ]
    assert push[1] < push[0]


def test_it_is_logged_and_moves_no_gradient():
    images, texts = gaussians(*inputs()[:2])

    def total(images, config):
        scalars = SCALE, jnp.float32(-2)
        return objective(config, Embeddings(images, texts, None, None), *scalars, *facts())

    silent = dataclasses.replace(CLIP, measure_mismatch=False)
    (_, metrics), gradient = jax.value_and_grad(total, has_aux=True)(images, CLIP)
    (_, fewer), same = jax.value_and_grad(total, has_aux=True)(images, silent)
    assert {name for name in metrics if name not in fewer} == {
        "mismatch/positives",
        "mismatch/push",
        "mismatch/gradient",
    }
    jax.tree.map(np.testing.assert_array_equal, gradient, same)


def test_a_slope_of_zero_pushes_nothing():
    zero = jnp.zeros((3, 3))
    got = mismatch(zero, zero, jnp.ones((3, 3), bool), jnp.eye(3))
    assert got["mismatch/positives"] == 3
    assert got["mismatch/push"] == got["mismatch/gradient"] == 0


@pytest.mark.parametrize(
    ("changes", "variances", "words"),
    [
        ({"pcme": 1.0}, False, "objective.pcme needs variances"),
        ({"bottleneck": 1.0}, False, "objective.bottleneck needs variances"),
        ({"measure_mismatch": True}, True, "measure_mismatch has nothing to act on"),
        ({"label_smoothing": 0.1}, True, "label_smoothing has nothing to act on"),
        ({"false_negatives": "weight", "pcmepp": 1.0}, True, "weight to one of ppcl, siglip, clip"),
        ({"noisy_pairs": "reweight", "triplet": 1.0}, True, "noisy_pairs has nothing to act on"),
    ],
)
def test_options_that_can_do_nothing_say_so(changes, variances, words):
    off = only()
    check(off, variances=variances)
    with pytest.raises(ConfigError, match=words):
        check(dataclasses.replace(off, **changes), variances=variances)
