"""Drawn shapes: exact matches for every caption, and misalignment by the amount asked for."""

import collections
import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

from prolip.cli import configuration
from prolip.config import ConfigError, DataConfig
from prolip.data.evaluation import eval_set
from prolip.data.shapes.builder import Shapes, ShapesConfig
from prolip.data.shapes.drawing import draw
from prolip.data.shapes.factors import (
    FACTORS,
    LEVELS,
    caption,
    combinations,
    matches,
    parse,
    perturbed,
    subsets,
)
from prolip.data.sources.tfds import prepare

CONFIG = DataConfig(
    name="shapes/tiny", caption_features=tuple(LEVELS), caption_weights=(1.0,) * len(LEVELS)
)


def test_a_caption_says_its_values_and_nothing_else():
    random = np.random.default_rng(0)
    every = combinations()
    for number in random.choice(len(every), 60, replace=False):
        for level in LEVELS:
            for chosen in subsets(tuple(FACTORS), level):
                said = {name: every[number][name] for name in chosen}
                assert parse(caption(said)) == said
    with pytest.raises(ValueError, match="not a caption of shapes"):
        parse("two red star")


def test_matches_are_the_pictures_with_the_values_said():
    every = combinations()[::7]
    found = matches("two red stars", every)
    assert found.any()
    for picture, match in zip(every, found, strict=True):
        right = (picture["count"], picture["colour"], picture["shape"]) == ("two", "red", "star")
        assert match == right


def test_perturbation_is_as_frequent_as_asked_and_of_the_factors_asked_for():
    values, random = combinations()[1234], np.random.default_rng(0)
    made = [perturbed(values, ("colour", "size"), 0.3, random) for _ in range(4000)]
    for name in FACTORS:
        wrong = np.mean([m[name] != values[name] for m in made])
        assert wrong == pytest.approx(0.3 if name in ("colour", "size") else 0, abs=0.03)
    colours = collections.Counter(m["colour"] for m in made)
    assert set(colours) == set(FACTORS["colour"])


def test_no_text_is_of_two_levels_and_a_factor_left_out_is_never_said():
    for count in range(1, 7):
        mentioned = tuple(FACTORS)[:count]
        sets = [chosen for level in LEVELS for chosen in subsets(mentioned, level)]
        assert len(sets) == len(set(sets))
        assert set().union(*sets) == set(mentioned)


def captions_of(split_captions):
    return [caption.text for caption in split_captions]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    config = dataclasses.replace(CONFIG, data_dir=str(tmp_path_factory.mktemp("shapes")))
    return config, eval_set(config, 64, tuple(FACTORS))


def test_matches_of_the_evaluation_split_are_exact(made):
    _, data = made
    pictures = [{name: data.labels[name][i] for name in FACTORS} for i in range(data.num_images)]
    assert data.num_images == 64
    for text, own in zip(captions_of(data.captions), data.positives, strict=True):
        np.testing.assert_array_equal(np.flatnonzero(matches(text, pictures)), own)
    levels = {caption.level for caption in data.captions}
    assert levels == set(LEVELS)


def test_splits_share_no_combination_and_pictures_are_drawn_again_to_the_bit(made):
    config, _ = made
    builder = prepare(config)
    rows = {s: list(builder.as_data_source(s)) for s in ("train", "test")}
    keys = {s: {tuple(row[n] for n in FACTORS) for row in part} for s, part in rows.items()}
    assert len(keys["train"]) == 256 and len(keys["test"]) == 64
    assert not keys["train"] & keys["test"]
    row = rows["test"][0]
    values = {name: row[name].decode() for name in FACTORS}
    again = draw(values, np.random.default_rng([0, int(row["id"]), 0]))
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(again))), row["image"])


def test_misaligned_captions_leave_out_and_get_wrong_what_they_should(tmp_path):
    config = ShapesConfig(
        name="both",
        train=128,
        test=16,
        mentioned=("shape", "colour", "size"),
        wrong=("colour",),
        probability=0.5,
    )
    builder = Shapes(data_dir=str(tmp_path), config=config, file_format="array_record")
    builder.download_and_prepare()
    wrong = collections.Counter()
    said = collections.Counter()
    for split in ("train", "test"):
        for row in builder.as_data_source(split):
            for level in LEVELS:
                for text in row[level]:
                    for name, value in parse(text.decode()).items():
                        said[split, name] += 1
                        wrong[split, name] += value != row[name].decode()
    assert {name for _, name in said} == {"shape", "colour", "size"}
    assert wrong["train", "colour"] / said["train", "colour"] == pytest.approx(0.5, abs=0.08)
    assert {key for key, count in wrong.items() if count} == {("train", "colour")}


@pytest.mark.parametrize("knob", ["mention", "wrong"])
def test_every_variant_of_the_configuration_is_a_data_set(knob):
    for k in range(1, 6):
        name = configuration.load(f"shapes:{knob}_{k}").data.name
        assert name.removeprefix("shapes/") in Shapes.builder_configs
    with pytest.raises(ConfigError, match="choose full, mention_1"):
        configuration.load("shapes:mention_6")


def test_pictures_tell_the_values_apart():
    """The colour of the middle, and how much is covered, follow from the factors."""
    base = dict(shape="square", count="one", position="centre", background="grey")
    means = {}
    for colour in FACTORS["colour"]:
        values = base | {"colour": colour, "size": "large"}
        pixels = np.asarray(Image.open(io.BytesIO(draw(values, np.random.default_rng(1)))))
        means[colour] = pixels[26:38, 26:38].reshape(-1, 3).mean(0)
    apart = [np.linalg.norm(means[a] - means[b]) for a in means for b in means if a < b]
    assert min(apart) > 30
    covered = []
    for size in FACTORS["size"]:
        values = base | {"colour": "red", "size": size}
        pixels = np.asarray(Image.open(io.BytesIO(draw(values, np.random.default_rng(1)))), int)
        covered.append((pixels[:, :, 0] - pixels[:, :, 1] > 60).sum())
    assert covered[0] < covered[1] < covered[2]
