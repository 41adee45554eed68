"""What a user may name, and what is said about everything else."""

import pytest

from prolip.config import ConfigError
from prolip.data.files.patterns import braces
from prolip.data.records import DataError
from prolip.retrieval.collections.choose import open_collection


@pytest.mark.parametrize("data", ["", "nothing.csv", "s3://bucket/a.tar", "*.tar", "model.bin"])
def test_what_is_not_known_is_answered_by_what_is(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.bin").write_bytes(b"x")
    with pytest.raises(DataError, match=r"known: a folder of images.*tfds:NAME"):
        open_collection(data)


def test_packed_tars_are_to_be_unpacked(tmp_path):
    (tmp_path / "a.tar.gz").write_bytes(b"x")
    with pytest.raises(DataError, match=r"unpack it to \.tar"):
        open_collection(str(tmp_path / "a.tar.gz"))


def test_images_beside_tars_are_not_left_out(tmp_path):
    (tmp_path / "a.tar").write_bytes(b"x")
    (tmp_path / "a.png").write_bytes(b"x")
    with pytest.raises(DataError, match="has images and tars"):
        open_collection(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("", {"kind": "text"}),
        ("", {"column": "a"}),
        ("", {"id_column": "a"}),
        ("", {"data_dir": "a"}),
        ("a.tar", {"id_column": "a"}),
        ("t.txt", {"id_column": "a"}),
    ],
)
def test_options_that_mean_nothing_are_refused(tmp_path, name, options):
    (tmp_path / "a.png").write_bytes(b"x")
    (tmp_path / "a.tar").write_bytes(b"") if name == "a.tar" else None
    (tmp_path / "t.txt").write_text("a")
    with pytest.raises(ConfigError):
        open_collection(str(tmp_path / name), **options)


def test_a_list_of_paths_may_be_a_text_file(tmp_path):
    (tmp_path / "a.png").write_bytes(b"x")
    (tmp_path / "t.txt").write_text("a.png\n")
    assert open_collection(str(tmp_path / "t.txt")).kind == "text"
    assert open_collection(str(tmp_path / "t.txt"), kind="image")[0].image == b"x"


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("a{08..11}b", ["a08b", "a09b", "a10b", "a11b"]),
        ("{x,y}{1..2}", ["x1", "x2", "y1", "y2"]),
        ("{0..1}-{0..1}", ["0-0", "0-1", "1-0", "1-1"]),
        ("plain{x}", ["plain{x}"]),
    ],
)
def test_braces_are_those_of_a_shell(pattern, names):
    assert braces(pattern) == names


@pytest.mark.parametrize("pattern", ["{5..1}", "{0..999999999}", "{0..999999}{0..9}"])
def test_braces_of_no_or_too_many_names_are_refused(pattern):
    with pytest.raises(ConfigError, match="stands for"):
        braces(pattern)
