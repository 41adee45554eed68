"""Options that contradict each other, or have no effect beside others."""

import dataclasses

import pytest

from prolip import config_rules
from prolip.config import ConfigError, TrainConfig, override


def changed(*words):
    return override(TrainConfig(), [f"config.{word}" for word in words])


def test_the_defaults_are_right():
    config_rules.check(TrainConfig())
    config_rules.check_new(TrainConfig())
    assert not list(config_rules.notes(TrainConfig()))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["checkpoint.every=1000", "checkpoint.keep_every=2500"],
            r"keep_every: 2500 .*every \(1000\).*use 2000 or 3000, or every=500",
        ),
        (["checkpoint.every=1000", "checkpoint.keep_every=700"], "use 1000, or every=100"),
        (["checkpoint.every=1000", "checkpoint.keep_every=500"], "use 1000, or every=500"),
        (
            ["checkpoint.keep_best=1", "checkpoint.best_metric=retreival/text_to_image/map_at_r"],
            "did you mean retrieval/",
        ),
        (["checkpoint.keep_best=1", "eval.evaluators=('zero_shot',)"], "nothing measures"),
        (["checkpoint.keep_best=1", "checkpoint.best_metric=retrieval"], "nothing measures"),
        (
            [f"objective.{name}=0" for name in config_rules.TERMS],
            "config.objective: all weights are 0",
        ),
        (["objective.mask_image_keep=0.001"], "0.001 of 196 patches leaves none"),
    ],
)
def test_what_contradicts_itself_is_refused(words, sentence):
    with pytest.raises(ConfigError, match=sentence):
        config_rules.check(changed(*words))


@pytest.mark.parametrize(
    "words",
    [
        ["checkpoint.every=1000", "checkpoint.keep_every=3000"],
        ["checkpoint.every=1000", "checkpoint.keep_every=0"],
        ["checkpoint.best_metric=anything"],  # Decides nothing.
        [
            *("checkpoint.keep_best=1", "checkpoint.best_metric=pets/top1"),
            "eval.sets=('folder=/data/pets as=pets',)",
        ],
        [
            *("checkpoint.keep_best=1", "checkpoint.best_metric=imagenet/top1"),
            "eval.sets=('imagenet=/data/imagenet/val',)",
        ],
    ],
)
def test_what_users_ask_for_is_not_refused(words):
    config_rules.check(changed(*words))


def test_values_of_dataclasses_made_in_python_are_checked_too():
    config = TrainConfig()
    optimizer = dataclasses.replace(config.optimizer, learning_rate=float("nan"))
    with pytest.raises(ConfigError, match="learning_rate: must be a finite number, not nan"):
        config_rules.check(dataclasses.replace(config, optimizer=optimizer))


@pytest.mark.parametrize("scale", [0.5, 112.33])
def test_an_initial_scale_that_the_first_update_would_change_is_refused(scale):
    config = changed(f"model.logit_scale_init={scale}")
    with pytest.raises(ConfigError, match=f"logit_scale_init: {scale:g} is outside 1 to"):
        config_rules.check_new(config)
    config_rules.check_new(
        changed("model.logit_scale_init=112.33", "optimizer.max_logit_scale=113")
    )


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["total_steps=10", "optimizer.warmup_steps=10"], "the learning rate rises to the end"),
        (["optimizer.muon_scale=3"], "muon_scale has no effect without config.optimizer.name=muon"),
        (["objective.triplet_margin=0.3"], "without a value of config.objective.triplet"),
        (
            ["data.tokenizer.path=t.json"],
            "path has no effect with config.data.tokenizer.kind=train",
        ),
    ],
)
def test_options_without_effect_are_noted(words, sentence):
    [note] = config_rules.notes(changed(*words))
    assert sentence in note
