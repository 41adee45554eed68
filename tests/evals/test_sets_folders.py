"""Class folders with links: nothing is left out in silence."""

import os

import pytest
from PIL import Image

from prolip.data.records import BadRecord, DataError
from prolip.evals.sets.layouts import folders
from prolip.evals.sets.pixels import readable


@pytest.fixture
def root(tmp_path):
    """Two classes of two images."""
    for name in ("a_cat", "dog"):
        folder = tmp_path / "set" / name
        folder.mkdir(parents=True)
        for number in range(2):
            Image.new("RGB", (8, 8)).save(folder / f"{number}.png")
    return tmp_path / "set"


def test_a_linked_image_is_a_row_that_can_not_be_read(root, tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "x.png")
    os.symlink(tmp_path / "x.png", root / "a_cat" / "1_link.png")
    listing = folders.any_classes(root)
    assert listing.keys[:3] == ("a_cat/0.png", "a_cat/1.png", "a_cat/1_link.png")
    with pytest.raises(BadRecord, match="link leaves the folder"):
        listing.open(2)
    assert readable(listing).tolist() == [0, 1, 3, 4]  # What `partial=yes` measures.


def test_a_linked_class_is_named(root, tmp_path):
    (tmp_path / "bird").mkdir()
    os.symlink(tmp_path / "bird", root / "bird")
    with pytest.raises(DataError, match="set/bird: link leaves the folder"):
        folders.any_classes(root)
