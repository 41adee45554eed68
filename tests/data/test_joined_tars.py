"""All members of a tar are read, or what is not read is named with its bytes."""

import bz2
import gzip
import io
import lzma
import os
import tarfile
import time

import pytest
from webfiles import tar_config

from prolip.cli.main import main
from prolip.data.files import tar_members
from prolip.data.files.tar_members import members, samples
from prolip.data.records import DataError
from prolip.data.sources.choose import open_train
from prolip.exit_codes import BAD_RECORDS, USER_ERROR


def packed(contents):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


FIRST = packed({"0.txt": b"a", "1.txt": b"b"})  # Each member is 1,024 bytes long.
SECOND = packed({"2.txt": b"c", "3.txt": b"d"})
ALL = ["0.txt", "1.txt", "2.txt", "3.txt"]


def listed(path, content):
    """Names of the good members, and (name, reason) of what is wrong."""
    path.write_bytes(content)
    found = list(members(path))
    good = [m for m in found if not m.reason]
    assert all(content[m.offset : m.offset + 1] in b"abcd" for m in good)
    return [m.name for m in good], [(m.name, m.reason) for m in found if m.reason]


@pytest.mark.parametrize(
    ("content", "names"),
    [
        (FIRST + SECOND, ALL),
        (FIRST[:2048] + SECOND, ALL),
        (FIRST + bytes(100) + SECOND, ALL),
        (FIRST[:1024] + bytes(512) + FIRST[1024:], ALL[:2]),
        (FIRST[:1024] + bytes(5 * 512) + FIRST[1024:], ALL[:2]),
        (bytes(10240) + SECOND, ALL[2:]),
        (FIRST + bytes(300_000), ALL[:2]),
        (FIRST[:2048] + bytes(512), ALL[:2]),
    ],
)
def test_members_behind_zeros_are_read(tmp_path, content, names):
    assert listed(tmp_path / "t.tar", content) == (names, [])


@pytest.mark.parametrize(
    ("content", "names", "wrong"),
    [
        (FIRST + b"junk" * 300, 2, ("rest of 1,200 bytes, from byte 10,240 on", "damaged tar")),
        (FIRST + b"\n", 2, ("rest of 1 bytes, from byte 10,240 on", "damaged tar")),
        (FIRST + SECOND[:300], 2, ("rest of 300 bytes, from byte 10,240 on", "damaged tar")),
        (
            FIRST[:1024] + b"x" * 512 + FIRST[1024:], 1,
            ("rest of 9,728 bytes, from byte 1,024 on", "damaged tar"),
        ),
        (FIRST + SECOND[:700], 3, ("", "tar is cut short")),
        (FIRST + SECOND[:1024], 3, ("", "tar is cut short")),
        (FIRST + SECOND[:1324], 3, ("", "tar is cut short")),
    ],
)  # fmt: skip
def test_a_rest_that_is_not_read_is_named_with_its_bytes(tmp_path, content, names, wrong):
    assert listed(tmp_path / "t.tar", content) == (ALL[:names], [wrong])


def test_zeros_without_end_cost_nothing(tmp_path, monkeypatch):
    path = tmp_path / "t.tar"
    path.write_bytes(FIRST)
    os.truncate(path, 20 << 30)  # A hole.
    begin = time.monotonic()
    assert len(list(members(path))) == 2 and time.monotonic() - begin < 2
    monkeypatch.delattr(tar_members.os, "SEEK_DATA", raising=False)
    monkeypatch.setattr(tar_members, "CHUNK", 1000)
    assert listed(path, FIRST + bytes(100_000) + SECOND) == (ALL, [])


def test_all_verbs_read_a_joined_tar(tmp_path, capsys):
    path = tmp_path / "joined.tar"
    path.write_bytes(FIRST + b"junk" + FIRST[1024:])
    assert main(["data", "index", str(path)]) == BAD_RECORDS
    assert "joined.tar/rest of 9,220 bytes" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (gzip.compress(FIRST), "gzip"),
        (bz2.compress(FIRST), "bzip2"),
        (lzma.compress(FIRST), "xz"),
        (b"\x28\xb5\x2f\xfd" + bytes(600), "zstd"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (b"<!DOCTYPE html>" + bytes(600), "HTML"),
        (b"\xef\xbb\xbf\r\n<html>" + bytes(600), "HTML"),
        (b'{"error": "not found"}', "JSON"),
    ],
)
def test_other_files_with_the_name_of_a_tar_are_called_what_they_are(tmp_path, content, kind):
    (tmp_path / "set-0.tar").write_bytes(content)
    config = tar_config(tmp_path, caption_features=("txt",), caption_weights=(1.0,))
    with pytest.raises(DataError, match=rf"has no sample: set-0\.tar: .*{kind}"):
        open_train(config)


def test_a_packed_tar_by_its_own_name_is_told_to_be_unpacked(tmp_path, capsys):
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(FIRST))
    assert main(["data", "stats", str(tmp_path / "a.tar.gz")]) == USER_ERROR
    assert "unpack" in capsys.readouterr().err


def test_a_header_that_claims_gigabytes_of_names_is_damage(tmp_path):
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 8 << 30
    path = tmp_path / "t.tar"
    path.write_bytes(info.tobuf(tarfile.GNU_FORMAT))
    os.truncate(path, 9 << 30)
    assert [member.reason for member in members(path)] == ["damaged tar"]


FORK = b"\0\5\x16\7\0\2\0\0Mac OS X        "


def test_files_of_other_programs_are_left_out_and_counted(tmp_path):
    good = {"0.jpg": b"a", "0.txt": b"b", "._1.png": b"a picture", "__x__.jpg": b"c"}
    junk = {
        "./._0.jpg": FORK, "._0.txt": b"by the file beside it", "a/._9.jpg": FORK,
        "__MACOSX/._0.jpg": FORK, ".DS_Store": b"Bud1", "a/Thumbs.db": b"x",
        "__info__.json": b"{}", "@eaDir/0.jpg/SMALL.jpg": b"x",
    }  # fmt: skip
    path = tmp_path / "t.tar"
    path.write_bytes(packed(good | junk))
    found = samples(path)
    names = [m.name for sample in found.members.values() for m in sample.values()]
    assert names == list(good) and found.foreign == len(junk) and not found.problems
