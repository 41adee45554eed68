"""Imports hold every good record once, in order, however often they were killed."""

import dataclasses
import io
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image
from toy import png, rows
from webfiles import COMMON, tar_config, write_folder, write_tar, write_tars

from prolip.config import ConfigError, DataConfig
from prolip.data.image import decode, rgb
from prolip.data.importing import plan as plans
from prolip.data.importing.examples import feature_names
from prolip.data.importing.plan import ImportOptions
from prolip.data.importing.run import import_data
from prolip.data.pipeline import TrainPipeline
from prolip.data.records import Batch, DataError
from prolip.data.sources.choose import open_source, open_train


def read_config(out, **options):
    """Reads what was imported from `tar_config`."""
    defaults = {
        **COMMON,
        "name": "mine",
        "data_dir": str(out),
        "caption_features": ("caption", "json_texts"),
        "caption_weights": (0.5, 0.5),
    }
    return DataConfig(**{**defaults, **options})


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    """Several shards of a small set."""
    monkeypatch.setattr(
        plans, "_shards", lambda source, config, options: min(len(source), options.shard_mib)
    )


def test_batches_of_an_import_are_those_of_the_tars(tmp_path, tokenizer):
    write_tars(tmp_path / "tars", 23)
    tars = tar_config(tmp_path / "tars")
    found = import_data(tars, tmp_path / "out", ImportOptions("mine", shard_mib=4))
    assert (found.records, found.shards, found.bad.total()) == (23, 4, 0)
    imported = read_config(tmp_path / "out")
    assert found.features == list(imported.caption_features)
    ours, theirs = open_train(imported), open_train(tars)
    for number in range(23):
        assert ours[number][:3] == theirs[number][:3]
    taken = [batches(config, tokenizer) for config in (tars, imported)]
    for a, b in zip(*taken, strict=True):
        for name, x, y in zip(Batch._fields, a, b, strict=True):
            np.testing.assert_array_equal(x, y, err_msg=name)


def test_tfds_reads_it_without_us_and_finds_the_keys(tmp_path):
    write_tars(tmp_path / "tars", 7)
    found = import_data(
        tar_config(tmp_path / "tars"), tmp_path / "out", ImportOptions("mine", shard_mib=3)
    )
    source = tfds.builder_from_directory(found.folder).as_data_source(
        split="train", decoders={"image": tfds.decode.SkipDecoding()}
    )
    assert [row["key"].decode() for row in source] == [f"set-{n // 5:05}/{n:09}" for n in range(7)]
    assert source[3]["image"] == png(3)


def test_splits_are_added_one_by_one(tmp_path):
    write_tars(tmp_path / "tars", 6)
    for split, count in (("train", 6), ("test", 3)):
        config = tar_config(
            tmp_path / "tars", filter=f"similarity < {count / 100 - 0.005}",
            index_dir=str(tmp_path / "made"),
        )  # fmt: skip
        import_data(config, tmp_path / "out", ImportOptions("mine", split, shard_mib=2))
    for split, count in (("train", 6), ("test", 3), ("train[:2]", 2)):
        assert len(open_source(read_config(tmp_path / "out"), split)) == count
    config = dataclasses.replace(config, caption_features=("txt",), filter="")
    with pytest.raises(ConfigError, match="take another --name"):
        import_data(config, tmp_path / "out", ImportOptions("mine", "other"))


BAD = {
    "1.jpg": b"", "1.txt": b"a", "2.jpg": png(2)[:300], "2.txt": b"b", "3.jpg": png(3),
    "4.jpg": b"<html>", "4.txt": b"c", "5.txt": b"d", "6.jpg": png(6), "6.txt": b"fine",
    "7.jpg": png(7), "7.txt": b"\xff",
}  # fmt: skip


def test_bad_records_are_left_out_and_listed(tmp_path):
    write_tar(tmp_path / "set-0.tar", BAD)
    config = tar_config(tmp_path, caption_features=("txt",), caption_weights=(1.0,))
    found = import_data(config, tmp_path / "out", ImportOptions("mine", shard_mib=7))
    assert found.records == 1 and found.bad.total() == 6
    listed = [json.loads(line) for line in found.list_of_bad.read_text().splitlines()]
    assert {line["key"]: line["reason"] for line in listed} == {
        "set-0/1": "empty image",
        "set-0/2": "damaged image",
        "set-0/3": "no caption",
        "set-0/4": "not a JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF image",
        "set-0/5": "sample has no image",
        "set-0/7": "text is not UTF-8",
    }
    # Files without a record are read, and are no record.
    source = open_train(
        read_config(tmp_path / "out", caption_features=("caption",), caption_weights=(1.0,))
    )
    assert len(source) == 1 and source[0].captions == (("fine",),)


