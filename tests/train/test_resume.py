"""What a run may go on with, told from what it began with."""

import json

import pytest

from prolip.config import ConfigError, TrainConfig, override
from prolip.train.resume import check_config, check_fingerprint, other_state, samples_seen
from prolip.workdir import Workdir

MIXTURE = {"mixture": [{"records": 30, "data_set": "table", "share": 0.7}], "seed": 0}


def test_what_was_stored_is_what_it_was_whatever_the_order_of_its_keys():
    stored = json.loads(json.dumps(MIXTURE, sort_keys=True))
    assert list(stored["mixture"][0]) != list(MIXTURE["mixture"][0])
    check_fingerprint(stored, MIXTURE, allow_changes=False)


def test_other_records_in_a_mixture_are_other_data():
    other = {**MIXTURE, "mixture": [{**MIXTURE["mixture"][0], "records": 31}]}
    with pytest.raises(ConfigError, match="not what the checkpoint was trained on"):
        check_fingerprint(MIXTURE, other, allow_changes=False)
    check_fingerprint(MIXTURE, other, allow_changes=True)


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("optimizer.name=muon", "config.optimizer.name: 'adamw' there, 'muon' here: the state in"),
        ("model.embed_dim=16", "config.model.embed_dim: 768 there, 16 here"),
        ("model.unroll=2", ""),
        ("optimizer.learning_rate=1e-4", ""),
    ],
)
def test_an_option_that_changes_the_state_is_named_in_a_short_sentence(word, sentence):
    other = override(TrainConfig(), [f"config.{word}"])
    said = other_state(TrainConfig(), other)
    assert sentence in said and bool(said) == bool(sentence) and said.count("\n") == 0


@pytest.mark.parametrize(
    "word", ["accumulation_steps=4", "max_skipped=3", "data.max_bad_fraction=0.5", "mesh.fsdp=2"]
)
def test_what_changes_how_and_not_what_is_computed_may_change(word, tmp_path):
    workdir = Workdir(tmp_path)
    workdir.write_config(TrainConfig())
    assert len(check_config(workdir, override(TrainConfig(), [f"config.{word}"]), False)) == 1


def test_samples_are_counted_or_those_of_equal_batches_where_nothing_counted_them():
    meta = {"step": 5, "data": {"global_batch": 64}}
    assert samples_seen(meta) == 320
    assert samples_seen({**meta, "samples": 200}) == 200
