"""Samples of tars as records; what is odd about one is its own matter."""

import dataclasses
import json
import os
import pickle

import pytest
from toy import png, rows
from webfiles import sample, tar_config, write_tar, write_tars

from prolip.data.files.reading import keep_open
from prolip.data.records import BadRecord, DataError
from prolip.data.sources import webdataset
from prolip.data.sources.choose import open_source, open_train, unindexed
from prolip.retrieval.collections.choose import open_collection

ROW = rows(1)[0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """12 samples in three tars."""
    folder = tmp_path_factory.mktemp("tars")
    write_tars(folder, 12)
    return folder


def one(tmp_path, members, **options):
    """The source of a tar with these members."""
    write_tar(tmp_path / "set-0.tar", members)
    options = {"caption_features": ("txt",), "caption_weights": (1.0,)} | options
    return open_train(tar_config(tmp_path, **options))


def test_members_of_a_sample_are_a_record(folder):
    source = open_source(tar_config(folder), "set-*.tar", ["cls"])
    assert len(source) == 12
    for number, row in enumerate(rows(12)):
        record = source[number]
        assert record.image == png(number)
        assert record.captions == ((row["title"],), tuple(row["texts"]))
        assert record.labels == (row["kind"],)
        assert record.key == source.key(number) == f"set-{number // 5:05}/{number:09}"


@pytest.mark.parametrize("split", ["set-{00000..00002}.tar", "", "*.tar", "set-0000[0-2].tar"])
def test_a_split_is_a_pattern_or_a_folder(folder, split):
    assert len(open_source(tar_config(folder), split)) == 12


def test_copy_in_another_process_reads_the_same(folder):
    source = open_source(tar_config(folder), "*.tar")
    copy = pickle.loads(pickle.dumps(source))
    assert copy[7] == source[7] and copy.digest() == source.digest()


def test_the_digest_is_of_the_content_not_of_the_place(folder, tmp_path):
    base = open_train(tar_config(folder)).digest()
    write_tars(tmp_path / "same", 12)
    assert open_train(tar_config(tmp_path / "same")).digest() == base
    write_tars(tmp_path / "fewer", 11)
    write_tars(tmp_path / "others", 12, first=1)
    write_tars(tmp_path / "cut", 12, each=6)
    for other in ("fewer", "others", "cut"):
        assert open_train(tar_config(tmp_path / other)).digest() != base


def test_the_first_extension_that_is_there_is_the_image(tmp_path):
    members = {"0.png": b"p", "0.jpg": b"j", "0.txt": b"t", "0.seg.png": b"s"}
    assert one(tmp_path, members)[0].image == b"j"
    assert one(tmp_path, members, image_feature="webp;png")[0].image == b"p"
    assert one(tmp_path, members, image_feature=".seg.png")[0].image == b"s"


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"0.txt": b"no image"}, "sample has no image"),
        ({"0.jpg": b"x", "0.txt": b"caf\xe9"}, "text is not UTF-8"),
        ({"0.jpg": b"x", "0.json": b"{"}, "JSON of the sample is damaged"),
        ({"0.jpg": b"x", "0.json": b"[1]"}, "JSON of the sample is no object"),
        ({"0.jpg": b"x", "0.json": b'{"caption": 3}'}, "caption is no text"),
    ],
)
def test_what_is_odd_about_a_sample_is_a_bad_record(tmp_path, members, reason):
    good = {f"9{name[1:]}": content for name, content in sample(9, ROW).items()}
    source = one(
        tmp_path, {**members, **good}, caption_features=("txt", "json/caption"),
        caption_weights=(0.5, 0.5),
    )  # fmt: skip
    with pytest.raises(BadRecord, match=reason):
        source[0]
    assert source[1].captions == ((ROW["title"],), (ROW["title"],))


