"""Filters and weights of prompts, against the released code and what must be."""

import json
from pathlib import Path

import numpy as np
import pytest

from prolip.config import ConfigError
from prolip.evals import prompt_choice, prompts
from prolip.evals.sets.address import parse
from prolip.evals.zero_shot import class_logits
from prolip.gaussian import Gaussian

FIXTURES = Path(__file__).parents[1] / "fixtures"
DATA = np.load(FIXTURES / "bprw.npz")
INFO = json.loads((FIXTURES / "bprw.json").read_text())
NAMES = {
    "var_multi": "multiplier",
    "stable_eps": "floor",
    "tol": "tolerance",
    "max_iter": "max_steps",
}


def log(variance):
    return np.log(variance.astype(np.float64))


CLASSES = Gaussian(DATA["full_class_text_means"], log(DATA["full_class_text_vars"]))
IMAGES = Gaussian(DATA["full_image_means"], DATA["full_image_logvars"])
TRACES = DATA["full_class_text_vars"].astype(np.float64).sum(-1)


@pytest.mark.parametrize("name", sorted(INFO["em"]))
def test_weights_are_those_of_the_released_code(name):
    settings = {NAMES.get(k, k): v for k, v in INFO["em"][name]["settings"].items()}
    given = Gaussian(DATA["means"], log(DATA["vars"]))
    ours = prompts.mixture_weights(DATA["observations"], given, form="released", **settings)
    np.testing.assert_allclose(ours, DATA[f"{name}_f64"], atol=1e-9)


@pytest.mark.parametrize("name", sorted(INFO["full"]))
def test_the_whole_way_is_that_of_the_released_code(name):
    alpha, multiplier, count, _, floor, prior = name.split("-")
    case = {k.split("/")[1]: DATA[k] for k in DATA.files if k.startswith(f"full_{name}/")}
    uniform = prompts.filtered(CLASSES, np.ones(TRACES.shape, bool))
    nearest = prompts.nearest_images(IMAGES, uniform, int(count))
    np.testing.assert_array_equal(nearest, case["nn_indices"])
    weights = np.empty(TRACES.shape)
    for c, chosen in enumerate(nearest):
        own = Gaussian(IMAGES.mean[chosen], IMAGES.log_var[chosen])
        samples = prompts.draw_samples(own, case["noise"][c])
        np.testing.assert_allclose(samples, case["samples"][c], atol=1e-6)
        weights[c] = prompts.mixture_weights(
            samples,
            Gaussian(CLASSES.mean[c], CLASSES.log_var[c]),
            alpha=float(alpha),
            multiplier=float(multiplier),
            floor=float(floor),
            prior=prior,
            form="released",
        )
    np.testing.assert_allclose(weights, case["pi"], atol=1e-5)
    classes = prompts.reweighted(CLASSES, weights, form="released")
    np.testing.assert_allclose(classes.mean.T, case["classifier"], atol=1e-5)
    np.testing.assert_allclose(np.exp(classes.log_var).T, case["class_vars"], rtol=1e-3)
    for key, mean_only in (("logits", True), ("logits_unc", False)):
        logits = class_logits(IMAGES, classes, mean_only=mean_only)
        np.testing.assert_allclose(logits, case[key], atol=2e-3)


@pytest.mark.parametrize(
    ("name", "keep"),
    [
        ("by_std_values_per_class(0)", prompts.keep_by_deviation(TRACES, 0)),
        ("by_std_values_per_class(-5)", prompts.keep_by_deviation(TRACES, -5)),
        ("by_std_values_all(12)", prompts.keep_least_of_all(TRACES, 12)),
        ("by_ranking(3)", prompts.keep_least_of_each(TRACES, 3)),
        ("by_ranking(7)", prompts.keep_least_of_each(TRACES, 7)),
        # The threshold is one of the traces, summed in another order: a little more than ours.
        ("by_abs_value(0.29033569)", prompts.keep_below(TRACES, 0.2903358)),
        ("by_ranking_classwise(1,3,5,7)", prompts.keep_least_of_each(TRACES, [1, 3, 5, 7])),
    ],
)
def test_filters_are_those_of_the_released_code(name, keep):
    classes = prompts.filtered(CLASSES, keep)
    np.testing.assert_allclose(classes.mean.T, DATA[f"filter/{name}/classifier"], atol=1e-6)
    variance = DATA[f"filter/{name}/class_vars"]
    np.testing.assert_allclose(np.exp(classes.log_var).T, variance, rtol=1e-5)


def own_prompts(rng, count=5, dim=8):
    mean = rng.normal(size=(count, dim))
    return Gaussian(mean / np.linalg.norm(mean, axis=1, keepdims=True), np.full((count, dim), -2.0))


