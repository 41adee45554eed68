"""Folders of images as a training source: captions beside images, and what is left out is said."""

import pytest
from toy import png

from prolip.config import DataConfig
from prolip.data.labels import label_of, named_alike
from prolip.data.records import BadRecord
from prolip.data.sources.address import default_captions
from prolip.data.sources.folder import Folder


def folder(root, *names):
    """Files; a text says its own name."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode() if path.suffix.lower() in (".txt", ".caption") else png(1))
    return root


def captions(source):
    return {source.key(i): source[i].captions[0] for i in range(len(source))}


def test_captions_are_found_whatever_the_case_of_extension_and_stem(tmp_path):
    names = ("a.jpg", "a.TXT", "b.PNG", "b.Txt", "c.jpg", "c.caption", "d/IMG_1.JPG", "d/img_1.txt")
    source = Folder(str(folder(tmp_path, *names)), ("txt",))
    assert captions(source) == {
        "a.jpg": ("a.TXT",),
        "b.PNG": ("b.Txt",),
        "c.jpg": ("c.caption",),
        "d/IMG_1.JPG": ("d/img_1.txt",),
    }
    assert source.notes == ["images: 3 x .jpg, 1 x .png"]
    assert default_captions(DataConfig(name="folder", train_split=str(tmp_path))) == ("txt",)


def test_of_several_texts_one_counts_and_the_others_are_said(tmp_path):
    names = ("a.jpg", "a.TXT", "a.caption", "a.txt", "A.jpg", "lonely.txt", "b.jpg")
    source = Folder(str(folder(tmp_path, *names)), ("txt",))
    assert captions(source) == {"A.jpg": (), "a.jpg": ("a.txt",), "b.jpg": ()}
    (note,) = source.notes
    assert note.startswith("3 files are left out") and note.endswith("2 x .txt, 1 x .caption")


def test_a_mark_at_the_begin_of_a_text_is_no_part_of_it(tmp_path):
    folder(tmp_path, "a.jpg")
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfa cat")
    assert Folder(str(tmp_path), ("txt",))[0].captions == (("a cat",),)


def test_what_a_folder_of_classes_leaves_out_is_named(tmp_path):
    names = ("cat/a.jpg", "cat/._a.jpg", "dog/b.heic", "dog/c.heic", "loose.png", "cat/x.json")
    hidden = (".ipynb_checkpoints/z.jpg", "__MACOSX/cat/a.jpg", "@eaDir/q.jpg", ".git/g.png")
    folder(tmp_path, *names, *hidden, "T-shirt/1.bmp", "t_shirt/2.bmp")
    source = Folder(str(tmp_path), ("folder",), ("folder",))
    keys = [source.key(i) for i in range(len(source))]
    assert keys == ["T-shirt/1.bmp", "cat/a.jpg", "loose.png", "t_shirt/2.bmp"]
    said = "\n".join(source.notes)
    assert "images: 2 x .bmp, 1 x .jpg, 1 x .png" in said
    assert "3 files are left out, " in said and "2 x .heic, 1 x .json" in said
    assert "5 hidden files or folders are left out: ._a.jpg, .git, .ipynb_checkpoints" in said
    assert "1 folder has no image of a format that is read, and no class: dog (2 x" in said
    assert "1 image lies beside the class folders and has no class: loose.png" in said
    assert "same name, which prompts can't tell apart: 'T-shirt' and 't_shirt'" in said


def test_a_folder_of_clean_files_says_nothing(tmp_path):
    folder(tmp_path, "cat/a.jpg", "cat/a.txt", "dog/b.jpg", "dog/b.txt")
    assert not Folder(str(tmp_path), ("txt",), ("folder",)).notes


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (b"cat\n", "cat"),
        ("\ufeff cat \r\n", "cat"),
        (b"\xef\xbb\xbfcat\0", "cat"),
        (3, "3"),
        (3.0, "3"),
        (0.5, "0.5"),
        (True, "true"),
        (["a", "b"], "a"),
        ([], ""),
        (None, ""),
        (float("nan"), ""),
        ("  ", ""),
        ("a  b", "a  b"),
    ],
)
def test_labels_are_texts_or_numbers_without_what_is_around_them(value, name):
    assert label_of(value) == name


@pytest.mark.parametrize("value", [{"a": 1}, b"\xff", [["a"]]])
def test_other_labels_are_refused_as_labels(value):
    with pytest.raises(BadRecord, match="label is"):
        label_of(value)


def test_names_that_cleaning_makes_equal_are_alike():
    assert not named_alike(["a", "b"], ["cat", "dog"])
    said = named_alike(["1", "2", "3", "4"], ["T-shirt", "cat", "t shirt", "Cat"])
    assert "'1' ('T-shirt') and '3' ('t shirt'), '2' ('cat') and '4' ('Cat');" in said
    assert "'+' and '+'" in named_alike(["+", "+", "-"], ["+", "+", "-"])
