"""Positions for other lengths and sizes, against the released code and torch's interpolation."""

import dataclasses
from pathlib import Path

import jax
import numpy as np
import pytest

from prolip.config import ConfigError, ImageTowerConfig, ModelConfig, TextTowerConfig
from prolip.interop import resize
from prolip.models import two_tower

FIXTURE = np.load(Path(__file__).parents[1] / "fixtures" / "pos_embed.npz")
LONG = ["64_to_256_ncls2", "64_to_256_ncls0", "64_to_126_ncls2", "256_to_126_ncls2_down"]
SHORT = ["64_to_77_ncls2_short", "77_to_64_ncls0_short"]
IMAGES = ["4x4_to_6x6", "6x6_to_4x4", "4x4_to_4x4", "4x4_to_3x7", "7x7_to_12x12"]


def text_case(name, dtype="float32"):
    old, new, exact, num_extra = (
        FIXTURE[f"text/{name}/{key}"] for key in ("old", "new", "new_f64", "n_cls")
    )
    return old.astype(dtype), new, exact, int(num_extra)


@pytest.mark.parametrize("name", [*LONG, "64_to_64"])
def test_long_texts_are_those_of_the_released_code(name):
    old, new, _, num_extra = text_case(name)
    ours = resize.text_positions(old, len(new) - num_extra, num_extra)
    # Torch computes its coordinates in float32: up to 5e-5 from the exact value.
    np.testing.assert_allclose(ours, new, atol=1e-4)


@pytest.mark.parametrize("name", LONG)
def test_long_texts_in_float64(name):
    with jax.enable_x64(True):
        old, new, exact, num_extra = text_case(name, "float64")
        ours = resize.text_positions(old, len(new) - num_extra, num_extra)
    np.testing.assert_allclose(ours, exact, atol=1e-9)


def test_long_texts_keep_the_first_twenty_and_the_extra_tokens_exactly():
    old, new, _, num_extra = text_case("64_to_256_ncls2")
    ours = resize.text_positions(old, 256, num_extra)
    assert np.array_equal(ours[:20], old[:20]) and np.array_equal(ours[-2:], old[-2:])
    assert np.array_equal(new[:20], old[:20]) and np.array_equal(new[-2:], old[-2:])


@pytest.mark.parametrize("name", SHORT)
def test_linear_stretching_is_torch_s(name):
    """The released code stretches all rows below 128; we keep the extra ones in any length."""
    with jax.enable_x64(True):
        old, new, exact, _ = text_case(name, "float64")
        np.testing.assert_allclose(resize.linear(old, len(new)), exact, atol=1e-9)


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_grids_are_those_of_the_released_code(name, dtype):
    with jax.enable_x64(dtype == "float64"):
        case = {k: FIXTURE[f"vision/{name}/{k}"] for k in ("old", "new", "new_f64", "grid")}
        side = round((len(case["old"]) - 2) ** 0.5)
        old = case["old"][2:].astype(dtype)
        ours = resize.bicubic(old, (side, side), tuple(map(int, case["grid"])))
    expected, tolerance = (case["new"], 1e-5) if dtype == "float32" else (case["new_f64"], 1e-9)
    np.testing.assert_allclose(ours, expected[2:], atol=tolerance)


def test_image_positions_keep_those_of_the_extra_tokens():
    old = FIXTURE["vision/4x4_to_6x6/old"]
    ours = resize.image_positions(old, 6, 2)
    assert ours.shape == (38, 16) and np.array_equal(ours[:2], old[:2])
    np.testing.assert_allclose(ours[2:], FIXTURE["vision/4x4_to_6x6/new"][2:], atol=1e-5)


def test_a_backbone_without_uncertainty():
    old, new = (FIXTURE[f"vision/cls197_to_24x24/{k}"] for k in ("old", "new"))
    ours = resize.image_positions(old, 24, 1)
    np.testing.assert_allclose(ours[1:], new[2:], atol=1e-5)


SMALL = ModelConfig(
    embed_dim=16,
    image=ImageTowerConfig(32, 8, width=16, depth=1, num_heads=2, mlp_dim=32),
    text=TextTowerConfig(24, 50, width=16, depth=1, num_heads=2, mlp_dim=32),
)


def random_params(config):
    rng = np.random.default_rng(0)
    shapes = two_tower.abstract_params(config)
    return jax.tree.map(lambda x: rng.normal(size=x.shape).astype(np.float32), shapes)


def test_fit_gives_the_shapes_of_the_new_model_and_changes_nothing_else():
    new = dataclasses.replace(
        SMALL,
        dtype="bfloat16",
        image=dataclasses.replace(SMALL.image, image_size=48),
        text=dataclasses.replace(SMALL.text, length=40),
    )
    params = random_params(SMALL)
    fitted = resize.fit(params, SMALL, new)
    shapes = jax.tree.map(lambda x: x.shape, two_tower.abstract_params(new))
    assert jax.tree.map(lambda x: x.shape, fitted) == shapes
    for tower in ("image", "text"):
        rest = {k: v for k, v in fitted[tower].items() if k != "positions"}
        kept = {k: v for k, v in params[tower].items() if k != "positions"}
        assert jax.tree.all(jax.tree.map(lambda a, b: a is b, rest, kept))


def test_another_model_is_refused_with_all_differences():
    new = dataclasses.replace(
        SMALL, embed_dim=8, text=dataclasses.replace(SMALL.text, vocab_size=60, width=32)
    )
    with pytest.raises(ConfigError, match=r"embed_dim: 16 there, 8 here.*vocab_size.*width"):
        resize.fit(random_params(SMALL), SMALL, new)


@pytest.mark.parametrize("length", [1, 19, 20, 21, 200])
@pytest.mark.parametrize("old", [1, 16, 20, 30])
def test_any_length_has_a_row_for_each_token(old, length):
    rows = np.random.default_rng(0).normal(size=(old + 2, 4)).astype(np.float32)
    new = resize.text_positions(rows, length, 2)
    assert new.shape == (length + 2, 4) and np.array_equal(new[-2:], rows[-2:])
    if old > 20 or length <= old:
        assert np.array_equal(new[: min(20, length)], rows[: min(20, length)])
    else:  # Nothing is left to stretch but what would stay: the ends do.
        np.testing.assert_allclose(new[[0, -3]], rows[[0, -3]], rtol=1e-6)