def test_equal_prompts_keep_equal_weights():
    rng = np.random.default_rng(0)
    one = own_prompts(rng, 1)
    same = Gaussian(np.repeat(one.mean, 4, 0), np.repeat(one.log_var, 4, 0))
    weights = prompts.mixture_weights(rng.normal(size=(50, 8)), same, alpha=1.0)
    np.testing.assert_allclose(weights, 0.25)


def test_a_large_alpha_is_uniform_and_alpha_one_finds_the_prompt_that_was_drawn_from():
    rng = np.random.default_rng(0)
    given = own_prompts(rng)
    samples = prompts.draw_samples(
        Gaussian(given.mean[2:3], given.log_var[2:3]), rng.standard_normal((1, 400, 8))
    )
    np.testing.assert_allclose(prompts.mixture_weights(samples, given, alpha=1e9), 0.2, atol=1e-6)
    weights = prompts.mixture_weights(samples, given, alpha=1.0)
    assert weights.argmax() == 2 and weights[2] > 0.9
    assert weights.sum() == pytest.approx(1)


def test_weights_raise_the_likelihood_at_every_step():
    rng = np.random.default_rng(1)
    given, samples = own_prompts(rng), rng.normal(size=(80, 8))

    def likelihood(weights):
        square = (samples[:, None] - given.mean) ** 2 * np.exp(-given.log_var)
        density = np.exp(-square.sum(-1) / 2 - given.log_var.sum(-1) / 2)
        return np.log(density @ weights).sum()

    steps = [
        likelihood(prompts.mixture_weights(samples, given, alpha=1.0, max_steps=n))
        for n in range(12)
    ]
    assert np.all(np.diff(steps) > -1e-9) and steps[-1] > steps[0]


def test_few_shot_support_weights_the_right_prompt_up():
    rng = np.random.default_rng(2)
    both = [own_prompts(rng, 3, 16) for _ in range(2)]
    classes = Gaussian(np.stack([b.mean for b in both]), np.stack([b.log_var for b in both]))
    images = Gaussian(
        np.concatenate([b.mean[1:2].repeat(4, 0) for b in both]), np.full((8, 16), -6.0)
    )
    support = [np.arange(4), np.arange(4, 8)]
    result, weights = prompts.reweight_prompts(classes, images, support=support, alpha=1.5)
    assert weights.argmax(1).tolist() == [1, 1]
    np.testing.assert_allclose(np.linalg.norm(result.mean, axis=1), 1, rtol=1e-5)
    again, _ = prompts.reweight_prompts(classes, images, support=support, alpha=1.5)
    np.testing.assert_array_equal(result.mean, again.mean)
    with pytest.raises(ValueError, match="class 1 has no image"):
        prompts.reweight_prompts(classes, images, support=[np.arange(4), np.arange(0)])


def test_choices_of_prompts_find_the_one_that_says_something():
    """Of each class one prompt is near its images; the others are elsewhere and uncertain."""
    rng = np.random.default_rng(0)
    base = own_prompts(rng, 4, 64).mean
    mean = np.stack([base, *(own_prompts(rng, 4, 64).mean for _ in range(3))], 1).reshape(16, 64)
    log_var = np.tile(np.array([-9.0, -8.9, -4.0, -4.0]), 4)[:, None] * np.ones((1, 64))
    labels = np.repeat(np.arange(4), 12)
    noisy = base[labels] + 0.22 * rng.normal(size=(48, 64))
    images = Gaussian(noisy / np.linalg.norm(noisy, axis=1, keepdims=True), np.full((48, 64), -8.0))
    found = prompt_choice.choices(Gaussian(mean, log_var), images, labels, 4, 1024)
    assert set(found) == {
        f"{name}/{metric}"
        for name in ("filtered", "bprw_transductive")
        for metric in ("top1", "class_top1")
    }
    plain = prompts.filtered(
        Gaussian(mean.reshape(4, 4, 64), log_var.reshape(4, 4, 64)), np.ones((4, 4), bool)
    )
    accuracy = (class_logits(images, plain).argmax(1) == labels).mean()
    assert found["filtered/top1"] > accuracy


@pytest.mark.parametrize("wrong", ["sample", "prompt"])
def test_what_is_not_a_number_gets_no_weight(wrong):
    rng = np.random.default_rng(0)
    given, samples = own_prompts(rng), rng.normal(size=(10, 8))
    if wrong == "sample":
        samples[3] = np.nan
    else:
        given.mean[3] = np.nan
    with pytest.raises(ValueError, match=f"{wrong} 3 is not a number"):
        prompts.mixture_weights(samples, given)
    point = Gaussian(own_prompts(rng).mean, np.full((5, 8), -np.inf))
    with pytest.raises(ValueError, match="zero variance"):
        prompts.mixture_weights(np.zeros((1, 8)), point)


def test_choose_is_an_option_of_a_set():
    assert parse("imagenet=/data/val choose=bprw").choose and not parse("imagenet=/data/val").choose
    with pytest.raises(ConfigError, match="choose is bprw, not 'all'"):
        parse("imagenet=/data/val choose=all")
