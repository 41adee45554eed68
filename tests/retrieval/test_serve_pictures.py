"""The page shows pictures of the collection, drawn anew, and gives away nothing else."""

import io
import os
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import toy  # Of the tests of the input pipeline; see conftest.py.
from PIL import Image
from small_model import encoded, picture, png, write_pictures

from prolip.retrieval.collections.choose import open_collection
from prolip.retrieval.page import pictures as module
from prolip.retrieval.page.pictures import Pictures

SECRET = b"root:x:0:0:the administrator"


@pytest.fixture
def folder(tmp_path):
    return write_pictures(tmp_path / "pictures", 3)


def shows(jpeg, number):
    """Whether it is that picture, as well as JPEG keeps it."""
    got = np.asarray(Image.open(io.BytesIO(jpeg)), np.float32)
    wanted = np.asarray(Image.open(io.BytesIO(encoded(picture(number), "JPEG", quality=85))))
    return jpeg.startswith(b"\xff\xd8") and np.array_equal(got, wanted)


def test_a_picture_is_found_wherever_a_collection_may_have_it(folder, tmp_path):
    with tarfile.open(tmp_path / "shard.tar", "w") as tar:
        tar.add(folder / "01.png", "a/01.png")
    pq.write_table(pa.table({"image": [png(0), png(1)]}), tmp_path / "table.parquet")
    (tmp_path / "table.csv").write_text("image_path,note\npictures/00.png,x\npictures/01.png,y\n")
    places = {
        str(folder): f"{folder}/01.png",
        f"{tmp_path}/shard.tar": f"{tmp_path}/shard.tar::a/01.png",
        f"{tmp_path}/shard.tar ... {folder}/02.tar (2 tars)": f"{tmp_path}/shard.tar::a/01.png",
        f"{tmp_path}/table.parquet": f"{tmp_path}/table.parquet::1",
        f"{tmp_path}/table.csv": f"{tmp_path}/table.csv::1",
    }
    (folder / "02.tar").touch()
    for source, uri in places.items():
        assert shows(Pictures(source, 64).of(uri, None), 1), uri


def test_a_source_that_names_no_folder_shows_no_files(folder):
    for source in ("made by a program", "", "/gone/a.tar ... /gone/b.tar (2 tars)", "/"):
        assert Pictures(source, 64).of(f"{folder}/01.png", None) is None


def test_a_picture_of_a_tfds_data_set_is_found(tmp_path):
    toy.make_set(tmp_path, toy.rows(4))
    pictures = Pictures("tfds:toy:train", 64, data_dir=str(tmp_path))
    record = open_collection("tfds:toy:train", data_dir=str(tmp_path))[2]
    expected = Image.open(io.BytesIO(record.image))
    assert Image.open(io.BytesIO(pictures.of(record.uri, None))).size == expected.size
    for uri in ("tfds:toy:train:99", "tfds:other:train:1", "tfds:toy:train:-1", "tfds:toy:train"):
        assert pictures.of(uri, None) is None


def test_the_thumbnail_does_unless_it_is_damaged(folder):
    pictures = Pictures(str(folder), 64)
    thumbnail = encoded(picture(2), "JPEG", quality=85)
    for uri in (f"{folder}/01.png", "/nowhere.png", None):
        assert pictures.of(uri, thumbnail) is not None
    assert shows(pictures.of(f"{folder}/01.png", b"\xff\xd8damaged"), 1)
    assert pictures.of(None, b"\xff\xd8damaged") is None
    assert pictures.of(None, None) is None


@pytest.mark.parametrize("source", ["folder", "no path"])
def test_a_place_that_is_no_picture_shows_nothing(source, folder, tmp_path):
    """As a collection whose Parquet was tampered with might name."""
    os.mkfifo(tmp_path / "pipe")
    os.mkfifo(tmp_path / "pipe.tar")
    (tmp_path / "secret.png").write_bytes(SECRET)
    with tarfile.open(tmp_path / "evil.tar", "w") as tar:
        tar.add(folder / "01.png", "../01.png")
        link = tarfile.TarInfo("link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    pictures = Pictures(str(folder) if source == "folder" else source, 64)
    for uri in (
        "/etc/passwd",
        f"{folder}/../../../../../../../../etc/passwd",
        "/dev/zero",
        "/proc/self/environ",
        f"{tmp_path}/pipe",
        f"{tmp_path}/pipe.tar::x",
        f"{tmp_path}/secret.png",
        f"{tmp_path}/evil.tar::../01.png",
        f"{tmp_path}/evil.tar::link.png",
        f"{tmp_path}/missing.tar::x",
        f"{tmp_path}::0",
        str(folder),
        f"{folder}::0",
        "etc/passwd",
        "",
        "a\0b",
        "\udcff",
        "https://example.org/x.png",
        "file:///etc/passwd",
        f"file://{folder}/01.png",
        "tfds:toy:train:0",
    ):
        assert pictures.of(uri, None) is None, uri


def test_pictures_outside_the_folder_that_was_embedded_stay_hidden(folder, tmp_path):
    own = tmp_path / "own.png"
    own.write_bytes(png(5))
    (folder / "link.png").symlink_to(own)
    with tarfile.open(tmp_path / "own.tar", "w") as tar:
        tar.add(own, "own.png")
    pictures = Pictures(str(folder), 64)
    for uri in (str(own), f"{folder}/link.png", f"{folder}/../own.png", f"{own}.tar::own.png"):
        assert pictures.of(uri, None) is None, uri
    assert pictures.of(f"{tmp_path}/own.tar::own.png", None) is None
    assert shows(pictures.of(f"{folder}/00.png", None), 0)


def test_only_pixels_leave(folder):
    """Not the comment, the place, or what hangs behind the picture."""
    exif = Image.Exif()
    exif[0x010E] = SECRET.decode()
    path = folder / "photo.jpg"
    data = encoded(picture(4), "JPEG", exif=exif, comment=SECRET) + SECRET
    path.write_bytes(data)
    for jpeg in (Pictures(str(folder), 64).of(str(path), None), Pictures("", 64).of(None, data)):
        assert jpeg and SECRET not in jpeg
        image = Image.open(io.BytesIO(jpeg))
        assert not image.getexif() and "comment" not in image.info


def test_a_picture_is_as_small_as_the_page_shows_it(folder):
    path = folder / "wide.png"
    path.write_bytes(encoded(picture(6, width=300, height=150)))
    jpeg = Pictures(str(folder), 64).of(str(path), None)
    assert Image.open(io.BytesIO(jpeg)).size == (64, 32)


def test_a_picture_with_too_many_pixels_is_not_decoded(folder, monkeypatch):
    monkeypatch.setattr(module, "MAX_PIXELS", 100)
    assert Pictures(str(folder), 64).of(f"{folder}/01.png", None) is None


def test_a_table_that_is_gone_or_that_can_t_be_read_shows_nothing(tmp_path, caplog):
    path = tmp_path / "table.parquet"
    pq.write_table(pa.table({"first": [png(0)], "second": [png(1)]}), path)
    assert Pictures(str(path), 64).of(f"{path}::0", None) is None
    assert "name the column to embed with --column" in caplog.text
    assert shows(Pictures(str(path), 64, column="second").of(f"{path}::0", None), 1)
    assert Pictures(str(path), 64, column="second").of(f"{path}::1", None) is None
    path.unlink()
    assert Pictures(str(path), 64).of(f"{path}::0", None) is None
    assert "is not there any more" in caplog.text
