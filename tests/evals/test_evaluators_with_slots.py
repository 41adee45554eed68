"""Evaluators of embeddings that are sets rank, classify and calibrate by the similarity of sets."""

import jax
import numpy as np
import pytest

import prolip
import prolip.evals
from prolip.config import ConfigError, EvalConfig, SlotsConfig
from prolip.evals import calibration, metrics, ranking, zero_shot
from prolip.evals.context import Context
from prolip.evals.registry import EVALUATORS, evaluator
from prolip.evals.retrieval import scorer
from prolip.gaussian import Gaussian

SLOTS = [SlotsConfig(3, "max"), SlotsConfig(3, "smooth_chamfer", 8.0)]


def points(rng, num, dim=5, count=3):
    mean = rng.normal(size=(num, count, dim))
    mean /= np.linalg.norm(mean, axis=-1, keepdims=True) * np.sqrt(count)
    mean = mean.reshape(num, -1).astype(np.float32)
    return Gaussian(mean, np.full_like(mean, -np.inf))


@pytest.fixture
def sides(rng):
    return points(rng, 40), points(rng, 25), rng.random((25, 40)) < 0.08


def both_ways(images, texts, relevant, slots):
    scores = np.asarray(prolip.set_similarity(texts, images, slots))
    return {"text_to_image": (scores, relevant), "image_to_text": (scores.T, relevant.T)}


@pytest.mark.parametrize("slots", SLOTS, ids=lambda s: s.similarity)
def test_retrieval_is_that_of_the_matrix_of_similarities(sides, slots):
    images, texts, relevant = sides
    result = prolip.evals.retrieval(images, texts, relevant, block=6, slots=slots)
    for task, (scores, positives) in both_ways(*sides, slots).items():
        expected = metrics.retrieval_metrics(scores, positives)
        for variant in ("", "mean/"):
            own = {name: result[f"{task}/{variant}{name}"] for name in expected}
            assert own == pytest.approx(expected, abs=1e-6)
    as_points = prolip.evals.retrieval(images, texts, relevant)
    assert as_points != result
    np.testing.assert_allclose(
        scorer(texts, images, slots=slots)([3, 1]),
        both_ways(*sides, slots)["text_to_image"][0][[3, 1]],
        atol=1e-6,
    )


@pytest.mark.parametrize("slots", SLOTS, ids=lambda s: s.similarity)
def test_the_number_of_devices_does_not_matter(sides, slots, monkeypatch):
    images, texts, relevant = sides
    lists = [np.flatnonzero(row) for row in relevant]
    found = []
    for devices in (1, 2, 3, 8):
        chosen = jax.devices()[:devices]
        monkeypatch.setattr(ranking.jax, "local_devices", lambda chosen=chosen: chosen)
        blocks = ranking.ranked_blocks(texts, images, lists, at_least=40, block=10, slots=slots)
        found.append(np.concatenate([part.order for part in blocks]))
    for order in found[1:]:
        np.testing.assert_array_equal(order, found[0])


@pytest.mark.parametrize("slots", SLOTS, ids=lambda s: s.similarity)
def test_probabilities_of_pairs_are_those_of_the_loss(sides, slots):
    images, texts, relevant = sides
    lists = [np.flatnonzero(row) for row in relevant]
    logits = 4 * np.asarray(prolip.set_similarity(texts, images, slots)) - 2
    expected = calibration.reliability(1 / (1 + np.exp(-logits.astype(np.float64))), relevant)
    found = calibration.pair_calibration(images, texts, lists, 4.0, -2.0, block=7, slots=slots).all
    np.testing.assert_allclose(found.probability.sum(), expected.probability.sum(), rtol=1e-5)
    np.testing.assert_array_equal(found.matches, expected.matches)


@pytest.mark.parametrize("slots", SLOTS, ids=lambda s: s.similarity)
def test_classes_are_sets_of_the_means_of_their_prompts_slots(rng, slots):
    prompts, images = points(rng, 6), points(rng, 9)
    classes = zero_shot.class_embeddings(prompts, 2, slots)
    each = prompts.mean.reshape(2, 3, 3, 5).mean(1)
    each /= np.linalg.norm(each, axis=-1, keepdims=True)
    np.testing.assert_allclose(classes.mean.reshape(2, 3, 5) * np.sqrt(3), each, atol=1e-6)
    best = zero_shot.best_classes(images, classes, block=4, slots=slots)[:, 0]
    expected = np.asarray(prolip.set_similarity(images, classes, slots)).argmax(1)
    np.testing.assert_array_equal(best, expected)


def test_every_evaluator_takes_sets(rng):
    slots = SLOTS[0]
    group = np.arange(60) % 3
    captions = [f"group {g}" for g in range(3)] + [f"image number {i}" for i in range(60)]
    positives = [np.flatnonzero(group == g) for g in range(3)] + [np.array([i]) for i in range(60)]
    images, texts = points(rng, 60), points(rng, 63)
    context = Context(
        images=images,
        texts=texts,
        captions=captions,
        levels=["group"] * 3 + ["name"] * 60,
        positives=positives,
        labels={"group": [f"g{g}" for g in group], "subgroup": [f"s{i % 7}" for i in range(60)]},
        encode_text=lambda texts: points(np.random.default_rng(len(texts)), len(texts)),
        config=EvalConfig(block=7),
        logit_scale=10.0,
        logit_bias=-5.0,
        slots=slots,
    )
    found = {name: evaluator(name)(context).metrics for name in EVALUATORS}
    assert all(np.isfinite(value) for values in found.values() for value in values.values())
    relevant = np.zeros((63, 60), bool)
    for row, own in enumerate(positives):
        relevant[row, own] = True
    scores, matches = both_ways(images, texts, relevant, slots)["text_to_image"]
    recall = metrics.retrieval_metrics(scores, matches)["recall@1"]
    assert found["retrieval"]["retrieval/text_to_image/recall@1"] == pytest.approx(recall)
    error = found["abstention"]["abstention/text_to_image/recall@1/mean"]
    assert error == pytest.approx(1 - recall)


def test_a_hierarchy_refuses_sets(rng):
    from types import SimpleNamespace

    from prolip.evals.sets.measure import measure

    listing = SimpleNamespace(captions=SimpleNamespace(levels=4))
    opened = SimpleNamespace(name="hierarcaps", listing=listing)
    with pytest.raises(ConfigError, match="hierarcaps is measured on the way from one point"):
        measure(opened, points(rng, 2), lambda texts: points(rng, 2), EvalConfig(), SLOTS[0])
