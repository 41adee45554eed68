"""What a user gets wrong is answered by a sentence and a code, before any work is done."""

import os

import pytest

from prolip.cli import configuration
from prolip.cli.main import main

TRAIN = ["train", "--config", "emoji"]


def said(capsys, argv, code=1):
    assert main(argv) == code
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return captured.err


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("--config.optimizer.learning_rat=1", ["did you mean config.optimizer.learning_rate?"]),
        ("--config.modl.embed_dim=1", ["modl"]),
        ("--config.optimizer.learning_rate=fast", ["learning_rate", "fast"]),
        ("--config.model.dtype=float17", ["config.model.dtype", "bfloat16", "float17"]),
        ("--config.model.heads=relased", ["did you mean 'released'"]),
        ("--config.global_batch=12", ["config.global_batch", "8 devices"]),
        ("--config.mesh.tensor=8", ["config.mesh.tensor", "num_heads"]),
        ("--config.mesh.tensor=3", ["config.mesh", "8 devices"]),
        ("--config.model.image.patch=7", ["config.model.image.patch", "does not divide"]),
        ("--config.data.name=emojy", ["emojy"]),
        ("--config.optimizer.warmup_steps=1000000", ["warmup_steps", "total_steps"]),
    ],
)
def test_values_that_cannot_be(override, words, capsys, tmp_path):
    text = said(capsys, [*TRAIN, "--workdir", str(tmp_path / "run"), override])
    for word in words:
        assert word.lower() in text.lower()


def test_masked_views_that_do_not_divide(capsys, tmp_path):
    words = ["--config.global_batch=24", "--config.objective.inclusion_masked=0.001"]
    text = said(capsys, [*TRAIN, "--workdir", str(tmp_path / "run"), *words])
    assert "mask_every" in text


def test_a_configuration_that_is_not_there_and_the_nearest(capsys, tmp_path):
    text = said(capsys, ["train", "--config", "emojii", "--workdir", str(tmp_path / "run")])
    assert "no configuration 'emojii'; did you mean 'emoji', of cc12m" in " ".join(text.split())


def test_a_report_is_of_a_run(capsys, tmp_path):
    assert "is not a run" in said(capsys, ["report", "--workdir", str(tmp_path)])
    assert not (tmp_path / "report.html").exists()


def test_urls_are_refused_with_what_to_do(capsys):
    text = said(capsys, [*TRAIN, "--workdir", "s3://bucket/run"])
    assert "Mount the bucket" in text


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes anywhere")
def test_directory_without_permission(capsys, tmp_path):
    tmp_path.chmod(0o500)
    assert "can't be written" in said(capsys, [*TRAIN, "--workdir", str(tmp_path / "run")])


def test_file_in_the_place_of_the_workdir(capsys, tmp_path):
    (tmp_path / "run").write_text("not a folder")
    assert "can't be written" in said(capsys, [*TRAIN, "--workdir", str(tmp_path / "run")])


def test_no_such_configuration(capsys, tmp_path):
    text = said(capsys, ["train", "--config", "imoji", "--workdir", str(tmp_path)])
    assert "emoji" in text


@pytest.mark.parametrize("verb", ["eval", "report"])
def test_workdir_without_a_run(verb, capsys, tmp_path):
    assert main([verb, "--workdir", str(tmp_path / "nothing")]) != 0
    assert "nothing" in capsys.readouterr().err


def test_unknown_arguments_are_named(capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["eval", "--workdir", "x", "--stepp", "3"])
    assert exit_.value.code == 2
    assert "--stepp" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("--config.objective.mask_every=0", ["config.objective.mask_every", "at least 1"]),
        ("--config.model.image.num_heads=0", ["config.model.image.num_heads", "at least 1"]),
        ("--config.checkpoint.every=0", ["config.checkpoint.every", "at least 1"]),
        ("--config.data.augment.mixup=1.5", ["config.data.augment.mixup", "from 0 to 1"]),
        ("--config.model.dtype=float64", ["JAX_ENABLE_X64"]),
        ("--config.model.heads=deterministic", ["config.objective.bottleneck", "set it to 0"]),
        ("--config.optimizer.muon_scale=0.0", ["muon_scale: must be above 0, not 0.0"]),
    ],
)
def test_values_out_of_bounds_or_at_odds(override, words, capsys, tmp_path):
    text = said(capsys, [*TRAIN, "--workdir", str(tmp_path / "run"), override])
    for word in words:
        assert word in text


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("def get_config(:", ["SyntaxError"]),
        ("x = 1", ["it has no get_config()"]),
        ("def get_config():\n    return 1 / 0", ["ZeroDivisionError"]),
    ],
)
def test_broken_configurations(body, words, capsys, tmp_path):
    (tmp_path / "mine.py").write_text(body)
    argv = ["train", "--config", str(tmp_path / "mine.py"), "--workdir", str(tmp_path / "run")]
    text = said(capsys, argv)
    for word in ["mine.py", *words]:
        assert word in text


def test_a_configuration_may_return_the_dataclass(capsys, tmp_path):
    (tmp_path / "mine.py").write_text(
        "from prolip.config import TrainConfig\ndef get_config():\n    return TrainConfig(seed=3)\n"
    )
    assert configuration.load(str(tmp_path / "mine.py"), ["--config.total_steps=7"]).seed == 3


def test_overrides_of_no_configuration_are_refused(capsys):
    assert "--config.seed=1" in said(capsys, ["describe", "--config.seed=1"])


def test_files_in_the_way_are_a_sentence(capsys, tmp_path):
    (tmp_path / "report.html").mkdir()
    (tmp_path / "config.json").write_text("{}")
    assert "report.html" in said(capsys, ["report", "--workdir", str(tmp_path)])


def test_a_slip_in_an_option_is_no_option(capsys):
    with pytest.raises(SystemExit):
        main(["search", "nowhere", "cat", "--insid"])
    assert "--insid" in capsys.readouterr().err
