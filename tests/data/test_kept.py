"""Filters and lists of keys: what is kept keeps its key, is chosen once, and is in the digest."""

import dataclasses
import io
import json
import os
import pickle
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from toy import png, rows
from webfiles import tar_config, write_folder, write_tar, write_tars

from prolip.config import ConfigError
from prolip.data.records import DataError
from prolip.data.sources import kept
from prolip.data.sources.choose import open_source, open_train
from prolip.data.sources.kept import values


@pytest.fixture(scope="module")
def tars(tmp_path_factory):
    """12 samples, and a folder for what is made of them."""
    folder = tmp_path_factory.mktemp("tars")
    write_tars(folder, 12)
    return tar_config(folder, index_dir=str(tmp_path_factory.mktemp("made")))


def keys(config):
    source = open_train(config)
    return [int(source.key(i).rpartition("/")[2]) for i in range(len(source))]


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("similarity >= 0.05", range(5, 12)),
        ("similarity >= 0.05 and not similarity > 0.08", range(5, 9)),
        ("width == 24 and height == 20 and 1.19 < aspect < 1.21", range(12)),
        ("min(width, height) >= 21", []),
        ("caption_length >= 17", range(10, 12)),
        ("caption_words == 3 and '000000004' in key", [4]),
    ],
)
def test_records_are_kept_by_fields_and_by_what_is_known_of_all(tars, condition, expected):
    config = dataclasses.replace(tars, filter=condition)
    if not list(expected):
        with pytest.raises(DataError, match="keep none of the 12 records"):
            keys(config)
        return
    assert keys(config) == list(expected)
    source, whole = open_train(config), open_train(tars)
    assert source[0] == whole[expected[0]]
    assert source.notes == (f"{len(expected)} of 12 records are kept",)


def test_the_choice_is_made_once_and_travels_to_reader_processes(tars, monkeypatch):
    config = dataclasses.replace(tars, filter="similarity < 0.03")
    assert keys(config) == [0, 1, 2]
    monkeypatch.setattr(kept, "choose", None)
    assert keys(config) == [0, 1, 2]
    copy = pickle.loads(pickle.dumps(open_train(config)))
    assert copy[1] == open_train(config)[1] and copy.digest() == open_train(config).digest()


def test_another_caption_feature_is_another_choice(tmp_path):
    members = {}
    for n, (text, about) in enumerate([("a b c", "x"), ("x", "a b c")]):
        members |= {f"{n}.jpg": png(n), f"{n}.txt": text.encode()}
        members[f"{n}.json"] = json.dumps({"about": about}).encode()
    write_tar(tmp_path / "set-0.tar", members)
    config = tar_config(
        tmp_path, filter="caption_words == 3", caption_weights=(1.0,), index_dir=str(tmp_path)
    )
    for number, feature in enumerate(("txt", "json/about")):
        source = open_train(dataclasses.replace(config, caption_features=(feature,)))
        assert [source[i].captions for i in range(len(source))] == [(("a b c",),)]
        assert source.key(0) == f"set-0/{number}"


def test_files_made_anew_are_chosen_from_anew(tmp_path):
    """Scores have changed, names and sizes have not."""
    config = tar_config(
        tmp_path, filter="score > 0.5", caption_features=("txt",), caption_weights=(1.0,),
        index_dir=str(tmp_path / "made"),
    )  # fmt: skip
    for good in (0, 1):
        scores = [0.9 if n == good else 0.1 for n in range(2)]
        members = {}
        for n, score in enumerate(scores):
            members |= {f"{n}.jpg": png(n), f"{n}.txt": b"a"}
            members[f"{n}.json"] = json.dumps({"score": score}).encode()
        write_tar(tmp_path / "set-0.tar", members)
        source = open_train(config)
        assert [source.key(i) for i in range(len(source))] == [f"set-0/{good}"]


