"""What the processes of a run must have in common before the first step."""

import json

import pytest

from prolip.config import ConfigError, TrainConfig, flatten, override, to_dict
from prolip.data.records import DataError
from prolip.train import same_start


@pytest.fixture
def two(monkeypatch):
    """Two processes: this one, and one that says what is put into the list."""
    others = []
    monkeypatch.setattr(same_start.jax, "process_count", lambda: 2)
    monkeypatch.setattr(same_start, "texts_of_all", lambda text: [text, *others])
    monkeypatch.setattr(same_start, "differing", lambda text: [1] * (text.decode() != others[0]))
    return others


def said_by(config, monkeypatch, allow_changes=False):
    """What a process with this configuration tells the others."""
    said = []
    with monkeypatch.context() as patched:
        patched.setattr(same_start, "differing", lambda text: said.append(text.decode()) or [])
        same_start.check_same_start(config, allow_changes)
    return said[0]


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        (
            "optimizer.learning_rate=1e-2",
            "learning_rate is 0.0005 on process 0 and 0.01 on process 1",
        ),
        ("checkpoint.every=7", "config.checkpoint.every is 1000 on process 0 and 7 on process 1"),
        ("non_finite=skip", "config.non_finite is 'stop' on process 0 and 'skip' on process 1"),
        ("total_steps=7", "config.total_steps"),
        ("logging.every=7", "config.logging.every"),
        ("data.mean=(0.5, 0.5, 0.5)", "config.data.mean"),
    ],
)
def test_processes_of_other_configurations_are_refused_with_the_key(
    word, sentence, two, monkeypatch
):
    two.append(said_by(override(TrainConfig(), [f"config.{word}"]), monkeypatch))
    with pytest.raises(ConfigError, match=sentence):
        same_start.check_same_start(TrainConfig(), False)


def test_only_what_belongs_to_a_host_may_differ(two, monkeypatch):
    keys = flatten(to_dict(TrainConfig()))
    told = json.loads(said_by(TrainConfig(), monkeypatch))
    assert keys.keys() - told.keys() == set(same_start.BY_HOST)
    words = ["data_dir=/mine", "index_dir=/mine", "num_threads=7", "prefetch=7", "cache=True"]
    words = [f"config.data.{word}" for word in words]
    two.append(said_by(override(TrainConfig(), words), monkeypatch))
    same_start.check_same_start(TrainConfig(), False)


def test_another_flag_or_version_of_the_code_is_refused(two, monkeypatch):
    two.append(said_by(TrainConfig(), monkeypatch, allow_changes=True))
    with pytest.raises(ConfigError, match="--allow-config-change is False on process 0 and True"):
        same_start.check_same_start(TrainConfig(), False)
    with monkeypatch.context() as patched:
        patched.setattr(same_start, "code_digest", lambda: "other")
        two[:] = [said_by(TrainConfig(), monkeypatch)]
    with pytest.raises(
        ConfigError, match=r"source code is .* on process 0 and 'other' on process 1"
    ):
        same_start.check_same_start(TrainConfig(), False)


def test_a_process_that_can_not_start_ends_the_start_of_all(two, monkeypatch):
    two.append(json.dumps({same_start.FAILED: "unknown key config.optimiser"}))
    with pytest.raises(ConfigError, match=r"process 1 can't start: unknown key config\.optimiser"):
        same_start.check_same_start(TrainConfig(), False)
    monkeypatch.setattr(same_start.distributed, "joined", lambda: True)
    monkeypatch.setattr(same_start.distributed, "leave", lambda: None)
    two[:] = [said_by(TrainConfig(), monkeypatch)]
    with pytest.raises(ConfigError, match=r"^mine$"), same_start.told_to_all():
        raise ConfigError("mine")


def test_a_file_that_one_process_can_not_use_ends_the_start_of_all(two):
    two.append("data.data_dir: /data is not a folder")
    reason = r"^process 1 can't start: data\.data_dir: /data is not a folder$"
    with pytest.raises(DataError, match=reason), same_start.together():
        pass
    with pytest.raises(DataError, match=r"^mine$"), same_start.together():
        raise DataError("mine")
    two[:] = [""]
    with same_start.together():
        pass


def test_the_reason_of_a_refusal_outlives_a_meeting_that_fails(two, monkeypatch):
    def leave():
        raise RuntimeError("connection reset")

    monkeypatch.setattr(same_start.distributed, "joined", lambda: True)
    monkeypatch.setattr(same_start.distributed, "leave", leave)
    with pytest.raises(DataError, match=r"^mine$"):
        same_start.refuse(DataError("mine"))


def test_the_error_of_a_process_is_told_though_another_one_is_gone(monkeypatch):
    def gone(text):
        raise RuntimeError("connection closed by peer")

    monkeypatch.setattr(same_start.distributed, "joined", lambda: True)
    monkeypatch.setattr(same_start, "differing", gone)
    with pytest.raises(ConfigError, match=r"^mine$"), same_start.told_to_all():
        raise ConfigError("mine")


def test_many_differences_are_a_short_sentence():
    values = [{f"config.{i}": rank > 3 for i in range(9)} for rank in range(20)]
    text = same_start.disagreement(values)
    assert (
        "config.0 is False on process 0, 1, 2, 3 and True on process 4, 5, 6, 7, 8 and 11 more"
        in text
    )
    assert "and 4 more. Start all of them" in text and len(text) < 800


def test_other_weights_on_a_host_are_refused(monkeypatch):
    monkeypatch.setattr(same_start, "differing", lambda text: [3])
    with pytest.raises(DataError, match=r"config\.init_from: process 3 has other weights"):
        same_start.check_same_weights({"weights": "a"})
