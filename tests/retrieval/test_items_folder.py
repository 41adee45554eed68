"""A folder of images: every file by name, in order; links and odd files by the rules."""

import os

import pytest
from small_model import png

from prolip.data.records import BadRecord, DataError
from prolip.retrieval.collections.choose import open_collection


def read(collection):
    """Id to image bytes, or to the reason."""
    found = {}
    for number in range(len(collection)):
        try:
            item = collection[number]
            assert item.id == collection.id(number)
            found[item.id] = item.image
        except BadRecord as bad:
            found[collection.id(number)] = str(bad)
    assert len(found) == len(collection)
    return found


@pytest.fixture
def folder(tmp_path):
    for name in ("b.png", "a/z.JPG", "a/b/c.webp", "a/d.gif", "ab.jpeg"):
        path = tmp_path / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return tmp_path / "pictures"


def test_files_come_in_the_order_of_their_paths(folder):
    collection = open_collection(str(folder))
    assert collection.kind == "image"
    found = read(collection)
    assert list(found) == ["a/b/c.webp", "a/d.gif", "a/z.JPG", "ab.jpeg", "b.png"]
    assert all(content == name.encode() for name, content in found.items())
    assert collection[4].uri == str(folder / "b.png")


def test_what_is_left_out_is_said(folder):
    (folder / "notes.txt").write_text("x")
    (folder / "a" / "scan.HEIC").write_text("x")
    (folder / ".git").mkdir()
    (folder / ".git" / "x.png").write_text("x")
    (folder / "a" / "._d.gif").write_text("x")
    others, hidden = open_collection(str(folder)).notes
    assert others.startswith("2 files") and "1 x .txt" in others and "1 x .heic" in others
    assert hidden == "2 hidden files or folders are left out: ._d.gif, .git"


def test_links_are_followed_only_inside(folder, tmp_path):
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/s.png").write_bytes(b"secret")
    (folder / "in.png").symlink_to("a/z.JPG")
    (folder / "out.png").symlink_to("../secret/s.png")
    (folder / "absolute.png").symlink_to(tmp_path / "secret/s.png")
    (folder / "through.png").symlink_to("absolute.png")
    (folder / "in_folder").symlink_to("a")
    (folder / "out_folder").symlink_to(tmp_path / "secret")
    (folder / "circle").symlink_to(".")
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "broken.png").symlink_to("nothing.png")
    found = read(open_collection(str(folder)))
    assert found["in.png"] == b"a/z.JPG"
    for name in ("out.png", "absolute.png", "through.png", "out_folder"):
        assert found[name] == "link leaves the folder"
    assert found["loop.png"] == "file can't be read"
    assert found["broken.png"] == "not a regular file"
    assert b"secret" not in found.values()
    assert len(found) == 5 + 1 + 4 + 2  # Links to folders inside add nothing.


def test_pipes_and_foreign_names_fail_by_name(folder):
    os.mkfifo(folder / "pipe.png")
    with open(os.fsencode(folder) + b"/caf\xe9.png", "wb") as file:
        file.write(png(1))
    (folder / "c.png").mkdir()
    found = read(open_collection(str(folder)))
    assert found["pipe.png"] == "not a regular file"
    assert found["caf\\udce9.png"] == "name of the file is not UTF-8"
    assert len(found) == 7


def test_files_may_change_before_they_are_read(folder):
    collection = open_collection(str(folder))
    (folder / "b.png").unlink()
    (folder / "ab.jpeg").unlink()
    os.mkfifo(folder / "ab.jpeg")
    found = read(collection)
    assert found["b.png"] == "file is missing"
    assert found["ab.jpeg"] == "not a regular file"


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads anything")
def test_folders_without_permission_are_items_that_fail(folder):
    (folder / "a").chmod(0)
    found = read(open_collection(str(folder)))
    (folder / "a").chmod(0o700)
    assert found["a"] == "folder can't be read"


def test_the_fingerprint_tells_other_files(folder):
    def fingerprint():
        return open_collection(str(folder)).fingerprint()

    seen = [fingerprint()]
    assert fingerprint() == seen[0]
    (folder / "b.png").write_bytes(b"longer than before")
    seen.append(fingerprint())
    (folder / "b.png").rename(folder / "c.png")
    seen.append(fingerprint())
    (folder / "new.png").write_bytes(b"")
    seen.append(fingerprint())
    assert len(set(seen)) == 4


def test_a_folder_without_images_is_refused(tmp_path):
    (tmp_path / "notes.md").write_text("x")
    with pytest.raises(DataError, match="no JPEG"):
        open_collection(str(tmp_path))