def test_without_the_records_that_were_left_out_batches_are_those_of_the_tars(tmp_path, tokenizer):
    write_tars(tmp_path / "tars", 23)
    write_tar(tmp_path / "tars" / "set-00002x.tar", BAD)
    tars = tar_config(tmp_path / "tars", caption_features=("txt",), caption_weights=(1.0,))
    found = import_data(tars, tmp_path / "out", ImportOptions("mine", shard_mib=4))
    assert (found.records, found.bad.total()) == (24, 6)
    imported = read_config(tmp_path / "out", caption_features=("caption",), caption_weights=(1.0,))
    skipping = dataclasses.replace(
        tars, skip_keys=str(found.list_of_bad), index_dir=str(tmp_path / "made")
    )
    taken = [batches(config, tokenizer) for config in (tars, skipping, imported)]
    assert all(same(a, b) for a, b in zip(*taken[1:], strict=True))
    # Replaced, they come at other places.
    assert not all(same(a, b) for a, b in zip(*taken[:2], strict=True))


def batches(config, tokenizer):
    iterator = TrainPipeline(config, 8, tokenizer, 4, seed=1).batches()
    taken = list(itertools.islice(iterator, 12))
    iterator.close()
    return taken


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def test_a_set_without_a_good_record_is_no_data_set(tmp_path):
    write_tar(tmp_path / "set-0.tar", {"1.jpg": b"", "1.txt": b"a"})
    config = tar_config(tmp_path, caption_features=("txt",), caption_weights=(1.0,))
    with pytest.raises(DataError, match=r"none of the 1 records can be used \(empty image\)"):
        import_data(config, tmp_path / "out", ImportOptions("mine"))


def test_larger_images_are_scaled_upright_and_smaller_ones_left_alone(tmp_path):
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (300, 100), "red").save(buffer, "JPEG", exif=exif)
    members = {"0.jpg": buffer.getvalue(), "0.txt": b"a", "1.jpg": png(1), "1.txt": b"b"}
    write_tar(tmp_path / "set-0.tar", members)
    config = tar_config(tmp_path, caption_features=("txt",), caption_weights=(1.0,))
    import_data(config, tmp_path / "out", ImportOptions("mine", max_side=90))
    source = open_train(
        read_config(tmp_path / "out", caption_features=("caption",), caption_weights=(1.0,))
    )
    scaled = Image.open(io.BytesIO(source[0].image))
    assert scaled.format == "JPEG" and scaled.size == (30, 90)
    assert source[1].image == png(1)


def test_processes_write_the_same_files(tmp_path):
    write_tars(tmp_path / "tars", 9)
    config = tar_config(tmp_path / "tars")
    folders = [
        import_data(config, tmp_path / str(n), ImportOptions("mine", shard_mib=3, workers=n)).folder
        for n in (1, 2)
    ]
    contents = [
        {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()} for folder in folders
    ]
    assert contents[0] == contents[1]


def test_a_finished_import_is_left_as_it_is_and_a_hole_is_filled(tmp_path):
    write_tars(tmp_path / "tars", 12)
    config, options = tar_config(tmp_path / "tars"), ImportOptions("mine", shard_mib=4)
    told = []
    found = import_data(config, tmp_path / "out", options, begin=lambda *n: told.append(n))
    shards = sorted(found.folder.glob("*array_record*"))
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in shards}
    shards[1].unlink()
    shards[2].write_bytes(b"cut")
    import_data(config, tmp_path / "out", options, begin=lambda *n: told.append(n))
    assert told == [(12, 0), (12, 6)]
    for path in shards:
        assert path.read_bytes() == before[path][0]
    assert shards[0].stat().st_mtime_ns == before[shards[0]][1]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"name": "My Set"}, "--name"),
        ({"split": "a/b"}, "--split"),
        ({"shard_mib": 0}, "--shard-mib is from 1"),
        ({"quality": 101}, "--quality is from 1 to 100"),
        ({"max_side": -1}, "--max-side"),
        ({"workers": 0}, "--workers"),
    ],
)
def test_options_out_of_bounds_are_named(tmp_path, change, sentence):
    write_tars(tmp_path / "tars", 2)
    options = dataclasses.replace(ImportOptions("mine"), **change)
    with pytest.raises(ConfigError, match=sentence):
        import_data(tar_config(tmp_path / "tars"), tmp_path / "out", options)


def test_another_source_or_size_does_not_go_on_in_a_folder_that_was_begun(tmp_path):
    write_tars(tmp_path / "a", 4)
    write_tars(tmp_path / "b", 5)
    import_data(tar_config(tmp_path / "a"), tmp_path / "out", ImportOptions("mine"))
    with pytest.raises(ConfigError, match=r"import\.source\.records: 4 there, 5 here"):
        import_data(tar_config(tmp_path / "b"), tmp_path / "out", ImportOptions("mine"))
    with pytest.raises(ConfigError, match=r"import\.max_side"):
        import_data(tar_config(tmp_path / "a"), tmp_path / "out", ImportOptions("mine", max_side=9))


