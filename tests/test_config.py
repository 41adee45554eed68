"""Configurations: round trip, errors that name the key, and every file in configs/."""

import ast
import dataclasses
import importlib.util
import json
import math
import os
import typing
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prolip import config_rules
from prolip.cli import configuration
from prolip.config import ConfigError, TrainConfig, from_dict, override, to_config_dict, to_dict
from prolip.config_eval import EvaluatorName
from prolip.evals.registry import EVALUATORS
from prolip.workdir import Workdir

ROOT = Path(__file__).parents[1]
CONFIGS = sorted((ROOT / "configs").glob("*.py"))
GOLDEN = ROOT / "tests" / "golden"


def test_round_trip_through_json_and_config_dict():
    config = TrainConfig()
    assert from_dict(TrainConfig, json.loads(json.dumps(to_dict(config)))) == config
    assert from_dict(TrainConfig, to_config_dict(config).to_dict()) == config


def keys(cls, path=()):
    for field in dataclasses.fields(cls):
        if dataclasses.is_dataclass(field.default):
            yield from keys(type(field.default), (*path, field.name))
        else:
            yield (*path, field.name), field.default


ALL_KEYS = list(keys(TrainConfig))


def put(path, value):
    nested = {path[-1]: value}
    for part in reversed(path[:-1]):
        nested = {part: nested}
    return nested


@given(st.sampled_from(ALL_KEYS))
def test_a_misspelt_key_names_the_right_one(item):
    path, value = item
    wrong = (*path[:-1], path[-1] + "x")
    with pytest.raises(ConfigError, match=rf"did you mean config\.{'.'.join(path)}\?"):
        from_dict(TrainConfig, put(wrong, value))


@given(st.sampled_from(ALL_KEYS))
def test_a_value_of_the_wrong_type_names_its_key(item):
    path, value = item
    wrong = {"a": 1} if not isinstance(value, dict) else 3
    with pytest.raises(ConfigError, match=rf"config\.{'.'.join(path)}"):
        from_dict(TrainConfig, put(path, wrong))


def test_integers_serve_as_floats_but_not_the_reverse_and_booleans_as_neither():
    assert from_dict(TrainConfig, {"optimizer": {"eps": 1}}).optimizer.eps == 1.0
    for value in (1.0, True):
        with pytest.raises(ConfigError, match=r"config\.seed must be int"):
            from_dict(TrainConfig, {"seed": value})


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("optimizer.learning_rate=-1e-3", "must be above 0, not -0.001"),
        ("optimizer.learning_rate=1e999", "must be a finite number, not inf"),
        ("optimizer.eps=0.0", "must be above 0"),
        ("optimizer.b1=1.5", "must be at least 0 and below 1, not 1.5"),
        ("optimizer.b2=1.0", "must be at least 0 and below 1"),
        ("optimizer.muon_momentum=2.0", "must be at least 0 and below 1"),
        ("optimizer.weight_decay=-0.1", "must be at least 0"),
        ("optimizer.grad_clip_norm=-1.0", "must be at least 0"),
        ("model.image.norm_eps=-1e-5", "must be above 0"),
        ("model.logit_bias_init=1e999", "must be a finite number"),
        ("objective.bottleneck=-1.0", "must be at least 0"),
        ("objective.inclusion_scale=-5.0", "must be above 0"),
        ("checkpoint.keep_best=-1", "must be at least 0"),
        ("checkpoint.keep_every=-5", "must be at least 0"),
        ("eval.templates=()", "there is no template"),
        ("data.caption_weights=(1.0, -1.0)", r"\[1\]: must be at least 0"),
        ("data.caption_weights=(0.0, 0.0)", "must not all be 0"),
        ("data.std=(0.5, 0.0, 0.5)", r"\[1\]: must be above 0 and at most 1, not 0.0"),
        ("data.mean=(0.5,)", r"must have 3 values, not 1: \(0.5,\)"),
        ("data.mean=(123.7, 116.3, 103.5)", r"\[0\]: must be from 0 to 1"),
        ("data.augment.crop_scale=(1.0, 0.5)", "must go from the least to the most"),
        ("data.augment.crop_scale=(0.0, 0.5)", r"\[0\]: must be above 0"),
        ("data.augment.jitter=(0.1, 0.1)", "must have 4 values"),
        ("data.tokenizer.pad_id=-2", "must be at least -1"),
        ("total_steps=3000000000", "must be from 1 to 2147483647"),
        # What is in bounds as written, but not in float32, in which a run computes.
        ("optimizer.b2=0.9999999999", "must be at least 0 and below 1, not .* 1 in float32"),
        ("optimizer.eps=1e-60", "must be above 0, not 1e-60, which is 0 in float32"),
        ("model.log_var_init=-1e39", "must be a finite number, .* infinite in float32"),
        ("global_batch=10000000000000000000", "10000000000000000000 is too large"),
    ],
)
def test_a_value_that_means_nothing_is_refused_with_its_key(word, sentence):
    key, value = word.split("=")
    with pytest.raises(ConfigError, match=rf"^config\.{key}(: )?{sentence}"):
        override(TrainConfig(), [f"config.{word}"])
    *groups, last = key.split(".")
    value = math.inf if value == "1e999" else ast.literal_eval(value)
    with pytest.raises(ConfigError, match=last):
        from_dict(TrainConfig, put((*groups, last), value))


