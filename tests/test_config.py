"""Configurations: round trip, errors that name the key, and every file in configs/."""

import dataclasses
import importlib.util
import json
import os
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prolip.cli import configuration
from prolip.config import ConfigError, TrainConfig, from_dict, to_config_dict, to_dict
from prolip.config_eval import EvaluatorName
from prolip.evals.registry import EVALUATORS

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


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_resolved_configuration_is_the_recorded_one(path):
    """A changed default shows as a diff of an experiment. UPDATE_GOLDEN=1 rewrites the files."""
    config = configuration.load(str(path))
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
