"""Tables and folders as records."""

import dataclasses
import json
import os
import pickle
import time
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from toy import png, rows
from webfiles import COMMON, tar_config, write_folder

from prolip.config import ConfigError, DataConfig
from prolip.data.files.delimited import DelimitedFrame
from prolip.data.records import BadRecord, DataError
from prolip.data.sources.choose import open_source, open_train


def config(folder, split, **options):
    defaults = {
        **COMMON,
        "name": "table",
        "data_dir": str(folder),
        "train_split": split,
        "image_feature": "picture",
        "caption_features": ("title",),
        "caption_weights": (1.0,),
    }
    return DataConfig(**{**defaults, **options})


def write(folder, form, start=0, count=4):
    """A table whose pictures are files beside it, or bytes inside."""
    made = rows(start + count)[start:]
    path = folder / f"t-{start}.{form.split('.')[-1]}"
    names = [f"p/{n}.png" for n in range(start, start + count)]
    (folder / "p").mkdir(exist_ok=True)
    for name, row in zip(names, made, strict=True):
        (folder / name).write_bytes(row["picture"])
    titles, kinds = [row["title"] for row in made], [row["kind"] for row in made]
    if form in ("csv", "tsv"):
        mark = "," if form == "csv" else "\t"
        lines = [mark.join(line) for line in zip(names, titles, kinds, strict=True)]
        path.write_text("\n".join([mark.join(("picture", "title", "kind")), *lines]))
    elif form == "jsonl":
        lines = [
            {"picture": n, "title": t, "kind": k}
            for n, t, k in zip(names, titles, kinds, strict=True)
        ]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    else:
        pictures = {
            "paths.parquet": names,
            "bytes.parquet": [row["picture"] for row in made],
            "struct.parquet": [{"bytes": row["picture"], "path": None} for row in made],
        }[form]
        table = pa.table({"picture": pictures, "title": titles, "kind": kinds})
        pq.write_table(table, path, row_group_size=2)
    return path


FORMS = ["csv", "tsv", "jsonl", "paths.parquet", "bytes.parquet", "struct.parquet"]


@pytest.mark.parametrize("form", FORMS)
def test_rows_of_any_format_are_records(tmp_path, form):
    first = write(tmp_path, form)
    write(tmp_path, form, 4, 3)
    source = open_source(config(tmp_path, f"t-*{first.suffix}"), f"t-*{first.suffix}", ["kind"])
    assert len(source) == 7
    for number, row in enumerate(rows(7)):
        record = source[number]
        assert record.image == row["picture"] and record.captions == ((row["title"],),)
        assert record.labels == (row["kind"],)
        assert (
            record.key == source.key(number) == f"t-{4 * (number // 4)}{first.suffix}::{number % 4}"
        )
    copy = pickle.loads(pickle.dumps(source))
    assert copy[6] == source[6] and copy.digest() == source.digest()


def test_lists_of_texts_are_several_captions(tmp_path):
    lists = [["a", "b"], None, [None, "c"], [None]]
    table = pa.table({"picture": [b"x"] * 4, "title": lists})
    pq.write_table(table, tmp_path / "t.parquet")
    source = open_train(config(tmp_path, "t.parquet", name="parquet"))
    assert [source[i].captions for i in range(4)] == [(("a", "b"),), ((),), (("c",),), ((),)]


@pytest.mark.parametrize(
    ("picture", "reason"),
    [
        ("", "row has no image"),
        ("missing.png", "file is missing"),
        ("../secret.png", "path leaves the folder"),
        ("/etc/passwd", "path leaves the folder"),
        ("link.png", "path leaves the folder"),
        ("https://example.org/a.png", "a web address"),
        ("p", "not a regular file"),
        ("a\0b", "not a path"),
    ],
)
def test_paths_that_lead_elsewhere_are_bad_records(tmp_path, picture, reason):
    folder = tmp_path / "set"
    (folder / "p").mkdir(parents=True)
    (tmp_path / "secret.png").write_bytes(b"secret")
    os.symlink("../secret.png", folder / "link.png")
    (folder / "t.jsonl").write_text(json.dumps({"picture": picture, "title": "a"}))
    with pytest.raises(BadRecord, match=reason):
        open_train(config(folder, "t.jsonl"))[0]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"image_feature": "pictures"}, "did you mean 'picture'"),
        ({"caption_features": ("titel",)}, "did you mean 'title'"),
        ({"train_split": "t-1.csv"}, "did you mean 't-0.csv'"),
        ({"train_split": "p"}, "has no .csv or .tsv or .jsonl or .parquet file"),
        ({"train_split": "p/0.png"}, "is no table"),
    ],
)
def test_what_is_missing_is_named_with_what_to_do(tmp_path, change, sentence):
    write(tmp_path, "csv")
    with pytest.raises(DataError) as error:
        open_train(dataclasses.replace(config(tmp_path, "t-0.csv"), **change))
    assert sentence in str(error.value)