@pytest.mark.parametrize("form", ["tars", "folder", "table", "tfds"])
def test_the_state_tells_what_the_digest_does_not(form, tmp_path, toy):
    if form == "tars":
        write_tars(tmp_path, 4)
        config, file = tar_config(tmp_path), tmp_path / "set-00000.tar"
    elif form == "folder":
        config, file = write_folder(tmp_path / "set", 4), tmp_path / "set/round/000.txt"
    elif form == "table":
        file = tmp_path / "t.parquet"
        pq.write_table(pa.table({"image": [b"x"], "txt": ["a"]}), file)
        config = dataclasses.replace(
            tar_config(tmp_path), name="table", train_split="t.parquet", caption_features=("txt",)
        )
    else:
        config = dataclasses.replace(toy, data_dir=shutil.copytree(toy.data_dir, tmp_path / "toy"))
        file = next(tmp_path.rglob("*.array_record*"))
    first = open_train(config)
    before = first.state()
    assert pickle.loads(pickle.dumps(first)).state() == before
    os.utime(file, ns=(1, 1))
    second = open_train(config)
    assert second.digest() == first.digest() and second.state() != before


def test_the_digest_tells_filters_apart(tars):
    conditions = ("", "similarity < 0.5", "similarity < 0.6", "similarity < 0.05")
    digests = [open_train(dataclasses.replace(tars, filter=c)).digest() for c in conditions]
    assert len(set(digests)) == 4


def test_a_record_that_the_filter_can_not_judge_is_left_out_and_counted(tmp_path):
    write_tar(
        tmp_path / "set-0.tar",
        {
            "0.jpg": png(0), "0.txt": b"a", "0.json": b'{"similarity": 0.5}',
            "1.jpg": png(1), "1.txt": b"b", "1.json": b'{"similarity": null}',
            "2.jpg": png(2), "2.txt": b"c",
            "3.jpg": png(3), "3.txt": b"d", "3.json": b'{"similarity": "high"}',
            "4.jpg": png(4), "4.txt": b"e", "4.json": b"{",
        },
    )  # fmt: skip
    config = tar_config(tmp_path, filter="similarity > 0.1", caption_features=("txt",))
    source = open_train(dataclasses.replace(config, caption_weights=(1.0,)))
    assert [source.key(i) for i in range(len(source))] == ["set-0/0"]
    note = "1 of 5 records are kept, 3 of the others lack a value, 1 can't be read for the filter"
    assert source.notes == (note,)


def test_a_list_of_keys_reads_no_record(tmp_path):
    write_tar(tmp_path / "set-0.tar", {"0.jpg": b"x", "0.json": b"{", "1.jpg": png(1)})
    (tmp_path / "skip.txt").write_text("set-0/1")
    config = tar_config(tmp_path, skip_keys=str(tmp_path / "skip.txt"), caption_features=("json",))
    source = open_train(dataclasses.replace(config, caption_weights=(1.0,)))
    assert [source.key(i) for i in range(len(source))] == ["set-0/0"]  # Counted as bad later.


@pytest.mark.parametrize("form", ["txt", "parquet", "named.parquet"])
def test_keys_are_those_of_a_file(tars, tmp_path, form):
    wanted = ["set-00000/000000003", "000000007", "set-00002/000000003", "nothing"]
    path = tmp_path / f"keys.{form}"
    if form == "txt":
        path.write_text("\n".join([*wanted, "", ""]))
    else:
        columns = {"key": wanted} | ({"more": wanted} if form == "named.parquet" else {})
        pq.write_table(pa.table(columns), path)
    config = dataclasses.replace(tars, keep_keys=str(path))
    assert keys(config) == [3, 7]
    assert keys(dataclasses.replace(config, filter="similarity > 0.05")) == [7]


def test_keys_of_a_list_are_left_out(tars, tmp_path):
    path = tmp_path / "keys.txt"
    # What is after the last slash alone is no key here: "3" could be many records.
    path.write_text("set-00000/000000003\n000000007\nset-00002/000000010\n")
    config = dataclasses.replace(tars, skip_keys=str(path))
    expected = [n for n in range(12) if n not in (3, 10)]
    assert keys(config) == expected
    assert open_train(config).notes == ("10 of 12 records are kept",)
    assert keys(dataclasses.replace(config, filter="similarity > 0.025")) == expected[3:]
    keep = tmp_path / "keep.txt"
    keep.write_text("000000003\n000000004\n")
    assert keys(dataclasses.replace(config, keep_keys=str(keep))) == [4]
    assert open_train(config).digest() != open_train(tars).digest()


