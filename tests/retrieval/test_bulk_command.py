"""`prolip embed`, from a checkpoint to a collection."""

import numpy as np
import pytest
from collected import rows
from small_model import picture, save, small_model, write_pictures

from prolip.cli.main import main

COUNT = 21


@pytest.fixture(scope="module")
def model():
    return small_model()


@pytest.fixture
def argv(model, tmp_path):
    save(model, tmp_path / "run")
    write_pictures(tmp_path / "pictures", COUNT)
    words = ["embed", "--checkpoint", str(tmp_path / "run"), "--data", str(tmp_path / "pictures")]
    return [*words, "--out", str(tmp_path / "out"), "--batch-size", "8", "--part-size", "16"]


def test_two_shares_are_one_collection(argv, model, tmp_path, capsys):
    argv += ["--width", "float16", "--variance", "uncertainty", "--thumbnail", "8"]
    assert main([*argv, "--share", "1/2"]) == 0
    assert not (tmp_path / "out/manifest.json").exists()
    assert "parts of other processes are missing" in capsys.readouterr().out
    assert main([*argv, "--share", "0/2"]) == 0
    assert f"{COUNT} images (16 of them new)" in capsys.readouterr().out
    found, manifest = rows(tmp_path / "out")
    assert vars(manifest.model) == model.identity
    assert (manifest.width, manifest.variance) == ("float16", "uncertainty")
    assert manifest.checkpoint == str(tmp_path / "run" / "checkpoints" / "1")
    assert all(thumbnail.startswith(b"\xff\xd8") for thumbnail in found.thumbnails)
    expected = model.encode_image([picture(n) for n in range(COUNT)])
    np.testing.assert_allclose(found.gaussian.mean, expected.mean, atol=1e-3)
    np.testing.assert_allclose(found.uncertainty, expected.uncertainty, rtol=1e-5)


def test_the_towers_compute_in_what_is_asked_for(argv, model, tmp_path):
    assert main([*argv, "--dtype", "bfloat16"]) == 0
    found, _ = rows(tmp_path / "out")
    difference = np.abs(found.gaussian.mean - model.encode_image([picture(0)]).mean)[0].max()
    assert 1e-4 < difference < 0.05


def test_what_a_user_gets_wrong_is_a_sentence(argv, capsys):
    def said(*words):
        assert main([*argv, *words]) == 1
        text = capsys.readouterr().err
        assert text.startswith("prolip embed: ") and "Traceback" not in text
        return text

    assert main(argv) == 0
    assert "part_size: 16 there, 8 here" in said("--part-size", "8")
    assert "dtype: 'float32' there, 'bfloat16' here" in said("--dtype", "bfloat16")
    assert "--share is like 0/4" in said("--share", "2")
    assert "process 2 of 2" in said("--share", "2/2")
    assert "known: a folder of images" in said("--data", "nothing.csv")
    assert "--column means nothing here" in said("--column", "image")
    assert "nothing" in said("--checkpoint", "nothing")


def test_odd_texts_are_counted(tmp_path, capsys):
    save(small_model(), tmp_path / "run")
    lines = ["a text", '{"a": "text"}', "a \N{CAT FACE}", "ねこ"]
    (tmp_path / "t.txt").write_text("\n".join(lines))
    words = [
        "--checkpoint",
        tmp_path / "run",
        "--data",
        tmp_path / "t.txt",
        "--out",
        tmp_path / "e",
    ]
    assert main(["embed", *map(str, words)]) == 0
    said = capsys.readouterr().out
    assert "unknown token: 2" in said and "names: 1; embed the field alone" in said
