"""Random views of images are what their strengths say."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance
from toy import png

from prolip.config import AugmentConfig
from prolip.data.augment import NUM_DRAWS, augment, crop_box
from prolip.data.image import decode

NOTHING = AugmentConfig((1.0, 1.0), (1.0, 1.0), 0.0, (0.0, 0.0, 0.0, 0.0), 0.0, 0.0)
side = st.integers(1, 300)
draw = st.floats(0, 1, exclude_max=True)


@pytest.fixture
def image():
    return decode(png(5, 32, 32), 10**6)


def draws(seed: int) -> list[float]:
    return np.random.default_rng(seed).random(NUM_DRAWS).tolist()


@given(width=side, height=side, low=st.floats(0.01, 1), chance=st.lists(draw, min_size=22))
def test_crop_is_inside_the_image(width, height, low, chance):
    left, top, right, bottom = crop_box(width, height, AugmentConfig((low, 1.0)), chance)
    assert 0 <= left < right <= width and 0 <= top < bottom <= height


def test_crops_have_areas_and_ratios_in_range_and_reach_everywhere():
    config = AugmentConfig(crop_scale=(0.25, 0.5), crop_ratio=(0.5, 2.0))
    boxes = np.array([crop_box(400, 400, config, draws(i)) for i in range(2000)])
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    area, ratio = width * height / 400**2, width / height
    assert 0.245 < area.min() < 0.26 and 0.49 < area.max() < 0.505
    assert 0.49 < ratio.min() < 0.53 and 1.9 < ratio.max() < 2.02
    np.testing.assert_allclose([area.mean(), np.log(ratio).mean()], [0.375, 0], atol=0.02)
    centre = (boxes[:, :2] + boxes[:, 2:]).mean(0) / 2
    np.testing.assert_allclose(centre, 200, atol=5)
    assert boxes.min() == 0 and boxes.max() == 400


def test_very_long_image_gets_its_largest_central_crop():
    assert crop_box(900, 30, AugmentConfig(), draws(0)[11:]) == (430, 0, 470, 30)


def views(images, config, seed=0):
    return augment(images, 32, config, np.random.default_rng(seed).random((len(images), NUM_DRAWS)))


def changed(image, kind, amount):
    """The view with one change of colour; the place of `kind` is brightness ... hue."""
    strengths = tuple(abs(amount) * (place == kind) for place in range(4))
    row = np.full((1, NUM_DRAWS), 0.5)
    row[0, 3 + kind] = 1.0 if amount > 0 else 0.0
    config = dataclasses.replace(NOTHING, jitter=strengths, jitter_probability=1.0)
    return augment([image], 32, config, row)[0].astype(int)


def test_without_strengths_views_are_resized_images():
    images = [decode(png(n, 20 + n, 20 + n), 10**6) for n in range(5)]
    for image, view in zip(images, views(images, NOTHING), strict=True):
        small = image.resize((32, 32), Image.Resampling.BICUBIC)
        np.testing.assert_array_equal(view, np.asarray(small))


def test_a_view_depends_on_its_own_row_alone():
    images = [decode(png(n, 40, 30), 10**6) for n in range(6)]
    rows = np.random.default_rng(1).random((6, NUM_DRAWS))
    together = augment(images, 32, AugmentConfig(flip=0.5), rows)
    for n in range(6):
        alone = augment(images[n : n + 1], 32, AugmentConfig(flip=0.5), rows[n : n + 1])
        np.testing.assert_array_equal(alone[0], together[n])


def test_flip_and_grey_happen_as_often_as_asked(image):
    config = dataclasses.replace(NOTHING, flip=0.3, grey_probability=0.6)
    got = views([image] * 2000, config).astype(int)
    grey = (got == got[..., :1]).all((1, 2, 3))
    luma = np.asarray(image.convert("L")).astype(int)
    flipped = np.abs(got[..., 0] - luma[:, ::-1]).max((1, 2)) <= 1
    assert abs(grey.mean() - 0.6) < 0.04 and abs(flipped.mean() - 0.3 * 0.6) < 0.03


@pytest.mark.parametrize("amount", [-1.5, -0.3, 0.7])
@pytest.mark.parametrize(
    ("kind", "oracle"),
    [(0, ImageEnhance.Brightness), (1, ImageEnhance.Contrast), (2, ImageEnhance.Color)],
)
def test_colour_changes_are_those_of_pillow(image, kind, oracle, amount):
    expected = np.asarray(oracle(image).enhance(max(0, 1 + amount))).astype(int)
    assert np.abs(changed(image, kind, amount) - expected).max() <= 2


def test_hue_keeps_greys_and_comes_back_after_a_whole_turn(image):
    grey = image.convert("L").convert("RGB")
    assert np.abs(changed(grey, 3, 0.3) - np.asarray(grey)).max() <= 1
    assert np.abs(changed(image, 3, 1.0) - np.asarray(image)).max() <= 1
    r, g, b = changed(Image.new("RGB", (32, 32), (180, 120, 120)), 3, 1 / 3)[0, 0]
    assert g > r and g > b


def test_changes_follow_each_other_in_the_drawn_order():
    """Brightness then contrast, and the other way, on a picture far from the limits."""
    image = Image.new("RGB", (32, 32), (80, 80, 80))
    image.paste((120, 120, 120), (0, 0, 16, 32))
    config = dataclasses.replace(NOTHING, jitter=(0.5, 0.0, 0.4, 0.0), jitter_probability=1.0)
    rows = np.full((2, NUM_DRAWS), 1.0)
    rows[:, :3] = 0.5
    rows[:, 7:11] = [[0.1, 0.2, 0.3, 0.4], [0.4, 0.3, 0.2, 0.1]]
    rows[:, 11:] = 0.5
    same = augment([image] * 2, 32, config, rows)
    np.testing.assert_array_equal(same[0], same[1])  # These two commute.
    config = dataclasses.replace(config, jitter=(0.5, 0.4, 0.0, 0.2))
    red = Image.new("RGB", (32, 32), (100, 60, 40))
    red.paste((60, 60, 60), (0, 0, 16, 32))
    other = augment([red] * 2, 32, config, rows)
    assert np.abs(other[0].astype(int) - other[1]).max() > 0
