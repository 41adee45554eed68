"""Triplet, PCME and PCME++ against slow float64 sums; what limits they share; any mesh."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.special import expit
from small_batch import BATCH, BIAS, SCALE, assert_same_on_any_mesh, gaussians, inputs, only

from prolip import gaussian, losses
from prolip.gaussian import Gaussian
from prolip.losses.objective import Embeddings, objective
from prolip.losses.pairwise import Logit
from prolip.losses.pcme import draw, matching
from prolip.losses.pcmepp import streamed_pcmepp
from prolip.losses.positives import blended, known_pairs, pair_facts


def targets_of(kind):
    _, _, captions, caption, weight = inputs()
    known = np.asarray(known_pairs(jnp.asarray(captions), jnp.asarray(caption)))
    return {
        "paired": np.eye(BATCH, dtype=bool),
        "extended": known,
        "blended": np.asarray(blended(jnp.asarray(known), jnp.asarray(weight, jnp.float32))),
    }[kind]


@pytest.mark.parametrize("kind", ["paired", "extended", "blended"])
@pytest.mark.parametrize("negatives", ["hardest", "all"])
def test_triplet_is_the_sum_over_triples(kind, negatives):
    mean, *_ = inputs()
    targets = jnp.asarray(targets_of(kind))
    cosines = mean[0] @ mean[1].T
    expected = 0.0
    for scores, matches in ((cosines, targets), (cosines.T, targets.T)):
        for i in range(BATCH):
            others = np.flatnonzero(np.asarray(matches[i]) == 0)
            gaps = [max(0.0, 0.3 + scores[i, j] - scores[i, i]) for j in others]
            expected += (max(gaps) if negatives == "hardest" else sum(gaps)) / BATCH
    got = losses.triplet(
        *jnp.asarray(mean, jnp.float32), margin=0.3, negatives=negatives, positives=targets
    )
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_triplet_is_zero_where_every_margin_is_kept():
    eye = jnp.eye(BATCH)
    assert losses.triplet(eye, eye, margin=0.9) == 0
    assert losses.triplet(eye, eye, margin=1.5) == pytest.approx(1.0)  # 0.5 in each direction.


def csd_of(mean, log_vars):
    squares = ((mean[0][:, None] - mean[1][None, :]) ** 2).sum(-1)
    image, text = np.exp(log_vars).sum(-1)
    return squares + image[:, None] + text[None, :]


def bce(logits, targets):
    return np.logaddexp(0, logits) - targets * logits


def slow_pcmepp(mean, log_vars, targets, alpha):
    logits = BIAS - SCALE * csd_of(mean, log_vars)
    total = 2 * bce(logits, targets).mean()
    for scores, wanted in ((logits, targets), (logits.T, targets.T)):
        more = wanted.astype(float)
        for i in range(BATCH):
            for j in range(BATCH):
                if scores[i, j] >= scores[i, i]:
                    more[i, j] = max(more[i, j], wanted[i, i])
        total += alpha * bce(scores, more).mean()
    return total


@pytest.mark.parametrize("kind", ["paired", "extended", "blended"])
@pytest.mark.parametrize("alpha", [0.0, 0.1, 1.0])
def test_pcmepp_is_the_formula_of_the_paper(kind, alpha):
    mean, log_vars, captions, caption, weight = inputs()
    targets = targets_of(kind)
    expected = slow_pcmepp(mean, log_vars, targets, alpha)
    images, texts = gaussians(mean, log_vars)
    dense = functools.partial(losses.pcmepp, positives=jnp.asarray(targets), pseudo_positives=alpha)
    np.testing.assert_allclose(dense(images, texts, SCALE, BIAS), expected, rtol=1e-5)
    facts = pair_facts(
        jnp.asarray(captions),
        jnp.asarray(caption),
        extended=kind != "paired",
        weight=jnp.asarray(weight, jnp.float32) if kind == "blended" else None,
    )

    def streamed(images, texts, scale, bias):
        return streamed_pcmepp(images, texts, Logit(scale, bias), *facts, alpha)[0]

    args = images, texts, jnp.float32(SCALE), jnp.float32(BIAS)
    value, gradients = jax.value_and_grad(streamed, argnums=(0, 1, 2, 3))(*args)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    wanted = jax.grad(dense, argnums=(0, 1, 2, 3))(*args)
    for got, one, point in zip(
        jax.tree.leaves(gradients), jax.tree.leaves(wanted), jax.tree.leaves(args), strict=True
    ):
        if np.ndim(one) and (point < 0).any() and np.allclose((point**2).sum(-1), 1, atol=1e-5):
            # Along the sphere: off it the two forms differ, and unit means never are.
            got, one = (g - (g * point).sum(-1, keepdims=True) * point for g in (got, one))
        np.testing.assert_allclose(got, one, atol=1e-5 * np.abs(one).max())


def test_pseudo_positives_of_equal_captions_do_not_depend_on_rounding():
    """Texts of the same caption have the same embedding: each counts for the others' images."""
    mean, log_vars, *_ = inputs()
    mean[1, 1::2], log_vars[1, 1::2] = mean[1, ::2], log_vars[1, ::2]
    expected = slow_pcmepp(mean, log_vars, np.eye(BATCH), 1.0)
    facts = pair_facts(jnp.zeros((BATCH, 1), int), jnp.zeros(BATCH, int), extended=False)
    got, _ = jax.jit(streamed_pcmepp, static_argnums=5)(
        *gaussians(mean, log_vars), Logit(jnp.float32(SCALE), jnp.float32(BIAS)), *facts, 1.0
    )
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def slow_pcme(x, y, targets, factor):
    distance = np.sqrt(((x[:, None, :, None] - y[None, :, None, :]) ** 2).sum(-1) + 1e-6)
    p = expit(factor * (BIAS - SCALE * distance)).mean((2, 3))
    return -(targets * np.log(p) + (1 - targets) * np.log1p(-p)).sum() / len(p)


