"""Embeddings as users have them: points, faults that are named, and the same numbers."""

import numpy as np
import pytest

import prolip.evals
from prolip.evals.given import as_gaussian
from prolip.gaussian import Gaussian


def test_points_are_directions_without_variance(rng):
    points = rng.normal(size=(6, 4)) * 7
    given = as_gaussian(points, "image")
    np.testing.assert_allclose(np.linalg.norm(given.mean, axis=1), 1, rtol=1e-6)
    assert np.isneginf(given.log_var).all()


def test_other_lengths_than_one_are_said_once_for_all_rows(rng, caplog):
    means = rng.normal(size=(6, 4)) * 7
    as_gaussian(means, "image")
    given = as_gaussian(Gaussian(means, np.zeros((6, 4))), "text")
    np.testing.assert_allclose(given.mean, means, rtol=1e-6)
    first, second = caplog.messages
    assert "image embeddings have lengths from" in first and "rankings are by cosine" in first
    assert "text embeddings have lengths from" in second and "full CSD" in second
    caplog.clear()
    unit = (means / np.linalg.norm(means, axis=1, keepdims=True)).astype(np.float16)
    as_gaussian(unit, "image")
    as_gaussian(Gaussian(unit, np.zeros((6, 4))), "image")
    assert not caplog.messages


def test_retrieval_of_gaussians_of_any_length_is_that_of_the_csd(rng):
    images, texts = (
        Gaussian(rng.normal(size=(n, 5)) * rng.uniform(0.2, 5, (n, 1)), rng.normal(size=(n, 5)))
        for n in (20, 30)
    )
    positives = rng.random((30, 20)) < 0.1
    result = prolip.evals.retrieval(images, texts, positives)
    squares = ((texts.mean[:, None] - images.mean[None]) ** 2).sum(-1)
    for variant, cost in (("", squares + np.exp(images.log_var).sum(1)), ("mean/", squares)):
        expected = prolip.evals.retrieval_metrics(-cost, positives)
        own = {name: result[f"text_to_image/{variant}{name}"] for name in expected}
        assert own == pytest.approx(expected, abs=1e-6)


def test_points_give_the_numbers_of_their_cosines(rng):
    images, texts = rng.normal(size=(20, 5)), rng.normal(size=(30, 5))
    positives = rng.random((30, 20)) < 0.1
    result = prolip.evals.retrieval(images, texts, positives)
    cosine = (texts / np.linalg.norm(texts, axis=1)[:, None]) @ (
        images / np.linalg.norm(images, axis=1)[:, None]
    ).T
    expected = prolip.evals.retrieval_metrics(cosine, positives)
    for variant in ("", "mean/"):
        own = {name: result[f"text_to_image/{variant}{name}"] for name in expected}
        assert own == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("mean", "log_var", "message"),
    [
        ([[1.0, 0.0], [np.nan, 0.0]], [[0.0, 0.0]] * 2, r"image 1 is not a number \(1 of 2 such\)"),
        ([[1.0, 0.0], [np.inf, 0.0]], None, "image 1 is not a number"),
        ([[1.0, 0.0], [0.0, 0.0]], None, "image 1 has length zero"),
        ([[1.0, 0.0], [0.0, 0.0]], [[0.0, 0.0]] * 2, "image 1 has length zero"),
        ([[1.0, 0.0]], [[0.0, np.nan]], "image 0 has a variance that is not a number"),
        ([[1.0, 0.0]], [[0.0]], "log-variances"),
        ([1.0, 0.0], None, "got shape"),
    ],
)
def test_a_faulty_embedding_is_named(mean, log_var, message):
    given = np.array(mean) if log_var is None else Gaussian(np.array(mean), np.array(log_var))
    with pytest.raises(ValueError, match=message):
        as_gaussian(given, "image")


def test_a_faulty_embedding_is_named_by_its_id():
    with pytest.raises(ValueError, match=r"image cat\.png \(row 1\) is not a number"):
        as_gaussian(np.array([[1.0], [np.nan]]), "image", ["dog.png", "cat.png"])


def test_dimensions_that_differ_are_named(rng):
    with pytest.raises(ValueError, match="images have 3 dimensions, but texts 4"):
        prolip.evals.retrieval(rng.normal(size=(2, 3)), rng.normal(size=(2, 4)), [[0], [1]])
