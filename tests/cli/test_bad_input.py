"""What a user gets wrong is answered by a sentence and a code, before any work is done."""

import os

import pytest

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
        ("--config.global_batch=24", ["mask_every"]),
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
