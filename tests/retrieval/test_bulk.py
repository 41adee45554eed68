"""A collection embedded in bulk: what one call at a time gives, whatever it comes from."""

import csv
import io
import json
import tarfile
from pathlib import Path

import jax
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import toy
from collected import Only, refuses, rows, run
from PIL import Image
from small_model import encoded, picture, png, small_model, write_pictures

import prolip
from prolip.config import ConfigError
from prolip.data.records import DataError
from prolip.gaussian import Gaussian
from prolip.retrieval.bulk import BulkOptions
from prolip.retrieval.collections.choose import open_collection

COUNT = 21  # Three parts of 8, the last one ragged.
TEXTS = [f"text about {n} things" for n in range(COUNT)]


@pytest.fixture(scope="module")
def model():
    return small_model()


@pytest.fixture
def pictures(tmp_path):
    return write_pictures(tmp_path / "pictures", COUNT)


def tar(path):
    with tarfile.open(path, "w") as file:
        for n in range(COUNT):
            for end, content in (("png", png(n)), ("txt", TEXTS[n].encode())):
                info = tarfile.TarInfo(f"{n:02}.{end}")
                info.size = len(content)
                file.addfile(info, io.BytesIO(content))


def sources(folder):
    """Name to (data, options, kind): the same pictures or texts in every form."""
    write_pictures(folder / "pictures", COUNT)
    (folder / "t.txt").write_text("".join(f"{text}\n" for text in TEXTS))
    with (folder / "t.csv").open("w", newline="") as file:
        paths = [f"pictures/{n:02}.png" for n in range(COUNT)]
        csv.writer(file).writerows([("path", "caption"), *zip(paths, TEXTS, strict=True)])
    columns = {"image": [png(n) for n in range(COUNT)], "caption": TEXTS}
    pq.write_table(pa.table(columns), folder / "t.parquet", row_group_size=5)
    (folder / "t.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in TEXTS))
    tar(folder / "t.tar")
    found = {name: (str(folder / name), {}, "text") for name in ("t.txt", "t.jsonl")}
    found["pictures"] = (str(folder / "pictures"), {}, "image")
    found["t.tar"] = (str(folder / "t.tar"), {}, "image")
    found["texts of t.tar"] = (str(folder / "t.tar"), {"kind": "text"}, "text")
    for name, image in (("t.csv", "path"), ("t.parquet", "image")):
        found[name] = (str(folder / name), {"column": image}, "image")
        found[f"texts of {name}"] = (str(folder / name), {"column": "caption"}, "text")
    return found


@pytest.fixture(scope="module")
def forms(tmp_path_factory):
    return sources(tmp_path_factory.mktemp("forms"))


NAMES = ["pictures", "t.txt", "t.csv", "t.jsonl", "t.parquet", "t.tar"]
NAMES += [f"texts of {name}" for name in ("t.csv", "t.parquet", "t.tar")]


@pytest.mark.parametrize("name", NAMES)
def test_every_source_gives_what_the_model_gives(name, forms, model, tmp_path):
    data, options, kind = forms[name]
    collection = open_collection(data, **options)
    summary = run(model, collection, tmp_path / "out")
    found, manifest = rows(tmp_path / "out")
    if kind == "image":
        expected = model.encode_image([picture(n) for n in range(COUNT)])
    else:
        expected = model.encode_text(TEXTS)
        assert list(found.texts) == TEXTS
    np.testing.assert_allclose(found.gaussian.mean, expected.mean, atol=1e-6)
    np.testing.assert_allclose(found.gaussian.log_var, expected.log_var, atol=1e-6)
    assert list(found.ids) == [collection.id(n) for n in range(COUNT)]
    assert found.uris[3] == collection[3].uri
    assert summary.rows == manifest.count == COUNT and manifest.kind == kind
    assert vars(manifest.model) == model.identity
    assert len(manifest.parts) == 3
    assert (tmp_path / "out/failed.jsonl").read_text() == ""


def test_records_of_tfds_and_their_texts(model, tmp_path):
    toy.make_set(tmp_path / "data", toy.rows(9))
    options = {"data_dir": str(tmp_path / "data")}
    run(model, open_collection("tfds:toy", **options), tmp_path / "images")
    texts = open_collection("tfds:toy", kind="text", column="title", **options)
    run(model, texts, tmp_path / "texts")
    images, titles = rows(tmp_path / "images")[0], rows(tmp_path / "texts")[0]
    assert images.ids == titles.ids == tuple(str(n) for n in range(9))
    assert images.uris[8] == "tfds:toy:train:8"
    numbers = [int(title.removeprefix("picture number ")) for title in titles.texts]
    expected = model.encode_image([Image.open(io.BytesIO(toy.png(n))) for n in numbers])
    np.testing.assert_allclose(images.gaussian.mean, expected.mean, atol=1e-6)
    expected = model.encode_text(list(titles.texts))
    np.testing.assert_allclose(titles.gaussian.mean, expected.mean, atol=1e-6)


def test_thumbnails_are_small_and_upright(model, tmp_path):
    (tmp_path / "p").mkdir()
    wide = Image.new("RGB", (200, 100), "red")
    exif = Image.Exif()
    exif[0x0112] = 6  # To be turned by a quarter.
    (tmp_path / "p/a.jpg").write_bytes(encoded(wide, "JPEG", exif=exif))
    (tmp_path / "p/b.png").write_bytes(encoded(picture(1, 9, 5)))
    run(model, tmp_path / "p", tmp_path / "out", BulkOptions(thumbnail=32))
    turned, small = (Image.open(io.BytesIO(t)) for t in rows(tmp_path / "out")[0].thumbnails)
    assert (turned.format, turned.size) == ("JPEG", (16, 32))
    assert small.size == (9, 5)
    assert np.abs(np.asarray(turned).astype(int) - [254, 0, 0]).max() < 4


def test_one_and_eight_devices_give_the_same(pictures, tmp_path, model):
    options = BulkOptions(batch_size=8, part_size=16)
    run(model, pictures, tmp_path / "one", options)
    run(small_model(devices=jax.device_count()), pictures, tmp_path / "eight", options)
    one, eight = rows(tmp_path / "one"), rows(tmp_path / "eight")
    assert jax.device_count() == 8 and one[1].model == eight[1].model
    for a, b in zip(one[0].gaussian, eight[0].gaussian, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_batches_of_a_kind_compile_once(tmp_path):
    model = small_model(seed=1)
    counts = []
    for name, lines in (("a", 21), ("b", 19)):
        (tmp_path / name).with_suffix(".txt").write_text("".join(f"x {n}\n" for n in range(lines)))
        run(model, tmp_path / f"{name}.txt", tmp_path / name)
        counts.append(model._text._cache_size())
    assert counts[0] == counts[1]


def test_items_for_which_the_model_gives_no_number_fail_by_name(pictures, tmp_path, model):
    bad = model.encode_image([picture(5)]).mean

    def diverged(images):
        mean, log_var = map(np.copy, model.image(images))
        mean[np.abs(mean - bad).max(-1) < 1e-5] = np.nan
        return Gaussian(mean, log_var)

    run(Only(model, diverged), pictures, tmp_path / "out")
    found, manifest = rows(tmp_path / "out")
    assert "05.png" not in found.ids and manifest.failed == 1
    (failure,) = map(json.loads, (tmp_path / "out/failed.jsonl").read_text().splitlines())
    assert failure == {"item": 5, "id": "05.png", "reason": "the model gives no number"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"batch_size": 0}, "batch_size is at least 1"),
        ({"part_size": 0}, "part_size is at least 1"),
        ({"threads": -1}, "threads is at least 0"),
        ({"width": "float8"}, "width is one of float32, float16"),
        ({"variance": "std"}, "variance is one of"),
        ({"max_bad_fraction": 2.0}, "from 0 to 1"),
        ({"process_index": 2, "process_count": 2}, "process 2 of 2"),
    ],
)
def test_options_out_of_bounds_are_refused(options, words, pictures, tmp_path, model):
    with pytest.raises(ConfigError, match=words):
        run(model, pictures, tmp_path / "out", BulkOptions(**options))
    assert not (tmp_path / "out").exists()


