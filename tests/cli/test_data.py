"""`prolip data`: what is said, what is written, and which exit code says that something is bad."""

import io
import json
import tarfile

import pytest
from PIL import Image

from prolip.cli.main import main
from prolip.exit_codes import BAD_RECORDS, USER_ERROR


def picture(number):
    buffer = io.BytesIO()
    Image.new("RGB", (30 + number, 20), (number, 0, 0)).save(buffer, "JPEG")
    return buffer.getvalue()


def write(path, count, first=0, **spoilt):
    """A tar of samples; `spoilt` has other members."""
    members = {}
    for number in range(first, first + count):
        members[f"{number:04}.jpg"] = picture(number)
        members[f"{number:04}.txt"] = f"picture {number}".encode()
    members |= {name.replace("_", "."): content for name, content in spoilt.items()}
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


@pytest.fixture
def good(tmp_path):
    write(tmp_path / "good" / "0.tar", 3)
    write(tmp_path / "good" / "1.tar", 3, 3)
    return str(tmp_path / "good")


@pytest.fixture
def bad(tmp_path):
    write(tmp_path / "bad" / "0.tar", 3, x_jpg=b"", x_txt=b"a")
    write(tmp_path / "bad" / "1.tar", 1)
    with (tmp_path / "bad" / "1.tar").open("rb+") as file:
        file.truncate(1200)
    return str(tmp_path / "bad")


def test_index_says_what_is_there_and_what_is_damaged(good, bad, capsys):
    assert main(["data", "index", good, "--workers", "1"]) == 0
    assert "2 tars, 6 samples" in capsys.readouterr().out
    assert main(["data", "index", f"{bad}/*.tar", "--workers", "1"]) == BAD_RECORDS
    out = capsys.readouterr().out
    assert "bad/1.tar" in out and "tar is cut short" in out


def test_validate_names_every_bad_record(good, bad, tmp_path, capsys):
    assert main(["data", "validate", good]) == 0
    assert "6 records, 0 bad" in capsys.readouterr().out
    listed = tmp_path / "bad.jsonl"
    assert main(["data", "validate", bad, "--out", str(listed)]) == BAD_RECORDS
    assert "0/x: empty image" in capsys.readouterr().out
    reasons = [json.loads(line)["reason"] for line in listed.read_text().splitlines()]
    assert reasons.count("tar is cut short") >= 1 and reasons.count("empty image") == 1


def test_stats_counts_duplicates_and_draws_a_sheet(good, tmp_path, capsys):
    write(tmp_path / "good" / "2.tar", 2, 1)
    sheet = tmp_path / "sheet.png"
    assert main(["data", "stats", good, "--sheet", str(sheet)]) == 0
    out = capsys.readouterr().out
    assert "8 records" in out and "8 x JPEG RGB" in out
    assert "images with distinct bytes: 6 of 8, one of them 2 times" in out
    assert "captions: 8, distinct when cleaned: 6" in out
    with Image.open(sheet) as image:
        assert image.size == (12 * 96, 8 * 96)


def test_import_tells_how_to_read_what_it_wrote(good, bad, tmp_path, capsys):
    words = ["data", "import", good, "--out", str(tmp_path / "tfds"), "--name", "mine"]
    assert main(words) == 0
    assert "6 records" in capsys.readouterr().out
    options = [
        "--config", "emoji", "--config.data.name=mine", f"--config.data.data_dir={tmp_path}/tfds",
        "--config.data.caption_features=('caption',)", "--config.data.caption_weights=(1.0,)",
    ]  # fmt: skip
    assert main(["data", "validate", *options]) == 0
    assert main([*words[:2], bad, *words[3:-1], "other"]) == BAD_RECORDS
    out = capsys.readouterr().out
    assert "1 x empty image" in out and "damaged in 1 places" in out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["validate"], "name either SRC or --config"),
        (["validate", "x", "--config", "emoji"], "name either SRC or --config"),
        (["stats", "--config", "emoji", "--captions", "group"], "--captions is for SRC"),
        (["stats", "--config", "emoji", "--image", "image"], "--config.data.image_feature="),
        (["validate", "nowhere.bin"], "is not a folder, tar or table"),
        (["stats", "{good}", "--captions", "text"], "did you mean 'txt'"),
        (["stats", "{good}", "--filter", "widht > 3"], "did you mean 'width'"),
        (["import", "{good}", "--out", "{good}/o", "--name", "A B"], "--name"),
        (["index", "{good}/nothing*.tar"], "matches no file"),
    ],
)
def test_mistakes_are_answered_in_a_sentence(good, capsys, words, sentence):
    assert main(["data", *(word.replace("{good}", good) for word in words)]) == USER_ERROR
    assert sentence in capsys.readouterr().err
