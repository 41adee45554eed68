"""Inclusion of originals in their masked views: views are those of training, rates are right."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_model import CONFIG, PREPROCESSING, small_model

from prolip import sharding
from prolip.config import DataConfig, EvalConfig, MeshConfig
from prolip.data.evaluation import eval_set
from prolip.data.image import normalize
from prolip.data.shapes.factors import LEVELS
from prolip.evals import masked, uncertainty
from prolip.evals.context import MaskedViews
from prolip.evals.embed import embed
from prolip.gaussian import Gaussian, inclusion_paired
from prolip.models import two_tower


@pytest.fixture(scope="module")
def model():
    return small_model()


def pictures(count):
    return np.random.default_rng(0).integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)


@pytest.mark.parametrize("devices", [1, 2, 3])
def test_a_masked_image_is_that_of_the_tower_on_any_devices(model, devices):
    keep = np.array([0, 1, 3], np.int32)
    found = small_model(devices).masked_image(pictures(5), keep)
    tower = two_tower.build(CONFIG)
    params = jax.tree.map(lambda x: jnp.asarray(np.asarray(x)), model.params)
    pixels = normalize(jnp.asarray(pictures(5)), PREPROCESSING.mean, PREPROCESSING.std)
    with jax.set_mesh(sharding.make_mesh(MeshConfig(), jax.local_devices()[:1])):
        expected = tower.image(params, pixels, jnp.asarray(keep))
    for own, right in zip(found, expected, strict=True):
        np.testing.assert_allclose(own, right, atol=2e-5)
    whole = model.image(pictures(5))
    every = model.masked_image(pictures(5), np.arange(4, dtype=np.int32))
    np.testing.assert_allclose(every.mean, whole.mean, atol=1e-6)
    assert np.abs(found.mean - whole.mean).max() > 1e-3


def test_tokens_are_hidden_as_in_training():
    rng = np.random.default_rng(1)
    ids = rng.integers(2, 50, (400, 12)).astype(np.int32)
    ids[:, 9:] = 0  # Padding.
    ids[7] = 0
    hidden, rows = masked.masked_tokens(ids, pad_id=0, mask_id=1)
    draws = np.random.default_rng(masked.SEED).random(ids.shape)
    expected = ids.copy()
    for place in np.ndindex(ids.shape):
        if ids[place] != 0 and draws[place] < masked.DROP:
            expected[place] = 1
    np.testing.assert_array_equal(hidden, expected)
    assert (hidden[ids == 0] == 0).all() and 7 not in rows
    assert (hidden[:, :9] == 1).mean() == pytest.approx(masked.DROP, abs=0.02)
    assert rows.tolist() == [i for i in range(400) if (hidden[i] != ids[i]).any()]


class Split:
    """Images of one colour each, in batches."""

    def __init__(self, count):
        self.pixels = np.tile(np.arange(count, dtype=np.uint8)[:, None, None, None], (1, 2, 2, 3))

    def images(self, batch, part=(0, 1)):
        index, count = part
        for start in range(index * batch, len(self.pixels), count * batch):
            yield self.pixels[start : start + batch]


class Colours:
    """Embeds an image by its colour and by which patches are kept, a text by its ids."""

    num_patches = 16

    def masked_image(self, images, keep):
        self.kept = [*getattr(self, "kept", []), keep.tolist()]
        colour = images[:, 0, 0, :1].astype(np.float32)
        return Gaussian(colour, np.zeros_like(colour))

    def text(self, ids):
        return Gaussian(ids.astype(np.float32), np.zeros(ids.shape, np.float32))


def tokenizer(texts):
    return np.array([[int(text), 0] for text in texts], np.int32)


tokenizer.pad_id, tokenizer.mask_id = 0, 99


@pytest.mark.parametrize(("count", "most"), [(11, 100), (50, 10), (50, 50), (3, 1)])
def test_views_are_of_the_rows_that_they_name(monkeypatch, count, most):
    monkeypatch.setattr(masked, "MOST", most)
    model, captions = Colours(), [str(i + 100) for i in range(count)]
    views = masked.maker(Split(count), model, tokenizer, captions, count, 4)()
    assert views.images.mean[:, 0].tolist() == views.image_rows.tolist()
    assert len(views.image_rows) >= min(count, most) / 2
    assert len(set(views.image_rows.tolist())) == len(views.image_rows)
    for keep in model.kept:
        assert keep == sorted(set(keep)) and len(keep) == 12 and max(keep) < 16
    assert len(model.kept) < 2 or model.kept[0] != model.kept[1]
    assert (views.texts.mean[:, 0] == 99).all()  # Only those of which something is hidden.
    assert len(views.text_rows) <= most and set(views.text_rows) <= set(range(count))
    again = masked.maker(Split(count), Colours(), tokenizer, captions, count, 4)()
    np.testing.assert_array_equal(again.text_rows, views.text_rows)


def test_models_that_hide_nothing_make_no_views():
    assert masked.maker(Split(3), object(), tokenizer, ["1"], 3, 2) is None
    assert masked.maker(Split(3), Colours(), lambda texts: texts, ["1"], 3, 2) is None
    one = Colours()
    one.num_patches = 1
    views = masked.maker(Split(3), one, tokenizer, ["101"], 3, 2)()
    assert not len(views.image_rows)
    assert "masked_image/inclusion_rate" not in masked.inclusion_of_originals(
        views.texts, views.texts, lambda: views
    )


@pytest.mark.parametrize("block", [1, 5, 4096])
def test_rates_count_originals_that_lie_inside(block):
    rng = np.random.default_rng(2)
    mean = rng.normal(size=(12, 6)).astype(np.float32)

    def wide(log_var, rows):
        return Gaussian(mean[rows], np.full((len(rows), 6), log_var, np.float32))

    images, texts = wide(-4.0, np.arange(12)), wide(-2.0, np.arange(12))
    image_rows, text_rows = np.array([1, 4, 5, 9]), np.array([0, 2, 3])
    outer = wide(-3.0, image_rows)
    outer.log_var[0] = -9.0  # Narrower than its original.
    views = MaskedViews(outer, image_rows, wide(-3.0, text_rows), text_rows)
    result = masked.inclusion_of_originals(images, texts, lambda: views, block)
    assert result["masked_image/inclusion_rate"] == 0.75
    assert result["masked_image/wider_rate"] == 0.75
    assert result["masked_text/inclusion_rate"] == result["masked_text/wider_rate"] == 0
    assert (result["masked_image/num_views"], result["masked_text/num_views"]) == (4, 3)
    # Of the three views that are wide enough each has three other originals, all as narrow.
    assert result["masked_image/inclusion_rate_others"] == 0.75
    assert result["masked_image/similarity_auc"] > result["masked_image/inclusion_auc"]
    assert "masked_image/num_pairs" not in result
    test = inclusion_paired(wide(-2.0, text_rows), views.texts)
    assert result["masked_text/inclusion_median"] == pytest.approx(float(np.median(test)))
    certain = Gaussian(mean, np.full((12, 6), -np.inf, np.float32))
    assert masked.inclusion_of_originals(certain, texts, lambda: views) == {}
    assert masked.inclusion_of_originals(images, texts, None) == {}


@pytest.mark.slow  # The data sets are made first.
@pytest.mark.parametrize(
    "config",
    [DataConfig(name="emoji"), DataConfig(name="shapes/tiny", caption_features=tuple(LEVELS))],
    ids=["emoji", "shapes"],
)
def test_the_evaluator_reports_them_on_the_shipped_data(model, config, tmp_path):
    config = dataclasses.replace(config, data_dir=str(tmp_path), eval_split="test[:60]")
    split = eval_set(config, 16)
    context = embed(split, model, model.tokenizer, EvalConfig(batch=32))
    found = uncertainty.evaluate(context).metrics
    assert found["uncertainty/masked_image/num_views"] == split.num_images
    assert 0 < found["uncertainty/masked_text/num_views"] <= len(split.captions)
    for name in ("masked_image", "masked_text"):
        assert 0 <= found[f"uncertainty/{name}/inclusion_rate"] <= 1
    views = context.masked()
    own = Gaussian(*(field[views.image_rows] for field in context.images))
    rate = (np.asarray(inclusion_paired(own, views.images)) > 0).mean()
    assert found["uncertainty/masked_image/inclusion_rate"] == pytest.approx(rate)