def test_urls_are_refused_with_what_to_do(pictures, model):
    with pytest.raises(ConfigError, match="Mount the bucket"):
        run(model, pictures, "s3://bucket/out")


def test_thumbnails_of_texts_are_refused(tmp_path, model):
    (tmp_path / "t.txt").write_text("a\n")
    with pytest.raises(ConfigError, match="thumbnails"):
        run(model, tmp_path / "t.txt", tmp_path / "out", BulkOptions(thumbnail=8))


def test_too_many_failures_stop_the_run_until_more_are_allowed(pictures, tmp_path, model):
    for n in (1, 2, 9):
        (pictures / f"{n:02}.png").write_bytes(b"broken")
    with pytest.raises(DataError, match=r"2 of 8 items .*2 x not a JPEG.*max_bad_fraction"):
        run(model, pictures, tmp_path / "out")
    assert [p.name for p in (tmp_path / "out").glob("part-*")] == ["part-00000.parquet"]
    assert len((tmp_path / "out/failed.jsonl").read_text().splitlines()) == 2
    with pytest.raises(DataError, match="2 of 8 items"):  # At once: nothing is embedded.
        run(Only(model, refuses), pictures, tmp_path / "out")
    summary = run(model, pictures, tmp_path / "out", BulkOptions(4, 8, max_bad_fraction=0.1))
    assert summary.failures == {"not a JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF image": 3}
    assert rows(tmp_path / "out")[1].failed == 3


def test_a_deterministic_model_embeds_what_can_be_searched(tmp_path):
    model = prolip.load(Path(__file__).parents[1] / "fixtures" / "tiny_det")
    run(model, write_pictures(tmp_path / "pictures", 5), tmp_path / "out")
    index = prolip.Index.build(tmp_path / "out")
    for answer in index.search([picture(n) for n in range(5)], 1, model=model):
        assert answer.uncertainty == 0 and answer.hits[0].uncertainty == 0