def test_a_column_that_can_hold_no_image_is_refused(tmp_path):
    pq.write_table(pa.table({"picture": [1.5], "title": ["a"]}), tmp_path / "t.parquet")
    with pytest.raises((ConfigError, BadRecord), match="neither"):
        open_train(config(tmp_path, "t.parquet"))[0]


def test_folders_give_class_names_and_texts_beside_images(tmp_path):
    folder = write_folder(tmp_path / "set", 5)
    source = open_source(folder, folder.train_split, ["folder"])
    found = {source.key(i): source[i] for i in range(len(source))}
    for number, row in enumerate(rows(5)):
        record = found[f"{row['kind']}/{number:03}.png"]
        assert record.image == png(number)
        assert record.captions == ((row["title"],), (row["kind"],))
        assert record.labels == (row["kind"],)
    copy = pickle.loads(pickle.dumps(source))
    assert copy[3] == source[3] and copy.digest() == source.digest()


def test_a_folder_changes_its_digest_with_its_files(tmp_path):
    folder = write_folder(tmp_path / "set", 4)
    base = open_train(folder).digest()
    (tmp_path / "set" / "round" / "000.txt").write_text("another text")
    assert open_train(folder).digest() != base


def test_texts_beside_images_may_be_missing_or_odd(tmp_path):
    root = tmp_path / "set"
    (root / "a_class").mkdir(parents=True)
    (tmp_path / "secret.txt").write_text("secret")
    for number in range(4):
        (root / "a_class" / f"{number}.png").write_bytes(b"x")
    (root / "a_class" / "1.txt").write_bytes(b"caf\xe9")
    os.symlink("../../secret.txt", root / "a_class" / "2.txt")
    (root / "a_class" / "3.txt").write_text("fine", encoding="utf-16")
    source = open_train(DataConfig(
        name="folder", data_dir=str(tmp_path), train_split="set",
        caption_features=("txt", "folder"), caption_weights=(1.0, 1.0),
    ))  # fmt: skip
    assert source[0].captions == ((), ("a class",)) and source[3].captions[0] == ("fine",)
    for number, reason in ((1, "text is not UTF-8"), (2, "link leaves the folder")):
        with pytest.raises(BadRecord, match=reason):
            source[number]


def test_unknown_features_of_a_folder_are_named(tmp_path):
    folder = write_folder(tmp_path / "set", 2)
    with pytest.raises(DataError, match="did you mean 'folder'"):
        open_train(dataclasses.replace(folder, caption_features=("folders", "txt")))


@pytest.mark.parametrize("form", ["bytes.parquet", "struct.parquet", "paths.parquet"])
def test_large_row_groups_of_images_are_told_of(tmp_path, form, monkeypatch):
    monkeypatch.setattr("prolip.data.sources.table.SLOW_GROUP", 2000)
    write(tmp_path, form)
    notes = open_train(config(tmp_path, "t-0.parquet")).notes
    assert ("prolip data import" in "".join(notes)) == (form != "paths.parquet")


