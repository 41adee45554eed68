"""Variants of the pre-training files: samples seen, and twins that differ by objective alone."""

import dataclasses

import pytest

from prolip.cli import configuration
from prolip.config import ConfigError, ModelConfig, ObjectiveConfig


@pytest.mark.parametrize(
    ("variant", "samples"), [("1b", 1.28e9), ("12b", 12.8e9), ("1b_clip", 1.28e9)]
)
def test_a_variant_sees_the_samples_that_its_name_says(variant, samples):
    config = configuration.load(f"vit_b16_datacomp:{variant}")
    assert config.total_steps * config.global_batch == pytest.approx(samples, rel=1e-4)


@pytest.mark.parametrize(
    ("file", "twins"),
    [
        ("vit_b16_datacomp", ("12b", "12b_siglip", "12b_clip")),
        ("cc12m", ("prolip", "siglip", "clip")),
    ],
)
def test_twins_differ_in_the_objective_alone(file, twins):
    configs = [configuration.load(f"{file}:{twin}") for twin in twins]
    assert len({config.objective for config in configs}) == 3

    def rest(config):
        model = dataclasses.replace(config.model, heads=ModelConfig().heads)
        return dataclasses.replace(config, objective=ObjectiveConfig(), model=model)

    assert len({rest(config) for config in configs}) == 1


@pytest.mark.parametrize("name", ["vit_b16_datacomp:3b", "vit_b16_datacomp:1b_dino", "cc12m:x"])
def test_an_unknown_variant_names_those_that_are_known(name):
    with pytest.raises(ConfigError, match=r"choose .*clip"):
        configuration.load(name)