def test_folders_become_data_sets_with_their_classes(tmp_path):
    folder = write_folder(tmp_path / "set", 4)
    import_data(folder, tmp_path / "out", ImportOptions("mine"))
    config = read_config(tmp_path / "out", caption_features=("caption", "folder"))
    source = open_source(config, "train", ["folder"])
    assert {source[i].labels for i in range(4)} == {("round",), ("square",)}
    assert {source[i].captions[0][0] for i in range(4)} == {row["title"] for row in rows(4)}


def test_names_of_features_never_meet():
    assert feature_names(("txt", "caption", "json/a b", "json_a_b", "image")) == [
        "caption", "caption_2", "json_a_b", "json_a_b_2", "image_2",
    ]  # fmt: skip


def test_what_killed_imports_left_is_removed(tmp_path):
    write_tars(tmp_path / "tars", 4)
    marks = tmp_path / "out" / "mine" / "1.0.0" / "import"
    marks.mkdir(parents=True)
    left = marks / "mine-train.array_record-00000-of-00001.0123abcd.partial"
    other = marks / "mine-test.array_record-00000-of-00001.0123abcd.partial"
    for path in (left, other):
        path.write_bytes(b"half")
    import_data(tar_config(tmp_path / "tars"), tmp_path / "out", ImportOptions("mine"))
    assert not left.exists() and other.exists()


SCRIPT = """
import sys, time
from pathlib import Path
from webfiles import tar_config
from prolip.data.importing import plan, run, writer
plan._shards = lambda *_: 100
checked = writer.checked
def slow(*args):
    time.sleep(0.005)
    return checked(*args)
writer.checked = slow
run.import_data(tar_config(Path(sys.argv[1])), Path(sys.argv[2]), plan.ImportOptions("mine"))
"""


@pytest.mark.slow
@pytest.mark.parametrize("kills", [int(os.environ.get("PROLIP_KILLS", "3"))])
def test_kills_lose_and_repeat_nothing(tmp_path, kills):
    """PROLIP_KILLS=20 for more."""
    write_tars(tmp_path / "tars", 400, each=40)
    chance = random.Random(0)
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "tars"), str(tmp_path / "out")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    marks = tmp_path / "out" / "mine" / "1.0.0" / "import"
    for _ in range(kills):
        process = subprocess.Popen(command, env=environment)
        begun = len(list(marks.glob("*-of-*"))) if marks.exists() else 0
        while process.poll() is None and len(list(marks.glob("*-of-*"))) <= begun:
            time.sleep(0.01)  # Imports take seconds, records milliseconds.
        time.sleep(chance.uniform(0, 0.06))
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, "it ended before it was killed"
    subprocess.run(command, env=environment, check=True)
    source = open_train(read_config(tmp_path / "out"))
    assert [source[i].captions[0][0] for i in range(len(source))] == [
        row["title"] for row in rows(400)
    ]
    assert not list(marks.glob("*.partial"))


def test_images_that_other_readers_decode_otherwise_are_counted_or_converted(tmp_path):
    image = Image.open(io.BytesIO(png(1)))
    clear = image.convert("RGBA")
    clear.putalpha(0)
    exif = Image.Exif()
    exif[0x0112] = 6

    def encoded(image, kind="PNG", **options):
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        return buffer.getvalue()

    pictures = {
        "a": png(1),
        "b": encoded(image.convert("L"), "JPEG"),
        "c": encoded(clear),
        "d": encoded(image.quantize(16)),
        "e": encoded(image, "TIFF"),
        "f": encoded(image, "JPEG", exif=exif),
        "g": encoded(Image.fromarray(np.full((8, 8), 30_000, np.uint16))),
    }
    members = {f"{key}.jpg": content for key, content in pictures.items()}
    write_tar(tmp_path / "set-0.tar", members | {f"{key}.txt": b"x" for key in pictures})
    config = tar_config(tmp_path, caption_features=("txt",), caption_weights=(1.0,))
    expected = ["TIFF file", "mode I;16", "mode P", "mode RGBA", "rotated by EXIF"]
    for convert in (False, True):
        out = tmp_path / str(convert)
        options = ImportOptions("mine", shard_mib=2, convert=convert)
        found = import_data(config, out, options)
        found = import_data(config, out, options)  # Also what was written before is counted.
        assert sorted(found.unusual) == ([] if convert else expected)
        source = tfds.builder_from_directory(found.folder).as_data_source(split="train")
        same = []
        for row, content in zip(source, pictures.values(), strict=True):
            ours = np.asarray(rgb(decode(content, 10**6)))
            same.append(np.array_equal(row["image"], ours))
        assert all(same) == convert and sum(same) >= 2
