"""Traversal of captions, against the released code on HierarCaps-like data."""

import json
from pathlib import Path

import numpy as np
import pytest

from prolip.evals import traversal
from prolip.gaussian import Gaussian

FIXTURES = Path(__file__).parents[1] / "fixtures"
DATA = np.load(FIXTURES / "hcaps.npz")
INFO = json.loads((FIXTURES / "hcaps.json").read_text())
IMAGES = Gaussian(DATA["image_mean"], DATA["image_logvar"])
TEXTS = Gaussian(*(DATA[f"text_{k}"].reshape(80, 32) for k in ("mean", "logvar")))
CAPTIONS = [text for row in INFO["captions"] for text in row]


def test_starts_and_including_texts_are_those_of_the_released_code():
    starts = traversal.nearest(IMAGES.mean, TEXTS.mean)
    assert [CAPTIONS[i] for i in starts] == [CAPTIONS[i] for i in DATA["start_index"]]
    best = traversal.including_texts(IMAGES, TEXTS)
    overlap = DATA["inclusion_image_in_text"]
    rows = np.arange(20)
    np.testing.assert_allclose(
        overlap[rows, best], overlap[rows, DATA["included_root_index"]], rtol=1e-6
    )


@pytest.mark.parametrize("steps", [10, 50])
@pytest.mark.parametrize("kind", ["det", "unc", "unc_with_base_root"])
def test_metrics_are_those_of_the_released_code(kind, steps):
    ends = DATA["root"]
    if kind != "det":
        including = TEXTS.mean[traversal.including_texts(IMAGES, TEXTS)]
        ends = traversal.unit(including + (DATA["root"] if kind != "unc" else 0))
    found = traversal.traverse(IMAGES, TEXTS, ends, steps)
    ours = traversal.traversal_metrics(found, CAPTIONS, INFO["captions"])
    theirs = INFO["results"][f"{kind}_steps{steps}"]
    assert ours.pop("distinct") == pytest.approx(theirs["mean_n_distinct_predictions"])
    for name, value in ours.items():
        assert 100 * value == pytest.approx(theirs[name], abs=1e-4), name


def test_a_perfect_hierarchy_is_found_in_order():
    """Captions on a circle from specific to general: the way passes each of them."""
    angles = np.array([0.1, 0.5, 0.9, 1.3])
    texts = np.stack([np.cos(angles), np.sin(angles)], 1)
    images = Gaussian(np.array([[1.0, 0.0]]), np.full((1, 2), -9.0))
    found = traversal.traverse(
        images, Gaussian(texts, np.full((4, 2), -9.0)), np.array([0.0, 1.0]), 50
    )
    assert found[0].tolist() == [0, 1, 2, 3]
    own = [["general", "less", "more", "specific"]]
    metrics = traversal.traversal_metrics(found, own[0][::-1], own)
    assert metrics["precision"] == metrics["recall"] == metrics["recall_level1"] == 1


def test_equal_texts_count_once_and_other_numbers_of_captions_have_no_levels():
    found = [np.array([0, 1, 2]), np.array([3])]
    metrics = traversal.traversal_metrics(found, ["a", "a", "b", "c"], [["a"], ["d", "e"]])
    assert metrics == {"precision": 0.25, "recall": 0.5, "any_recall": 0.5, "distinct": 1.5}
