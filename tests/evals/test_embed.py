"""From records to a context: order, batches, and embeddings that are no numbers."""

import types

import numpy as np
import pytest

from prolip.config import DataConfig, EvalConfig
from prolip.evals.embed import embed, embed_images, embed_texts
from prolip.evals.evaluators import evaluation_id, step_evaluation
from prolip.evals.registry import EVALUATORS
from prolip.gaussian import Gaussian


class Split:
    """Sixteen images of one colour each; eight captions match two of them, the others one."""

    def __init__(self):
        colour = np.arange(16, dtype=np.uint8)[:, None, None, None]
        self.pixels = np.tile(colour, (1, 2, 2, 3))
        texts = [(f"{i:03d}", "group") for i in range(8)]
        texts += [(f"{i + 100}", "name") for i in range(16)]
        self.captions = [types.SimpleNamespace(text=t, level=level) for t, level in texts]
        self.positives = [np.array([i, i + 8]) for i in range(8)] + [
            np.array([i]) for i in range(16)
        ]
        self.labels = {"group": [f"{i % 8:03d}" for i in range(16)]}

    def images(self, batch):
        for start in range(0, 16, batch):
            yield self.pixels[start : start + batch]


class Encoder:
    """Knows the colours: images and texts of the same residue have the same mean."""

    def __init__(self):
        self.sizes = []

    def _gaussian(self, number, log_var):
        self.sizes.append(len(number))
        mean = np.eye(8, dtype=np.float32)[number % 8]
        return Gaussian(mean, np.broadcast_to(np.float32(log_var), mean.shape).copy())

    def image(self, images):
        return self._gaussian(images[:, 0, 0, 0].astype(int), -6.0)

    def text(self, ids):
        return self._gaussian(np.where(ids[:, 0] < 100, ids[:, 0], ids[:, 0] - 100), -3.0)


def tokenize(texts):
    return np.array([[int(text)] for text in texts], np.int32)


CONFIG = EvalConfig(batch=5, label_features=("group",), templates=("{}",))


def test_every_image_and_caption_is_embedded_in_order_in_batches():
    encoder = Encoder()
    context = embed(Split(), encoder, tokenize, CONFIG)
    np.testing.assert_array_equal(context.images.mean.argmax(1), np.arange(16) % 8)
    assert encoder.sizes == [5, 5, 5, 1, 5, 5, 5, 5, 4]
    whole = embed(Split(), Encoder(), tokenize, EvalConfig(batch=100))
    for a, b in zip((*context.images, *context.texts), (*whole.images, *whole.texts), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_model_that_knows_everything_scores_one():
    evaluate = step_evaluation(lambda step: (Encoder(), tokenize), Split(), CONFIG)(7)
    metrics = {}
    for name in EVALUATORS:
        metrics |= evaluate(name).metrics
    assert metrics["retrieval/text_to_image_multiple/map_at_r"] == 1
    assert metrics["retrieval/image_to_text_multiple/recall@1"] == 1
    assert metrics["zero_shot/group/top1"] == 1
    assert metrics["uncertainty/inclusion_rate"] == 1


def test_a_model_that_diverged_is_named_with_its_first_item():
    class Broken(Encoder):
        def image(self, images):
            result = super().image(images)
            result.mean[images[:, 0, 0, 0] == 11] = np.nan
            return result

        def text(self, ids):
            result = super().text(ids)
            result.log_var[ids[:, 0] == 7] = np.nan
            return result

    with pytest.raises(ValueError, match=r"no number for image 11 \(1 of 16\)"):
        embed(Split(), Broken(), tokenize, CONFIG)
    keys = [f"n{i}.jpg" for i in range(16)]
    with pytest.raises(ValueError, match=r"no number for image 'n11\.jpg' \(row 11\)"):
        embed_images(Split(), Broken(), 5, names=keys)
    with pytest.raises(ValueError, match=r"no number for text '007' \(row 2\)"):
        embed_texts(["1", "2", "007"], Broken(), tokenize, 2)
    split = Split()
    split.records = np.arange(16) + 100  # A hundred records are left out.
    with pytest.raises(ValueError, match=r"image 'record 111' \(row 11\)"):
        embed(split, Broken(), tokenize, CONFIG)


def test_identity_is_of_what_decides_the_result():
    data = DataConfig()
    same = EvalConfig(evaluators=("retrieval",), batch=3, block=9)
    base = evaluation_id(EvalConfig(), data, {"records": 5})
    assert evaluation_id(same, data, {"records": 5}) == base
    assert evaluation_id(EvalConfig(templates=("{}",)), data, {"records": 5}) != base
    assert evaluation_id(EvalConfig(), data, {"records": 6}) != base


def test_pictures_are_shrunk_once_for_all_steps():
    split, read = Split(), []
    images = split.images
    split.images = lambda batch: read.append(batch) or images(batch)
    evaluate = step_evaluation(lambda step: (Encoder(), tokenize), split, CONFIG)
    for step in (1, 2):
        assert "probe/group/pixels_top1" in evaluate(step)("probe").metrics
    assert len(read) == 3  # By the model of each step, and once for the probe of pixels.
