"""Tables of any format: the same rows, ids that are unique, rows that fail by name."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from prolip.config import ConfigError
from prolip.data.files import lines, parquet
from prolip.data.records import BadRecord, DataError
from prolip.retrieval.collections.choose import open_collection

TEXTS = ["a cat", 'two "quoted", with comma', "ünï¢ode 🐈", "two\nlines", "  blanks  ", "NA"]


def read(collection):
    """Id to text or image bytes, or to the reason in brackets."""
    found = {}
    for number in range(len(collection)):
        try:
            item = collection[number]
            assert item.id == collection.id(number)
            found[item.id] = item.text if item.image is None else item.image
        except BadRecord as bad:
            found[collection.id(number)] = [str(bad)]
    assert len(found) == len(collection)
    return found


def write(path, columns):
    """A table of strings in the format of its name."""
    names, rows = list(columns), list(zip(*columns.values(), strict=True))
    if path.suffix == ".parquet":
        pq.write_table(pa.table(columns), path, row_group_size=2)
    elif path.suffix == ".jsonl":
        text = "".join(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in rows)
        path.write_text(text, encoding="utf8")
    else:
        mark = "," if path.suffix == ".csv" else "\t"
        quoted = [[f'"{cell}"' for cell in (c.replace('"', '""') for c in row)] for row in rows]
        text = "\n".join([mark.join(names), *(mark.join(row) for row in quoted)])
        path.write_text(text, encoding="utf8")
    return str(path)


@pytest.fixture(params=["csv", "tsv", "jsonl", "parquet"])
def table(request, tmp_path):
    def make(columns):
        return write(tmp_path / f"table.{request.param}", columns)

    return make


def test_all_formats_give_the_same_texts(table):
    path = table({"number": [str(n) for n in range(6)], "caption": TEXTS})
    collection = open_collection(path)
    assert collection.kind == "text"
    assert read(collection) == {str(n): text for n, text in enumerate(TEXTS)}
    assert collection[3].uri == f"{path}::3"
    said = " ".join(collection.notes)
    assert "'caption'" in said and "--kind" in said


def test_ids_are_those_of_a_column(table):
    path = table({"key": ["c", "a", "b"], "words": ["x", "y", "z"]})
    found = read(open_collection(path, id_column="key"))
    assert found == {"c": "x", "a": "y", "b": "z"}


def test_the_first_id_that_is_there_twice_is_named(table):
    path = table({"key": ["c", "a", "b", "a", "c"], "words": list("vwxyz")})
    with pytest.raises(DataError, match="'a' stands for items 1 and 3"):
        open_collection(path, id_column="key")


def test_a_missing_id_is_named(table):
    path = table({"key": ["c", "", "b"], "words": list("xyz")})
    with pytest.raises(DataError, match="row 1 has no id"):
        open_collection(path, id_column="key")


def test_columns_that_are_not_there_or_not_clear(table):
    path = table({"a": ["1"], "b": ["2"]})
    with pytest.raises(ConfigError, match="--column; it has a, b"):
        open_collection(path)
    with pytest.raises(ConfigError, match=r"no columns 'c' \(--column\); it has a, b"):
        open_collection(path, column="c")
    with pytest.raises(ConfigError, match=r"no columns 'c' \(--id-column\)"):
        open_collection(path, column="a", id_column="c")
    assert read(open_collection(path, column="b")) == {"0": "2"}


def test_paths_of_images_are_relative_to_the_table_and_stay_there(table, tmp_path):
    outside = tmp_path.parent / f"{tmp_path.name}.png"
    outside.write_bytes(b"outside")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/a.png").write_bytes(b"inside")
    (tmp_path / "link.png").symlink_to(outside)
    names = [
        "sub/a.png",
        "sub/../sub/a.png",
        f"../{outside.name}",
        str(outside),
        "link.png",
        "missing.png",
        "https://a.example/a.png",
        "/etc/passwd.png",
        "sub",
        "",
    ]
    collection = open_collection(table({"path": names}))
    assert collection.kind == "image"  # Inferred from the names.
    leaves, missing = ["path leaves the folder of the table"], ["file is missing"]
    not_file = ["not a regular file"]
    assert list(read(collection).values()) == [
        b"inside",
        b"inside",
        leaves,
        leaves,
        leaves,
        missing,
        ["a web address, not a file"],
        leaves,
        not_file,
        not_file,
    ]
    assert collection[0].uri == str(tmp_path / "sub/a.png")


def test_the_fingerprint_tells_other_content_and_other_columns(table):
    def fingerprint(columns, **options):
        return open_collection(table(columns), **options).fingerprint()

    one = {"a": ["1", "2"], "b": ["3", "4"]}
    first = fingerprint(one, column="a")
    assert fingerprint(one, column="a") == first
    others = [
        fingerprint(one, column="b"),
        fingerprint(one, column="a", id_column="b"),
        fingerprint({"a": ["1", "5"], "b": ["3", "4"]}, column="a"),
    ]
    assert len({first, *others}) == 4


def test_lines_end_where_an_editor_shows_it(tmp_path, monkeypatch):
    monkeypatch.setattr(lines, "CHUNK", 3)  # Every line crosses a boundary somewhere.
    path = tmp_path / "texts.txt"
    path.write_bytes(b"\xef\xbb\xbffirst\r\n\n third\x0b\x85\xe2\x80\xa8\n\xff\n\nlast")
    found = read(open_collection(str(path)))
    bad = ["text is not UTF-8"]
    assert found == {"0": "first", "1": "", "2": bad, "3": bad, "4": "", "5": "last"}
    path.write_bytes(b"one\ntwo\n")
    assert read(open_collection(str(path))) == {"0": "one", "1": "two"}


def test_rows_of_csv_with_other_numbers_of_values_fail_alone(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(b'id,text\na,one\nb\n\nc,two,commas\n"d","caf\xe9"\ne,nul\x00\n')
    collection = open_collection(str(path))
    assert list(read(collection).values()) == [
        "one",
        ["row has fewer values than the header"],
        ["row has fewer values than the header"],
        ["row has more values than the header"],
        ["text is not UTF-8"],
        "nul\0",
    ]


def test_a_quote_that_is_not_closed_is_an_error(tmp_path):
    """It would swallow the rows after it."""
    path = tmp_path / "t.csv"
    for body in ('"one\ntwo\n', '"one" more\ntwo\n'):
        path.write_text("text\nzero\n" + body)
        with pytest.raises(DataError, match=r"t\.csv, line \d: "):
            open_collection(str(path))


def test_many_rows_of_csv_stay_in_order(tmp_path):
    path = tmp_path / "t.csv"
    count = 150_000  # Three blocks.
    path.write_text("text\n" + "".join(f"row {n}\n" for n in range(count)))
    collection = open_collection(str(path))
    assert len(collection) == count
    for number in (0, 65_535, 65_536, 131_072, count - 1):
        assert collection[number].text == f"row {number}"


def test_lines_of_jsonl_that_are_no_objects_fail_alone(tmp_path):
    path = tmp_path / "t.jsonl"
    deep = "[" * 100_000
    path.write_text(f'{{"text": "one"}}\nnot json\n[1]\n\n{{"other": 1}}\n{{"text": 5}}\n{deep}\n')
    assert list(read(open_collection(str(path), column="text")).values()) == [
        "one",
        ["line is not JSON"],
        ["line is no JSON object"],
        ["line is not JSON"],
        ["no text"],
        ["not a text"],
        ["line is not JSON"],
    ]


def test_images_in_parquet_are_bytes_or_structs_as_on_the_hub(tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(b"file")
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    structs = [
        {"bytes": b"inner", "path": "x.png"},
        {"bytes": None, "path": "a.png"},
        {"bytes": None, "path": None},
        None,
    ]
    images = [b"1", b"2", None, b"4"]
    table = pa.table({"image": images, "hub": pa.array(structs, kind), "n": [7, 8, 9, 10]})
    path = tmp_path / "t.parquet"
    pq.write_table(table, path, row_group_size=1)
    bytes_ = open_collection(str(path), id_column="n")
    assert bytes_.kind == "image"
    assert read(bytes_) == {"7": b"1", "8": b"2", "9": ["no image"], "10": b"4"}
    hub = read(open_collection(str(path), column="hub"))
    assert list(hub.values()) == [b"inner", b"file", ["neither an image nor a path"], ["no image"]]


def test_few_row_groups_are_in_memory(tmp_path):
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"text": [f"row {n}" for n in range(100)]}), path, row_group_size=10)
    collection = open_collection(str(path))
    order = [*range(100), 5, 95, 0]
    assert [collection[n].text for n in order] == [f"row {n}" for n in order]
    assert len(collection._cells._kept) == parquet.KEPT


def test_a_damaged_row_group_fails_and_the_others_do_not(tmp_path):
    path = tmp_path / "t.parquet"
    texts = [f"a rather long text about number {n}" for n in range(20)]
    pq.write_table(
        pa.table({"text": texts}), path, row_group_size=10, compression="gzip", use_dictionary=False
    )
    begin = pq.read_metadata(path).row_group(0).column(0).data_page_offset
    content = bytearray(path.read_bytes())
    content[begin + 40 : begin + 80] = bytes(40)
    path.write_bytes(content)
    found = list(read(open_collection(str(path))).values())
    assert found[:10] == [["damaged row group"]] * 10
    assert found[10:] == texts[10:]


@pytest.mark.parametrize("column", ["struct", "float"])
def test_columns_of_other_types_are_refused(tmp_path, column):
    table = pa.table({"text": ["a"], "struct": [{"b": "c"}], "float": [1.5]})
    pq.write_table(table, tmp_path / "t.parquet")
    with pytest.raises(ConfigError, match=f"column '{column}' is "):
        open_collection(str(tmp_path / "t.parquet"), column=column)


@pytest.mark.parametrize("name", ["t.csv", "t.txt", "t.jsonl", "t.parquet"])
def test_empty_files_are_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    with pytest.raises((DataError, ConfigError), match=r"t\."):
        open_collection(str(tmp_path / name))


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
@pytest.mark.parametrize("id_column", ["", "key"])
def test_lists_of_texts_are_items_of_their_own(tmp_path, form, id_column):
    rows = [
        {"key": "x", "caption": ["a", "b"]},
        {"key": "y", "caption": []},
        {"key": "z", "caption": ["c"]},
        {"key": "w", "caption": None},
        {"key": "v", "caption": ["d", "e"]},
    ]
    path = tmp_path / f"t.{form}"
    if form == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=2)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    collection = open_collection(str(path), column="caption", id_column=id_column)
    names = "xyzwv" if id_column else "01234"
    assert read(collection) == {
        f"{names[0]}/0": "a", f"{names[0]}/1": "b", names[1]: ["no text"], names[2]: "c",
        names[3]: ["no text"], f"{names[4]}/0": "d", f"{names[4]}/1": "e",
    }  # fmt: skip
    assert collection[0].uri == f"{path}::0/0" and collection[3].uri == f"{path}::2"
    if form == "parquet":
        with pytest.raises(ConfigError, match="holds lists"):
            open_collection(str(path), kind="image", column="caption")
