"""Reads that fail for a moment are tried again; those that fail for good end the run."""

import errno
import os

import pytest
from webfiles import tar_config, write_tars

from prolip.data.files import reading
from prolip.data.files.reading import OpenFile, read_file
from prolip.data.items import Items
from prolip.data.records import BadRecord, DataError
from prolip.data.sources.choose import open_train


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
        with pytest.raises(DataError, match="a can't be read: Input/output error"):
            read_file(tmp_path / "a")
    else:
        assert OpenFile(tmp_path / "a").read(2, 5) == b"23456"


@pytest.mark.parametrize(
    ("number", "error", "message"),
    [
        (errno.EACCES, BadRecord, "file can't be opened"),
        (errno.ENOENT, BadRecord, "file is missing"),
        (errno.ESTALE, DataError, "can't be read: Stale file handle"),
        (errno.EMFILE, DataError, "can't be read: Too many open files"),
    ],
)
def test_a_file_that_can_not_be_opened_is_its_own_matter_or_that_of_the_disk(
    tmp_path, monkeypatch, number, error, message
):
    def failing(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", failing)
    with pytest.raises(error, match=message):
        read_file(tmp_path / "a")


def test_a_share_that_is_gone_is_asked_once_not_for_every_record(tmp_path, monkeypatch):
    write_tars(tmp_path, 12)
    config = tar_config(tmp_path)
    items, slept = Items(open_train(config), config, upright=True), []
    items[0]

    def failing(*_):
        raise OSError(errno.ESTALE, "Stale file handle")

    monkeypatch.setattr(reading.os, "pread", failing)
    monkeypatch.setattr(reading.time, "sleep", slept.append)
    with pytest.raises(DataError, match="Stale file handle"):
        items.at_or_after(1)
    assert slept == list(reading.PAUSES)


def test_reads_in_small_pieces_are_put_together(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(bytes(range(100)))
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda file, size, place: pread(file, min(size, 7), place))
    assert read_file(tmp_path / "a") == bytes(range(100))
