"""Parquet files that are small and unpack to gigabytes are refused; repeated values stay shared."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from prolip.config import ConfigError
from prolip.data.files import parquet
from prolip.data.files.parquet import ParquetFrame
from prolip.data.records import DataError


def write(path, **columns):
    pq.write_table(pa.table(columns), path, compression="zstd")
    return path


def test_a_value_that_is_repeated_by_a_dictionary_takes_its_memory_once(tmp_path, monkeypatch):
    large = "word " * 40_000  # 200 kB, 1,000 times.
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * 999 + [1], pa.int32()), [large, "a"])
    path = write(tmp_path / "t.parquet", caption=texts, image=texts.cast(pa.binary()))
    monkeypatch.setattr(parquet, "LEAST", 1 << 18)
    before = pa.total_allocated_bytes()
    frame = ParquetFrame(path)
    for cells in (*frame.load(["caption"]), *frame.read(["image"])):
        assert len(cells) == 1000 and len(cells[7]) == len(large) and cells[999] in ("a", b"a")
    assert pa.total_allocated_bytes() - before < 8 << 20


@pytest.mark.parametrize("whole", [True, False])
def test_pages_that_unpack_to_far_more_are_refused_by_the_footer(tmp_path, monkeypatch, whole):
    monkeypatch.setattr(parquet, "SUSPECT", 1 << 20)
    path = write(tmp_path / "t.parquet", caption=["a" * (8 << 20), "b"])
    frame = ParquetFrame(path)
    with pytest.raises(DataError, match=r"column 'caption' unpacks to 8 MiB from \d+ KiB"):
        (frame.load if whole else frame.read)(["caption"])


def test_rows_without_values_are_not_free(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "SUSPECT", 1 << 20)
    path = write(tmp_path / "t.parquet", caption=pa.nulls(1_000_000, pa.string()))
    with pytest.raises(DataError, match="unpacks to 7 MiB"):
        ParquetFrame(path).load(["caption"])


def test_texts_that_repeat_the_begin_of_others_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "LEAST", 1 << 20)
    path = tmp_path / "t.parquet"
    texts = [f"{'a' * 100_000}{number}" for number in range(100)]
    options = {"use_dictionary": False, "column_encoding": "DELTA_BYTE_ARRAY"}
    pq.write_table(pa.table({"caption": texts}), path, **options)
    with pytest.raises(DataError, match="repeated values that take more than 4 times"):
        ParquetFrame(path).load(["caption"])
    pq.write_table(pa.table({"caption": texts[:2]}), path, **options)
    assert ParquetFrame(path).load(["caption"])[0][1] == texts[1]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ([{"en": "a", "de": "b"}], r"is struct<.*not a text.*\(en, de\)"),
        (pa.array([[("en", "a")]], pa.map_(pa.string(), pa.string())), "is map<"),
        ([[["a"]]], "is list<.*not a text"),
        ([1.5], "is double"),
        ([3], "is int64"),
    ],
)
def test_captions_of_other_kinds_are_refused_by_their_kind(tmp_path, values, sentence):
    frame = ParquetFrame(write(tmp_path / "t.parquet", caption=values))
    with pytest.raises(ConfigError, match=sentence):
        frame.check_texts("caption")


@pytest.mark.parametrize(
    "values",
    [
        ["a"], [b"a"], [["a"]], [None], pa.array([["a"]], pa.list_(pa.string(), 1)),
        pa.array(["a"], pa.string_view()), pa.array(["a"]).dictionary_encode(),
        pa.array([["a"]], pa.large_list(pa.large_string())),
    ],
)  # fmt: skip
def test_texts_and_lists_of_texts_are_captions(tmp_path, values):
    frame = ParquetFrame(write(tmp_path / "t.parquet", caption=values))
    frame.check_texts("caption")
    assert frame.load(["caption"])[0][0] in ("a", b"a", ["a"], None)
