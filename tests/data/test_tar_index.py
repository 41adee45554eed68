"""The index of a tar is made once, holds what the tar holds, and is never of another tar."""

import os
import stat
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from webfiles import write_tar, write_tars

from prolip.data.files import tar_index
from prolip.data.files.tar_index import TarIndex, make_index, make_missing, open_head
from prolip.data.records import DataError

KEYS = st.builds("{}{}".format, st.sampled_from(["", "a/", "é/b.c/"]), st.text("abé", min_size=1))
NAMES = st.builds(lambda key, end: f"{key}.{end}", KEYS, st.sampled_from(["jpg", "txt", "seg.png"]))


def listed(path):
    """Key, extension, offset and size of every member, by the index."""
    head = open_head(str(path))
    index = TarIndex(head)
    return {
        (index.key(i), head.extensions[e]): (offset, size)
        for i in range(len(index))
        for e, offset, size in index.members(i)
    }


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(NAMES, st.binary(max_size=700), max_size=12))
def test_the_index_lists_what_the_tar_holds(tmp_path_factory, members):
    path = write_tar(tmp_path_factory.mktemp("tars") / "t.tar", members)
    head = make_index(str(path))
    content = path.read_bytes()
    found = listed(path)
    with tarfile.open(path) as tar:
        names = tar.getnames()
    assert head.members + head.num_problems == len(names)
    for (key, extension), (offset, size) in found.items():
        matching = [n for n in members if n.lower() == f"{key}.{extension}".lower()]
        assert content[offset : offset + size] in [members[n] for n in matching]


def test_an_index_is_made_once_and_read_after(tmp_path, monkeypatch):
    paths = [str(path) for path in write_tars(tmp_path, 12)]
    heads = make_missing(paths)
    assert [head.samples for head in heads] == [5, 5, 2]
    assert sorted(p.name for p in tmp_path.iterdir() if p.suffix == ".index") == [
        f"set-{n:05}.tar.index" for n in range(3)
    ]
    monkeypatch.setattr(tar_index, "make_index", None)
    assert make_missing(paths) == heads


def test_processes_make_the_same_index_as_threads(tmp_path):
    paths = [str(path) for path in write_tars(tmp_path, 10)]
    done = []
    heads = make_missing(paths, str(tmp_path / "a"), advance=lambda: done.append(1))
    assert len(done) == 2
    others = make_missing(paths, str(tmp_path / "b"), processes=2)
    contents = [[head.place.read_bytes() for head in made] for made in (heads, others)]
    assert contents[0] == contents[1]


@pytest.mark.parametrize("change", ["time", "size", "index", "cut", "empty", "format"])
def test_an_index_of_another_state_is_not_used(tmp_path, change):
    path = str(write_tars(tmp_path, 4)[0])
    place = make_index(path).place
    whole = place.read_bytes()
    if change == "time":
        os.utime(path, (1, 1))
    elif change == "size":
        with open(path, "ab") as file:
            file.write(bytes(512))
    else:
        damaged = {
            "index": b"x" + whole[1:],
            "cut": whole[:-1],
            "empty": b"",
            "format": whole.replace(b'"format": 2', b'"format": 1'),
        }
        place.write_bytes(damaged[change])
    assert open_head(path) is None
    assert make_missing([path])[0].samples == 4 and open_head(path) is not None


def test_a_flipped_byte_of_an_index_is_found(tmp_path):
    head = make_index(str(write_tars(tmp_path, 4)[0]))
    content = bytearray(head.place.read_bytes())
    content[-3] ^= 1
    head.place.write_bytes(content)
    with pytest.raises(DataError, match="is damaged; delete it"):
        TarIndex(open_head(head.path))


def test_a_folder_that_cannot_be_written_leaves_the_index_to_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = str(write_tars(tmp_path / "tars", 4)[0])

    def refused(place, content):
        if place.parent.name == "tars":
            raise PermissionError("read-only")
        place.write_bytes(content)

    monkeypatch.setattr("prolip.data.files.side_files.write_whole", refused)
    head = make_index(path)
    assert (tmp_path / "cache" / "prolip") in head.place.parents
    assert open_head(path) == head


def test_the_folder_of_the_configuration_comes_first(tmp_path):
    path = str(write_tars(tmp_path / "tars", 4)[0])
    head = make_index(path, str(tmp_path / "own"))
    assert (tmp_path / "own") in head.place.parents
    assert open_head(path, str(tmp_path / "own")) == head and open_head(path) is None
    assert stat.S_ISREG(head.place.stat().st_mode)
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"set data\.index_dir"):
        make_index(path, str(tmp_path / "file" / "x"))


def test_a_tar_that_is_gone_is_named(tmp_path):
    with pytest.raises(DataError, match=r"gone\.tar is missing"):
        make_missing([str(tmp_path / "gone.tar")])


def test_a_cut_tar_keeps_what_is_before_the_cut_and_names_the_damage(tmp_path):
    path = write_tars(tmp_path, 5)[0]
    content = path.read_bytes()
    for size in range(0, len(content), 1013):
        path.write_bytes(content[:size])
        head = make_index(str(path))
        ends = [offset + length for offset, length in listed(path).values()]
        assert max(ends, default=0) <= size
        rest = content[size:]
        assert head.num_problems or not any(rest), size
        assert {reason for _, reason in head.problems} <= {"tar is cut short"}
