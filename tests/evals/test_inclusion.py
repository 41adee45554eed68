"""The inclusion test's rate over matches is no headline: what must not look good does not."""

import numpy as np
import pytest

from prolip.evals import inclusion
from prolip.evals.inclusion import inclusion_metrics
from prolip.gaussian import Gaussian


def items(rng, count, log_var, dim=8):
    mean = rng.normal(size=(count, dim))
    mean /= np.linalg.norm(mean, axis=1, keepdims=True)
    level = np.broadcast_to(np.reshape(log_var, (-1, 1)), (count, dim))
    return Gaussian(mean.astype(np.float32), (level + 0.01 * rng.normal(size=level.shape)))


def test_rates_say_who_is_wider_and_areas_see_through_it(rng):
    """Narrow images and wide captions that know nothing of each other."""
    images, texts = items(rng, 150, -9.0), items(rng, 400, -2.0)
    positives = [rng.choice(150, rng.integers(1, 6), replace=False) for _ in range(400)]
    found = inclusion_metrics(images, texts, positives)
    assert found["inclusion_rate"] == found["inclusion_rate_others"] == 1
    assert found["inclusion_auc"] == pytest.approx(0.5, abs=0.05)
    assert found["similarity_auc"] == pytest.approx(0.5, abs=0.05)


def test_captions_that_are_wider_the_more_they_match_do_not_make_it_good(rng):
    counts = rng.integers(1, 100, 300)
    images, texts = items(rng, 200, rng.normal(-4, 0.5, 200)), items(rng, 300, np.log(counts) - 6)
    positives = [rng.choice(200, count, replace=False) for count in counts]
    found = inclusion_metrics(images, texts, positives)
    assert found["inclusion_rate"] > 0.7
    assert found["inclusion_rate_others"] == pytest.approx(found["inclusion_rate"], abs=0.03)
    assert found["inclusion_auc"] == pytest.approx(0.5, abs=0.03)


def test_equal_embeddings_are_at_chance(rng):
    one = items(rng, 1, -3.0)
    images, texts = (Gaussian(*(np.repeat(x, n, 0) for x in one)) for n in (30, 20))
    found = inclusion_metrics(images, texts, [np.array([i]) for i in range(20)])
    assert (found["inclusion_auc"], found["similarity_auc"]) == (0.5, 0.5)
    assert found["inclusion_rate_others"] == found["inclusion_rate"]


def test_captions_around_their_own_images_are_good(rng):
    """Images that lie where their caption is, in captions as wide as their distances."""
    texts = items(rng, 30, -2.0)
    own = np.arange(90) % 30
    images = Gaussian(np.asarray(texts.mean)[own], np.full((90, 8), -2.5))
    positives = [np.flatnonzero(own == i) for i in range(30)]
    turned = Gaussian(-np.asarray(texts.mean), texts.log_var)
    assert inclusion_metrics(images, texts, positives)["similarity_auc"] == 1
    assert inclusion_metrics(images, turned, positives)["similarity_auc"] < 0.3


def test_without_anything_that_does_not_match_there_is_no_area(rng):
    images, texts = items(rng, 3, -3.0), items(rng, 2, -2.0)
    found = inclusion_metrics(images, texts, [np.arange(3), np.zeros(0, np.int64)])
    assert sorted(found) == ["inclusion_median", "inclusion_rate", "num_pairs"]
    assert inclusion_metrics(images, texts, [np.zeros(0, np.int64)] * 2) == {}
    certain = Gaussian(images.mean, np.full((3, 8), -np.inf))
    assert inclusion_metrics(certain, texts, [np.arange(2), np.arange(1)]) == {}


def test_what_does_not_match_is_drawn_evenly(monkeypatch):
    monkeypatch.setattr(inclusion, "OTHERS", 3)
    rng, matching = np.random.default_rng(0), np.array([0, 3, 4, 9])
    drawn = np.stack([inclusion._drawn(rng, matching, 10) for _ in range(2000)])
    values, counts = np.unique(drawn, return_counts=True)
    assert values.tolist() == [1, 2, 5, 6, 7, 8]
    assert abs(counts / 2000 - 0.5).max() < 0.05
    assert all(len({*row}) == 3 for row in drawn.tolist())