@pytest.mark.parametrize("name", ["number", "record"])  # Of an import, and of a run's quarantine.
def test_lists_of_bad_records_are_lists_of_keys(tars, tmp_path, name):
    path = tmp_path / "bad.jsonl"
    lines = [
        {name: None, "key": "set-00000/000000001", "reason": "tar is cut short"},
        {name: 2, "key": "set-00000/000000002", "reason": "damaged image"},
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert keys(dataclasses.replace(tars, skip_keys=str(path))) == [0, 1, *range(3, 12)]
    path.write_text('{"number": 1}\n')
    with pytest.raises(DataError, match=r"can't be read: a line has no field 'key'"):
        keys(dataclasses.replace(tars, skip_keys=str(path)))


def test_a_changed_list_of_keys_is_read_anew(tars, tmp_path):
    path = tmp_path / "keys.txt"
    config = dataclasses.replace(tars, keep_keys=str(path))
    for number in (4, 5):
        path.write_text(f"{number:09}")
        assert keys(config) == [number]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"filter": "similarty > 1"}, "did you mean 'similarity'"),
        ({"filter": "widht > 1"}, "did you mean 'width'"),
        ({"filter": "import os"}, r"data\.filter can't be read"),
        ({"keep_keys": "/nowhere"}, r"data\.keep_keys: /nowhere is missing"),
        ({"skip_keys": "/nowhere"}, r"data\.skip_keys: /nowhere is missing"),
    ],
)
def test_what_is_wrong_is_named(tars, change, sentence):
    with pytest.raises(ConfigError, match=sentence):
        open_train(dataclasses.replace(tars, **change))


def test_sizes_come_from_the_header_of_the_image_where_no_field_has_them(tmp_path):
    write_tar(tmp_path / "set-0.tar", {"0.jpg": png(0, 30, 10), "0.txt": b"two words"})
    config = tar_config(tmp_path, caption_features=("txt",), caption_weights=(1.0,))
    found = values(open_train(config), 0, kept.DERIVED)
    assert found["aspect"] == 3 and (found["width"], found["height"]) == (30, 10)
    assert (found["caption_length"], found["caption_words"]) == (9, 2)


def test_columns_of_tables_and_features_of_tfds_are_fields(tmp_path, toy):
    lines = ["image,caption,score"]
    for number, row in enumerate(rows(4)):
        (tmp_path / f"{number}.png").write_bytes(row["picture"])
        lines.append(f"{number}.png,{row['title']},{number}")
    (tmp_path / "t.csv").write_text("\n".join(lines))
    config = tar_config(
        tmp_path, name="table", train_split="t.csv", caption_features=("caption",),
        caption_weights=(1.0,), filter="score >= 2", index_dir=str(tmp_path / "made"),
    )  # fmt: skip
    source = open_train(config)
    assert [source.key(i) for i in range(len(source))] == ["t.csv::2", "t.csv::3"]
    config = dataclasses.replace(toy, filter="kind == 'round'", index_dir=str(tmp_path / "made"))
    assert len(open_train(config)) == 12


def test_an_image_bomb_is_not_decoded_for_its_size(tmp_path):
    buffer = io.BytesIO()
    Image.new("1", (9000, 9000)).save(buffer, "PNG")
    write_tar(tmp_path / "set-0.tar", {"0.png": buffer.getvalue(), "0.txt": b"a"})
    config = tar_config(tmp_path, caption_features=("txt",), filter="width < 100")
    with pytest.raises(DataError, match="keep none"):
        open_train(dataclasses.replace(config, caption_weights=(1.0,)))


def test_evaluation_splits_stay_whole(tars):
    config = dataclasses.replace(tars, filter="similarity >= 0.05")
    assert len(open_train(config)) == 7 and len(open_source(config, config.eval_split)) == 12


UIDS = [f"{number << 64 | number + 7:032x}" for number in range(1, 5)]


def pairs(uids):
    return np.array([(int(u[:16], 16), int(u[16:], 16)) for u in uids], "u8,u8")


