"""Which class folder gets which name, and what is said where names or folders are odd."""

import pytest
from PIL import Image

from prolip.data.records import DataError
from prolip.evals.sets import class_names
from prolip.evals.sets.address import parse
from prolip.evals.sets.opened import open_set


def class_set(root, *files):
    for name in files:
        path = root / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix in (".png", ".tif"):
            Image.new("RGB", (8, 8)).save(path)
        else:
            path.write_bytes(b"?")
    return root / "set"


def opened(root, names=None):
    option = ""
    if names is not None:
        (root / "names.txt").write_text(names, encoding="utf8")
        option = f" names={root / 'names.txt'}"
    return open_set(parse(f"folder={root / 'set'} as=mine{option}"))


def test_folders_called_by_numbers_are_named_by_number_and_the_pairs_are_shown(tmp_path):
    class_set(tmp_path, *(f"{i}/a.png" for i in range(12)))
    found = opened(tmp_path, "".join(f"name {i}\n" for i in range(12)))
    pairs = dict(zip(found.listing.classes, found.listing.names, strict=True))
    assert pairs == {str(i): f"name {i}" for i in range(12)}
    assert list(found.listing.classes) == list(map(str, range(12)))
    assert "0 is 'name 0', 1 is 'name 1', 2 is 'name 2', ..." in found.sentence
    by_class = "".join(f"{i}\tname {i}\n" for i in reversed(range(12)))
    again = opened(tmp_path, by_class)
    assert again.listing.names == found.listing.names and "is 'name" not in again.sentence


@pytest.mark.parametrize(
    ("folders", "names", "said"),
    [
        (("Banana", "apple", "cherry"), "x\ny\nz\n", "number 1 is 'Banana' .* and 'apple'"),
        (("c1", "c2", "c10"), "x\ny\nz\n", "number 2 is 'c10' by code points and 'c2'"),
        (("eclair", "\xe9clair", "zebra"), "x\ny\nz\n", "number 2 is 'zebra'"),
    ],
)
def test_names_without_classes_are_refused_where_the_order_is_not_plain(
    tmp_path, folders, names, said
):
    class_set(tmp_path, *(f"{name}/a.png" for name in folders))
    with pytest.raises(DataError, match=f"{said}.*Write lines of the class, a tab and its name"):
        opened(tmp_path, names)
    lines = "".join(f"{name}\t{name[0]}\n" for name in folders)
    assert len(opened(tmp_path, lines).listing.names) == 3


def test_names_in_a_plain_order_are_taken(tmp_path):
    class_set(tmp_path, *(f"{name}/a.png" for name in ("00", "01", "10", "apple_pie", "baby")))
    names = opened(tmp_path, "\ufeffone\ntwo\nthree\nfour\nfive\n").listing.names
    assert names == ("one", "two", "three", "four", "five")


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("a\tx\nb\ty\na\tz\n", "names the class 'a' twice: 'x', 'z'"),
        ("a\tx\nb y\n", "the line 'b y' is not a class, a tab and its name"),
        ("a\tx\n", "no name for the class 'b'"),
        ("x\n", "1 names for 2 classes"),
    ],
)
def test_files_of_names_that_say_something_odd_are_refused(tmp_path, lines, said):
    class_set(tmp_path, "a/1.png", "b/1.png")
    with pytest.raises(DataError, match=said):
        opened(tmp_path, lines)


def test_two_classes_of_one_name_are_said(tmp_path):
    class_set(tmp_path, "bird/1.png", "machine/1.png", "ship/1.png")
    said = opened(tmp_path, "bird\tcrane\nmachine\tCrane\nship\tship\n").sentence
    assert "'bird' ('crane') and 'machine' ('Crane'); give them different names" in said
    assert "same name" not in opened(tmp_path).sentence


def test_class_folders_that_vanish_and_hidden_ones_are_said(tmp_path):
    class_set(tmp_path, "cat/a.png", "dog/a.heic", "eel/a.tif", ".git/x.png", "loose.png")
    (tmp_path / "set" / "fox").mkdir()
    found = opened(tmp_path)
    assert found.listing.classes == ("cat", "eel")
    assert "2 folders have no image of a format that is read" in found.sentence
    assert "dog (1 x .heic), fox (empty)" in found.sentence
    assert "hidden file or folder is left out: .git" in found.sentence
    assert "beside the class folders and has no class: loose.png" in found.sentence


def test_classes_of_numbers_are_in_their_order_and_others_in_that_of_code_points():
    assert class_names.in_order({"10", "9", "007"}) == ["007", "9", "10"]
    assert class_names.in_order({"10", "9", "b"}) == ["10", "9", "b"]
