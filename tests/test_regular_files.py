"""Files of strangers are read without waiting for a pipe or filling the memory."""

import os

import pytest

from prolip.regular_files import UnreadableError, check_regular, parse_object, read_bytes


def test_a_regular_file_is_read_through_links(tmp_path):
    (tmp_path / "a").write_bytes(b"1234")
    (tmp_path / "link").symlink_to("a")
    assert read_bytes(tmp_path / "link", 4) == b"1234"
    assert check_regular(tmp_path / "link", 4) == 4


def test_everything_else_is_named(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "large").write_bytes(b"12345")
    for name, reason in (
        ("pipe", "not a regular file"),
        ("zero", "not a regular file"),
        (".", "not a regular file|directory"),
        ("large", "5 bytes"),
        ("none", "No such file"),
        ("a\0b", "can't be read"),
    ):
        for read in (read_bytes, check_regular):
            with pytest.raises(UnreadableError, match=reason):
                read(tmp_path / name, 4)


@pytest.mark.parametrize("content", [b"[1]", b"{", b"\xff", b"[" * 100_000, b"null", b""])
def test_what_is_not_a_json_object_is_a_sentence(content):
    with pytest.raises(UnreadableError, match=r"some\.json is damaged"):
        parse_object(content, "some.json")