@pytest.fixture(scope="module")
def with_uids(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uids")
    members = {}
    for number, uid in enumerate(UIDS):
        about = json.dumps({"uid": uid}).encode()
        members |= {f"{number}.jpg": b"x", f"{number}.txt": b"t", f"{number}.json": about}
    members["3.json"] = b"{"
    write_tar(folder / "set-0.tar", members)
    return tar_config(folder, caption_features=("txt",), caption_weights=(1.0,))


@pytest.mark.parametrize("option", ["keep_keys", "skip_keys"])
@pytest.mark.parametrize("form", ["pairs", "rows", "texts", "bytes", "lines", "marked", "parquet"])
def test_lists_of_uids_choose_by_the_field_of_the_json(with_uids, tmp_path, form, option):
    wanted = UIDS[:2]
    path = tmp_path / {"lines": "k.txt", "marked": "k.txt", "parquet": "k.parquet"}.get(
        form, "k.npy"
    )
    if form == "parquet":
        pq.write_table(pa.table({"uid": wanted, "url": ["a", "b"]}), path)
    elif path.suffix == ".txt":
        path.write_text("\n".join(wanted), encoding="utf-8-sig" if form == "marked" else "utf-16")
    else:
        array = pairs(wanted)
        arrays = {
            "rows": array.view("u8").reshape(-1, 2), "texts": np.array(wanted),
            "bytes": np.array(wanted).astype("S32"),
        }  # fmt: skip
        np.save(path, arrays.get(form, array))
    config = dataclasses.replace(with_uids, index_dir=str(tmp_path / "made"), **{option: str(path)})
    # The last one can't be read: it may be one of those that are to be left out.
    assert keys(config) == ([0, 1] if option == "keep_keys" else [2])


def test_arrays_that_are_no_keys_are_named(with_uids, tmp_path):
    path = tmp_path / "k.npy"
    config = dataclasses.replace(with_uids, keep_keys=str(path), index_dir=str(tmp_path / "made"))
    for array, reason in (
        (np.zeros(3), "float64 and shape"),
        (np.zeros(3, "f8,u8"), "not uids of two"),
        (np.array([{}], object), "allow_pickle"),
    ):
        np.save(path, array)
        with pytest.raises(DataError, match=rf"k\.npy can't be read: .*{reason}"):
            open_train(config)
    path.write_bytes(b"\x93NUMPY\1\0")
    with pytest.raises(DataError, match="can't be read"):
        open_train(config)


def test_uids_of_records_without_them_are_explained(tars, tmp_path):
    np.save(tmp_path / "k.npy", pairs(UIDS))
    config = dataclasses.replace(tars, keep_keys=str(tmp_path / "k.npy"))
    with pytest.raises(DataError, match="lists uids, and no record looked at has a field 'uid'"):
        open_train(config)


@pytest.mark.parametrize(
    ("option", "expected"), [("keep_keys", [0, 1, 2]), ("skip_keys", [])], ids=["keep", "skip"]
)
def test_uids_count_beside_a_header_and_other_keys(with_uids, tmp_path, option, expected):
    path = tmp_path / "k.csv"
    path.write_text("\n".join(["uid", *UIDS[:2], "set-0/2"]))
    config = dataclasses.replace(with_uids, index_dir=str(tmp_path / "made"), **{option: str(path)})
    if not expected:  # The one that can't be read could be one of them.
        with pytest.raises(DataError, match="keep none of the 4 records"):
            keys(config)
        return
    assert keys(config) == expected


@pytest.mark.parametrize(
    ("lines", "note"),
    [
        (["0/0", "x"], "12 of 12 records are kept; none of the 2 keys in k.txt names a record"),
        (["set-00000/000000003", "x"], "11 of 12 records are kept"),
        ([], "12 of 12 records are kept"),
    ],
    ids=["none", "one", "empty"],
)
def test_a_list_that_leaves_nothing_out_is_told_of(tars, tmp_path, lines, note):
    (tmp_path / "k.txt").write_text("\n".join(lines))
    config = dataclasses.replace(tars, skip_keys=str(tmp_path / "k.txt"), index_dir=str(tmp_path))
    for _ in range(2):  # The second time it is read from the cache.
        assert open_train(config).notes == (note,)