@pytest.mark.parametrize("kind", ["paired", "blended"])
@pytest.mark.parametrize(("form", "factor"), [("exact", 1), ("released", 2)])
def test_pcme_is_the_sum_over_pairs_of_samples(key, kind, form, factor):
    mean, log_vars, *_ = inputs()
    targets = jnp.asarray(targets_of(kind))
    images, texts = gaussians(mean, log_vars)
    x, y = (np.asarray(s, np.float64) for s in draw(images, texts, key, 3))
    got = losses.pcme(images, texts, SCALE, BIAS, key, 3, targets, form)
    np.testing.assert_allclose(got, slow_pcme(x, y, targets, factor), rtol=1e-5)


def test_pcme_gradient_is_that_of_finite_differences_through_the_samples(key):
    mean, log_vars, *_ = inputs()
    with jax.enable_x64(True):
        arrays = {"mean": jnp.asarray(mean), "log_var": jnp.asarray(log_vars)}
        arrays |= {"scale": jnp.asarray(SCALE), "bias": jnp.asarray(BIAS)}

        @jax.jit
        def loss(x):
            sides = (Gaussian(x["mean"][i], x["log_var"][i]) for i in (0, 1))
            return losses.pcme(*sides, x["scale"], x["bias"], key, 2)

        gradients = jax.grad(loss)(arrays)
        rng = np.random.default_rng(1)
        for name, value in arrays.items():
            way = jnp.asarray(rng.normal(size=value.shape))
            ahead, behind = (loss(arrays | {name: value + s * way}) for s in (1e-5, -1e-5))
            slope = (gradients[name] * way).sum()
            np.testing.assert_allclose((ahead - behind) / 2e-5, slope, rtol=1e-6, err_msg=name)


def test_pcme_stays_a_number_where_no_probability_is_one_in_float32(key):
    images, texts = gaussians(*inputs()[:2])
    loss = jax.value_and_grad(lambda scale: losses.pcme(images, texts, scale, 0.0, key, 2))
    value, slope = loss(jnp.float32(500.0))
    assert np.isfinite(value) and np.isfinite(slope) and slope > 0


def test_samples_are_of_their_gaussians(key):
    images, texts = gaussians(*inputs()[:2])
    for drawn, side in zip(draw(images, texts, key, 20_000), (images, texts), strict=True):
        np.testing.assert_allclose(drawn.mean(1), side.mean, atol=0.02)
        np.testing.assert_allclose(drawn.var(1), side.variance, rtol=0.1)


def test_more_samples_order_pairs_as_the_closed_form_does(key):
    mean, log_vars, *_ = inputs(log_var=-4.0)
    images, texts = gaussians(mean, log_vars)
    closed = np.asarray(-gaussian.csd(images, texts)).ravel()

    def agreement(samples):
        log_p = matching(*draw(images, texts, key, samples), SCALE, BIAS).yes
        return stats.spearmanr(np.asarray(log_p).ravel(), closed).statistic

    few, some, many = map(agreement, (1, 8, 64))
    assert few < some < many and many > 0.99


def test_siglip_is_ppcl_without_variances_and_pcmepp_is_ppcl_of_another_scale():
    mean, log_vars, *_ = inputs()
    points = [Gaussian(g.mean, jnp.full_like(g.mean, -jnp.inf)) for g in gaussians(mean, log_vars)]
    np.testing.assert_allclose(
        losses.ppcl(*points, SCALE, BIAS),
        losses.siglip(points[0].mean, points[1].mean, SCALE, BIAS),
        rtol=1e-6,
    )
    images, texts = gaussians(mean, log_vars)
    np.testing.assert_allclose(
        losses.pcmepp(images, texts, SCALE, BIAS, pseudo_positives=0.0),
        2 / BATCH * losses.ppcl(images, texts, 2 * SCALE, BIAS - 2 * SCALE),
        rtol=1e-5,
    )


RIVALS = {
    "triplet": only(triplet=1.0, triplet_negatives="all"),
    "pcmepp": only(pcmepp=1.0, label_smoothing=2e-4),
    "pcme": only(pcme=1.0, pcme_samples=2),
}


@pytest.mark.parametrize("blend", [False, True])
@pytest.mark.parametrize("name", RIVALS)
def test_rivals_are_the_same_on_any_number_of_devices(name, blend):
    config = RIVALS[name]
    # Of each way of summing up, one on every number.
    counts = (2, 3, 4, 8) if (name, blend) == ("pcme", False) else (3,)
    metrics = assert_same_on_any_mesh(config, blend, counts)
    assert metrics[f"loss/{name}"] > 0 and "similarity/positive" in metrics


def test_pcme_without_a_key_says_so():
    images, texts = gaussians(*inputs()[:2])
    ids = jnp.arange(1, BATCH + 1)
    with pytest.raises(ValueError, match="needs a key"):
        objective(
            RIVALS["pcme"],
            Embeddings(images, texts, None, None),
            jnp.float32(1),
            jnp.float32(0),
            ids[:, None],
            ids,
        )