def test_tables_of_one_name_in_several_folders_have_keys_of_their_own(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "t.csv").write_text("image,caption\nx.png,text\n")
    config = tar_config(
        tmp_path, name="table", train_split="*/t.csv", caption_features=("caption",),
        caption_weights=(1.0,),
    )  # fmt: skip
    source = open_train(config)
    assert [source.key(i) for i in range(2)] == ["a/t.csv::0", "b/t.csv::0"]


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_texts_that_look_like_numbers_are_numbers_in_csv_alone(tmp_path, form):
    rows = [{"picture": "a.png", "title": "a", "code": code} for code in ("04", "nan", "x")]
    path = tmp_path / f"t.{form}"
    if form == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif form == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        path.write_text("picture,title,code\n" + "".join(f"a.png,a,{r['code']}\n" for r in rows))
    source = open_train(config(tmp_path, path.name))
    found = [source.about(row, ["code"])["code"] for row in range(3)]
    assert found == [4.0 if form == "csv" else "04", "nan", "x"]


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_a_column_that_one_of_several_files_lacks_is_named(tmp_path, form):
    for number, row in enumerate([{"score": 1}, {}]):
        row = {"picture": "a.png", "title": "a", **row}
        path = tmp_path / f"t-{number}.{form}"
        if form == "parquet":
            pq.write_table(pa.Table.from_pylist([row]), path)
        elif form == "jsonl":
            path.write_text(json.dumps(row))
        else:
            path.write_text(f"{','.join(row)}\n{','.join(map(str, row.values()))}\n")
    source = open_train(config(tmp_path, f"t-*.{form}"))
    assert source.about(0, ["score"]) == {"score": 1} and "score" in source.fields
    if form == "jsonl":  # A line may lack a key.
        assert source.about(1, ["score"]) == {}
    else:
        with pytest.raises(DataError, match=rf"t-1\.{form} has no column 'score'"):
            source.about(1, ["score"])


def test_threads_parse_a_table_once(tmp_path, monkeypatch):
    write(tmp_path, "csv", count=30)
    source = open_train(config(tmp_path, "t-0.csv"))
    read, count = DelimitedFrame.read, []

    def slow(self, names):
        count.append(names)
        time.sleep(0.05)
        return read(self, names)

    monkeypatch.setattr(DelimitedFrame, "read", slow)
    with ThreadPoolExecutor(8) as pool:
        records = list(pool.map(lambda i: source[i].captions, range(30)))
    assert records == [((row["title"],),) for row in rows(30)] and count == [["title"]]


def test_long_texts_are_read_while_another_table_ends(tmp_path):
    """The limit of the csv module is one for all threads."""
    (tmp_path / "a.csv").write_text("a\n1\n2\n")
    (tmp_path / "b.csv").write_text(f"b\n{'x' * 200_000}\n")
    rows_of_b = DelimitedFrame(tmp_path / "b.csv", ",")._rows()
    assert next(rows_of_b) == ["b"]
    DelimitedFrame(tmp_path / "a.csv", ",").read(["a"])
    assert len(next(rows_of_b)[0]) == 200_000


@pytest.mark.parametrize("files", [1, 2])
def test_a_key_that_only_late_lines_of_jsonl_have_is_a_column(tmp_path, files):
    for number in range(files):
        late = number == files - 1
        rows = [
            {"picture": "caption"} | ({"größe": i} if late and i > 100 else {}) for i in range(110)
        ]
        rows[-1]["title"] = "a"
        text = "".join(json.dumps(row, ensure_ascii=i % 2 > 0) + "\n" for i, row in enumerate(rows))
        (tmp_path / f"t-{number}.jsonl").write_text(
            text if late or files == 1 else '{"picture": ""}\n'
        )
    source = open_train(config(tmp_path, "t-*.jsonl", filter="größe >= 108"))
    assert [source.about(i, ["größe"]) for i in range(len(source))] == [
        {"größe": 108},
        {"größe": 109},
    ]
    with pytest.raises(DataError, match="no column 'caption'"):  # A value, no key.
        open_train(config(tmp_path, "t-*.jsonl", caption_features=("caption",)))


def test_a_column_that_is_there_twice_is_named(tmp_path):
    (tmp_path / "t.csv").write_text("picture,title,title\na.png,a,b\n")
    with pytest.raises(DataError, match="several columns 'title'; rename all but one"):
        open_train(config(tmp_path, "t.csv"))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            '[{"picture": "a.png", "title": "a"},\n {"picture": "b.png", "title": "b"}]',
            "one object",
        ),
        ("", "has no JSON object"),
        ('{"picture": "a.png", "title": [{"en": "a"}]}\n' * 2, "lists of objects"),
        ('{"picture": "a.png", "title": [["a"]]}\n{"title": 3}\n', "hold lists of objects or of"),
    ],
    ids=["list", "empty", "objects", "nested"],
)
def test_jsonl_of_another_form_is_refused_before_it_is_read(tmp_path, text, sentence):
    (tmp_path / "t.jsonl").write_text(text)
    with pytest.raises((ConfigError, DataError), match=sentence):
        open_train(config(tmp_path, "t.jsonl"))