def test_a_sample_without_text_has_no_caption(tmp_path):
    members = {"0.jpg": b"x", "1.jpg": b"x", "1.txt": b"t", "1.json": b'{"caption": null}'}
    members |= {"2.jpg": b"x", "2.json": b'{"caption": [null, "a", null]}'}
    features = {"caption_features": ("txt", "json/caption"), "caption_weights": (1.0, 1.0)}
    source = one(tmp_path, members, **features)
    assert source[0].captions == ((), ()) and source[1].captions == (("t",), ())
    assert source[2].captions == ((), ("a",))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"train_split": "sett-*.tar"}, "matches no file"),
        ({"train_split": "set-00000"}, "did you mean 'set-00000.tar"),
        ({"train_split": "set-{00000..00003}.tar"}, "set-00003.tar is missing"),
        ({"data_dir": "/nowhere"}, "/nowhere/set-*.tar matches no file"),
        ({"data_dir": "/nowhere", "train_split": "a.tar"}, "data.data_dir: /nowhere is no folder"),
        ({"data_dir": "gs://bucket"}, "mount the bucket"),
        ({"image_feature": "webp"}, "set data.image_feature"),
        ({"caption_features": ("text", "txt")}, "did you mean 'txt'?; set data.caption_features"),
        ({"caption_features": ("txt", "json/captions")}, "did you mean 'json/caption'?"),
        ({"caption_features": ("txt", "txt/caption")}, "has a member 'txt/caption'"),
        ({"caption_features": ()}, "names no feature"),
    ],
)
def test_what_is_missing_is_named_with_what_to_do(folder, change, sentence):
    with pytest.raises(DataError) as error:
        open_train(dataclasses.replace(tar_config(folder), **change))
    assert sentence in str(error.value)


def test_a_cut_tar_is_used_up_to_the_cut_and_listed(tmp_path):
    paths = write_tars(tmp_path, 10)
    paths[0].write_bytes(paths[0].read_bytes()[:9000])
    source = open_train(tar_config(tmp_path))
    keys = [source.key(i) for i in range(len(source))]
    assert "set-00000/000000000" in keys and "set-00001/000000009" in keys
    assert 5 < len(keys) < 10
    assert {bad.reason for bad in source.damage} == {"tar is cut short"}
    assert all(bad.key.startswith("set-00000.tar") for bad in source.damage)


def test_a_damaged_index_is_made_anew(tmp_path):
    write_tars(tmp_path, 4)
    config = tar_config(tmp_path)
    expected = open_train(config)[2]
    place = next(tmp_path.glob("*.index"))
    content = bytearray(place.read_bytes())
    content[-3] ^= 1
    place.write_bytes(content)
    assert open_train(config)[2] == expected and open_train(config)[2] == expected


def test_names_that_leave_a_tar_are_listed_not_followed(tmp_path):
    source = one(tmp_path, {"0.jpg": b"x", "0.txt": b"t", "../1.jpg": b"y", "/etc/passwd.txt": b""})
    assert len(source) == 1
    assert [bad.reason for bad in source.damage] == ["name leaves the tar"] * 2


def test_fields_are_those_of_the_json(folder):
    source = open_train(tar_config(folder))
    assert set(source.fields) == {"caption", "texts", "width", "similarity"}
    assert source.about(3, ["similarity", "width"]) == {"similarity": 0.03, "width": 24}
    assert json.loads(json.dumps(source.describe()))["records"] == 12


def test_few_open_files_are_enough(folder, monkeypatch):
    monkeypatch.setattr(webdataset, "keep_open", lambda wanted: 2)
    source = open_train(tar_config(folder))
    for number in (0, 11, 5, 1, 10, 6):
        assert source[number].image == png(number)
    assert keep_open(100) == 100


def test_an_index_that_is_gone_is_made_anew(tmp_path):
    write_tars(tmp_path, 4)
    source = open_train(tar_config(tmp_path))
    for place in tmp_path.glob("*.index"):
        place.unlink()
    assert source[2].image == png(2)


