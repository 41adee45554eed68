"""Reads that fail for a moment are tried again; those that fail for good are a bad record."""

import os

import pytest

from prolip.data.files import reading
from prolip.data.files.reading import OpenFile, read_file
from prolip.data.records import BadRecord


@pytest.mark.parametrize("failures", [0, 1, 3, 4])
def test_a_read_that_fails_is_tried_again(tmp_path, monkeypatch, failures):
    (tmp_path / "a").write_bytes(b"0123456789")
    monkeypatch.setattr(reading, "PAUSES", (0, 0, 0))
    pread, left = os.pread, [failures]

    def failing(*args):
        if left[0]:
            left[0] -= 1
            raise OSError(5, "Input/output error")
        return pread(*args)

    monkeypatch.setattr(os, "pread", failing)
    if failures > 3:
        with pytest.raises(BadRecord, match="file can't be read"):
            read_file(tmp_path / "a")
    else:
        assert OpenFile(tmp_path / "a").read(2, 5) == b"23456"


def test_reads_in_small_pieces_are_put_together(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(bytes(range(100)))
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda file, size, place: pread(file, min(size, 7), place))
    assert read_file(tmp_path / "a") == bytes(range(100))
