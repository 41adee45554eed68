"""Smoothed, doubted and relabelled targets in blocks, against autodiff of the plain formulas."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_batch import BATCH, assert_same_on_any_mesh, inputs, only

from prolip.config import ObjectiveConfig
from prolip.gaussian import Gaussian
from prolip.losses import streamed
from prolip.losses.noisy_pairs import clean_probability
from prolip.losses.pairwise import Logit, streamed_ppcl, streamed_siglip
from prolip.losses.positives import blended, drawn_pairs, known_pairs, pair_facts
from prolip.losses.soft_labels import PLAIN, SoftLabels, sigmoid_pairs, soft_labels
from prolip.losses.softmax import streamed_clip

OPTIONS = {
    "smooth": SoftLabels(smoothing=0.2),
    "relabel": SoftLabels(relabelled=1.0),
    "lighter": SoftLabels(lighter=True),
    "reweighted": SoftLabels(reweighted=True),
    "relabel all": SoftLabels(smoothing=0.1, relabelled=0.5, reweighted=True),
    "lighter all": SoftLabels(smoothing=0.1, lighter=True, reweighted=True),
}
TARGETS = {"paired": (False, False), "blended": (True, True)}  # Extended, blended.
# SigLIP is PPCL without variances: once is enough.
CASES = [
    (name, option, kind) for name in ("ppcl", "clip") for option in OPTIONS for kind in TARGETS
]
CASES.append(("siglip", "relabel all", "blended"))


def plain_sigmoid(logits, targets, part, labels, clean):
    """The loss, and that of each drawn pair."""
    fixed = jax.lax.stop_gradient(logits)
    own = jnp.diag(fixed)
    weight = jnp.ones_like(logits)
    if labels.lighter:
        weight = jnp.where(targets > 0, 1, 1 - jax.nn.sigmoid(fixed))
    by_row = jnp.maximum(targets, jnp.where(fixed >= own[:, None], part[:, None], 0))
    by_column = jnp.maximum(targets, jnp.where(fixed >= own[None, :], part[None, :], 0))
    s, e = labels.relabelled, labels.smoothing
    targets = (1 - s) * targets + s * (by_row + by_column) / 2
    targets = (1 - e) * targets + e / 2
    weight = weight * jnp.where(jnp.eye(len(own), dtype=bool), clean[:, None], 1)
    yes, no = -jnp.log1p(jnp.exp(-logits)), -jnp.log1p(jnp.exp(logits))
    losses = -weight * (targets * yes + (1 - targets) * no)
    return losses.sum() / len(logits), -jnp.diag(yes)


def plain_softmax(logits, targets, part, labels, clean):
    """The loss, and that of each drawn pair."""
    share = [jnp.exp(x - jax.nn.logsumexp(x, 1, keepdims=True)) for x in (logits, logits.T)]
    losses = []
    for scores, wanted, p in zip((logits, logits.T), (targets, targets.T), share, strict=True):
        fixed, p = jax.lax.stop_gradient((scores, p))
        weight = jnp.where(wanted > 0, 1, 1 - p) if labels.lighter else jnp.ones_like(p)
        log_p = scores - jnp.log((weight * jnp.exp(scores)).sum(1, keepdims=True))
        more = jnp.maximum(wanted, jnp.where(fixed >= jnp.diag(fixed)[:, None], part[:, None], 0))
        wanted = (1 - labels.relabelled) * wanted + labels.relabelled * more
        wanted = wanted / wanted.sum(1, keepdims=True)
        wanted = (1 - labels.smoothing) * wanted + labels.smoothing / len(logits)
        losses.append((-(wanted * log_p).sum(1), jnp.diag(log_p)))
    drawn = -(losses[0][1] + losses[1][1]) / 2
    return (clean * (losses[0][0] + losses[1][0])).sum() / (2 * len(logits)), drawn


def slow_clean(losses):
    """EM for two Gaussians, one pair at a time."""
    x = (losses - losses.min()) / (losses.max() - losses.min())
    means, share = [0.0, 1.0], [0.5, 0.5]
    variances = [x.var() + 5e-4] * 2

    def posterior(value):
        density = [
            w * np.exp(-((value - m) ** 2) / (2 * v)) / np.sqrt(v)
            for w, m, v in zip(share, means, variances, strict=True)
        ]
        return density[0] / sum(density)

    for _ in range(10):
        better = np.array([posterior(value) for value in x])
        for k, belongs in enumerate((better, 1 - better)):
            means[k] = (belongs * x).sum() / belongs.sum()
            variances[k] = (belongs * (x - means[k]) ** 2).sum() / belongs.sum() + 5e-4
            share[k] = belongs.mean()
    return np.array([posterior(max(value, means[0])) for value in x])


def expected(name, labels, extended, blend):
    """Value and gradients in float64."""
    mean, log_var, captions, caption, weight = inputs()
    with jax.enable_x64(True):
        x = {"mean": mean, "log_var": log_var, "scale": np.float64(9), "bias": np.float64(-4)}
        facts = jnp.asarray(captions), jnp.asarray(caption)
        targets = known_pairs(*facts) if extended else drawn_pairs(facts[1])
        targets = blended(targets, jnp.asarray(weight)) if blend else targets.astype(float)
        part = jnp.diag(targets)

        def loss(x, clean):
            product = x["mean"][0] @ x["mean"][1].T
            if name == "clip":
                return plain_softmax(x["scale"] * product, targets, part, labels, clean)
            if name == "ppcl":
                image, text = jnp.exp(x["log_var"]).sum(-1)
                product = product - (image[:, None] + text[None, :]) / 2
            return plain_sigmoid(x["scale"] * product + x["bias"], targets, part, labels, clean)

        x, clean = jax.tree.map(jnp.asarray, x), jnp.ones(BATCH)
        if labels.reweighted:
            clean = jnp.asarray(slow_clean(np.asarray(loss(x, clean)[1])))
        (value, _), gradients = jax.value_and_grad(loss, has_aux=True)(x, clean)
        return jax.device_get((value, gradients))


def in_blocks(name, labels, extended, blend):
    mean, log_var, captions, caption, weight = inputs()
    part = jnp.asarray(weight, jnp.float32) if blend else None
    facts = pair_facts(jnp.asarray(captions), jnp.asarray(caption), extended=extended, weight=part)

    @jax.jit
    @jax.value_and_grad
    def loss(x):
        images, texts = (Gaussian(x["mean"][i], x["log_var"][i]) for i in (0, 1))
        logit = Logit(x["scale"], x["bias"])
        if name == "ppcl":
            return streamed_ppcl(images, texts, logit, *facts, labels)[0]
        if name == "siglip":
            return streamed_siglip(images.mean, texts.mean, logit, *facts, labels)[0]
        return streamed_clip(images.mean, texts.mean, x["scale"], *facts, labels)[0]

    x = {"mean": mean, "log_var": log_var, "scale": 9.0, "bias": -4.0}
    return loss({k: jnp.asarray(v, jnp.float32) for k, v in x.items()})


@pytest.mark.parametrize(("name", "option", "kind"), CASES)
def test_blocks_have_the_value_and_gradients_of_the_plain_formula(name, option, kind, monkeypatch):
    monkeypatch.setattr(streamed, "PAIRS", BATCH * 7)  # Four blocks, the last of them filled up.
    value, gradients = expected(name, OPTIONS[option], *TARGETS[kind])
    got, slopes = in_blocks(name, OPTIONS[option], *TARGETS[kind])
    np.testing.assert_allclose(got, value, rtol=1e-5)
    for key, wanted in gradients.items():
        largest = np.abs(wanted).max()
        np.testing.assert_allclose(slopes[key], wanted, atol=2e-5 * largest + 1e-9, err_msg=key)


def test_options_left_out_are_the_plain_blocks():
    assert soft_labels(ObjectiveConfig()) == PLAIN


def test_clean_probability_is_that_of_the_slow_mixture_and_finds_the_wrong_pairs():
    rng = np.random.default_rng(0)
    losses = np.concatenate([rng.gamma(2, 0.1, 90), rng.normal(4, 0.5, 30)])
    got = np.asarray(clean_probability(jnp.asarray(losses, jnp.float32)))
    np.testing.assert_allclose(got, slow_clean(losses), atol=1e-4)
    assert got[:90].min() > 0.9 and got[90:].max() < 0.1
    order = np.argsort(losses)
    assert (np.diff(got[order]) <= 1e-6).all()  # A smaller loss is never less clean.


@pytest.mark.parametrize("losses", [np.zeros(8), np.full(8, 3.0), np.r_[np.zeros(7), 9.0]])
def test_clean_probability_of_equal_losses_is_a_number(losses):
    got = np.asarray(clean_probability(jnp.asarray(losses, jnp.float32)))
    assert np.isfinite(got).all() and got[:7].min() > 0.9


def test_down_weighting_is_the_generalised_cross_entropy_of_mismatches():
    """Its gradient is that of the probability itself (arXiv 1805.07836 with q = 1)."""
    logits = jnp.linspace(-6, 6, BATCH * BATCH).reshape(BATCH, BATCH)
    eye, ids = jnp.eye(BATCH), jnp.arange(1, BATCH + 1)
    facts = pair_facts(ids[:, None], ids, extended=False)
    _, got = sigmoid_pairs(logits, eye, *facts, SoftLabels(lighter=True))
    p = 1 / (1 + np.exp(-np.asarray(logits, np.float64)))
    np.testing.assert_allclose(np.asarray(got)[eye == 0], (p * (1 - p))[eye == 0], atol=1e-6)


MIXED = {
    "ppcl": only(ppcl=1.0, false_negatives="weight", noisy_pairs="reweight", label_smoothing=0.1),
    "siglip": only(siglip=1.0, false_negatives="relabel"),
    "clip": only(clip=1.0, false_negatives="weight", noisy_pairs="reweight", label_smoothing=0.1),
    "clip relabel": only(clip=1.0, false_negatives="relabel"),
    "pcmepp": only(pcmepp=1.0),
}


@pytest.mark.parametrize("name", MIXED)
def test_options_and_what_is_measured_are_the_same_on_any_number_of_devices(name):
    config = dataclasses.replace(MIXED[name], measure_mismatch=True)
    counts = (2, 3, 4, 8) if name == "clip" else (3,)
    metrics = assert_same_on_any_mesh(config, name == "siglip", counts)
    assert metrics["mismatch/positives"] > 1.5
    assert ("noisy_pairs/clean" in metrics) == (config.noisy_pairs == "reweight")