def test_every_number_has_bounds_or_may_be_any():
    """A new option needs a bound, or a line here that says why it needs none."""
    free = ("logit_bias_init", "log_var_init", "inclusion_eps")  # Of any sign and size.

    def unbounded(cls, path=""):
        for name, hint in typing.get_type_hints(cls, include_extras=True).items():
            if dataclasses.is_dataclass(hint):
                yield from unbounded(hint, f"{path}{name}.")
            elif hint in (int, float, tuple[int, ...], tuple[float, ...]):
                yield f"{path}{name}"

    assert {key.rpartition(".")[2] for key in unbounded(TrainConfig)} == set(free)


def test_what_an_earlier_version_stored_is_read_whatever_its_values(tmp_path):
    values = to_dict(TrainConfig())
    values["optimizer"]["weight_decay"] = -0.1
    (tmp_path / "config.json").write_text(json.dumps(values))
    assert Workdir(tmp_path).read_config().optimizer.weight_decay == -0.1
    with pytest.raises(ConfigError, match="weight_decay"):
        from_dict(TrainConfig, values)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_resolved_configuration_is_the_recorded_one(path):
    """A changed default shows as a diff of an experiment. UPDATE_GOLDEN=1 rewrites the files."""
    config = configuration.load(str(path))
    config_rules.check(config)
    assert not list(config_rules.notes(config))
    text = json.dumps(to_dict(config), indent=1) + "\n"
    golden = GOLDEN / f"{path.stem}.json"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(text)
    assert text == golden.read_text(), "UPDATE_GOLDEN=1 if the experiment is meant to change"


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_header_names_source_command_and_expectation(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for word in ("Source:", "Command:", "Expect:"):
        assert word in module.__doc__


@pytest.mark.parametrize(
    "templates", [(), ("a photo",), ("{c}",), ("an emoji of {label}",), ("{} and {}",), ("{}", "x")]
)
def test_templates_have_the_place_of_the_name_once(templates):
    with pytest.raises(ConfigError, match=r"config\.eval\.templates: "):
        from_dict(TrainConfig, {"eval": {"templates": templates}})
    assert from_dict(TrainConfig, {"eval": {"templates": ("{}", "one {}")}})


def test_names_of_evaluators_are_those_of_the_registry():
    assert set(get_args(EvaluatorName)) == set(EVALUATORS)
    with pytest.raises(ConfigError, match=r"config\.eval\.evaluators\[1\] .*mean 'zero_shot'"):
        from_dict(TrainConfig, {"eval": {"evaluators": ("retrieval", "zero_shoot")}})