@pytest.mark.parametrize("samples", [2, 5, 6])
def test_a_tar_that_was_made_anew_under_way_ends_the_run(tmp_path, samples):
    write_tars(tmp_path, 10)
    config = tar_config(tmp_path, caption_features=("txt",), caption_weights=(1.0,))
    source = open_train(config)
    digest = source.digest()
    members = {}
    for number, row in enumerate(rows(20)[-samples:], 90):
        members |= sample(number, row)
    write_tar(tmp_path / "set-00001.tar", members)
    open_train(config)  # Another start makes the index of what is there now.
    with pytest.raises(DataError, match=r"set-00001\.tar has changed since the run began"):
        source[5]
    assert source[0].key == "set-00000/000000000" and source.digest() == digest


def test_an_index_that_was_written_again_is_read(tmp_path):
    """The tar has another time, which takes other room in the index, and the same content."""
    paths = write_tars(tmp_path, 4)
    config = tar_config(tmp_path, caption_features=("txt",), caption_weights=(1.0,))
    source = open_train(config)
    os.utime(paths[0], ns=(1, 1))
    copy = open_train(config)
    assert source[2] == copy[2] and source.digest() == copy.digest()


def test_packed_tars_are_refused_and_indices_are_no_tars(folder, tmp_path):
    assert len(open_source(tar_config(folder), "set-0000*")) == 12
    (tmp_path / "set-0.tar.gz").write_bytes(b"x")
    with pytest.raises(DataError, match=r"unpack them to \.tar"):
        open_source(tar_config(tmp_path), "set-*")


def test_tars_without_an_index_are_counted(tmp_path):
    write_tars(tmp_path, 12)
    config = tar_config(tmp_path)
    mixed = dataclasses.replace(config, mixture=("webdataset:set-*.tar=1",))
    assert (unindexed(config), unindexed(mixed)) == (3, 3)
    open_train(config)
    assert (unindexed(config), unindexed(mixed)) == (0, 0)
    assert unindexed(dataclasses.replace(config, name="emoji")) == 0


def with_json(numbers, late, field="caption"):
    """Samples of which only some have a field."""
    members = {}
    for number in numbers:
        about = {"url": "u"} | ({field: "text"} if number in late else {})
        members |= {f"{number:03}.jpg": b"x", f"{number:03}.json": json.dumps(about).encode()}
    return members


def test_a_field_that_only_late_samples_have_is_known(tmp_path, monkeypatch):
    write_tar(tmp_path / "set-0.tar", with_json(range(30), ()))
    write_tar(tmp_path / "set-1.tar", with_json(range(30, 70), (69,)))
    options = {"caption_features": ("json/caption",), "caption_weights": (1.0,)}
    source = open_train(tar_config(tmp_path, **options, filter="caption == 'text'"))
    assert [source.key(i) for i in range(len(source))] == ["set-1/069"]
    with pytest.raises(DataError, match=r"none of the 70 samples .* did you mean 'json/caption'"):
        open_train(tar_config(tmp_path, caption_features=("json/captions", "txt")))
    # Of many samples, some of each tar.
    monkeypatch.setattr(webdataset, "MOST_LOOKED", 40)
    assert "caption" in open_train(tar_config(tmp_path, **options)).fields


def test_forks_beside_tars_are_left_out_of_a_folder(tmp_path):
    write_tars(tmp_path / "set", 10)
    (tmp_path / "set/set-00001.tar").rename(tmp_path / "set/set-00001.TAR")
    for name in ("set/._set-00000.tar", "set/__MACOSX/x.tar"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"\0\5\x16\7" + bytes(600))
    source = open_source(tar_config(tmp_path), "set")
    assert len(source) == 10 and not source.damage
    assert [note[:32] for note in source.notes] == ["2 files of other programs are le"]
    collection = open_collection(str(tmp_path / "set"), kind="image")
    assert len(collection) == 10 and source.notes[0] in collection.notes
