"""Rows of CSV and TSV: none is lost to a quote mark, and what writers of CSV write stays right."""

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prolip.data.files.delimited import DelimitedFrame
from prolip.data.files.quoting import QuoteError, rows
from prolip.data.records import BadRecord, DataError

TEXTS = st.lists(
    st.sampled_from(["a", "word", ", ", "x, y", " ", "\n", "\r\n", '"', "é", "."]), max_size=8
).map("".join)


def read(text, delimiter=","):
    """Rows, and the lines of which a mark was taken as text."""
    literal = []
    found = list(rows(lambda: io.StringIO(text, newline=""), delimiter, literal.append))
    return found, literal


@settings(max_examples=150, deadline=None)
@given(
    st.integers(1, 3).flatmap(lambda n: st.lists(st.lists(TEXTS, min_size=n, max_size=n))),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    st.sampled_from(",\t"),
)
def test_what_a_writer_of_csv_wrote_is_read_back(data, quoting, delimiter):
    data = [[f"column {i}" for i in range(len(data[0]))] if data else ["a"], *data]
    buffer = io.StringIO(newline="")
    csv.writer(buffer, delimiter=delimiter, quoting=quoting).writerows(data)
    assert read(buffer.getvalue(), delimiter) == (data, [])


@pytest.mark.parametrize("mark", [",", "\t"])
@pytest.mark.parametrize(
    ("lines", "literal"),
    [
        (['"Once upon a time|a.jpg', "middle one|b.jpg", 'the end"|c.jpg', "last|d.jpg"], [2]),
        (['"Once|a.jpg', 'the end"|c.jpg'], [2]),
        (['"never closed|a.jpg', "next|b.jpg", "last|c.jpg"], [2]),
        (["first|a.jpg", '"the last, open|b.jpg'.replace(",", "")], [3]),
        (['"Hello" she said|a.jpg', "plain|b.jpg"], [2]),
        (['"a|1.jpg', 'b"|2.jpg', '"c|3.jpg', 'd"|4.jpg', "e|5.jpg"], [2, 4]),
    ],
)
def test_a_mark_in_a_text_loses_no_row(mark, lines, literal):
    text = "\n".join(["caption|image", *lines, ""]).replace("|", mark)
    expected = [["caption", "image"], *(line.split("|") for line in lines)]
    assert read(text, mark) == (expected, literal)


def test_a_comma_in_such_a_row_is_named_and_the_others_are_read():
    text = 'caption,image\n"Once, upon a time,a.jpg\nmiddle,b.jpg\nthe end",c.jpg\n'
    found, literal = read(text)
    assert [len(row) for row in found] == [2, 3, 2, 2] and literal == [2]


@pytest.mark.parametrize(
    ("text", "row"),
    [
        (
            'image,caption\na.jpg,"Hello, world\nand, so, on"\nb.jpg,c\n',
            "Hello, world\nand, so, on",
        ),
        ('image,caption\na.jpg,"x,y\nz,w"\nb.jpg,"of ""it"""\n', "x,y\nz,w"),
        ('"image","caption"\n"a","x,y\nz,w"\n"b","c"\n"d","e"\n', "x,y\nz,w"),
    ],
)
def test_texts_of_several_lines_stay_one(text, row):
    found, literal = read(text)
    assert found[1][1] == row and not literal


def test_a_field_over_thousands_of_lines_is_not_read_again_and_again():
    text = "a\tb\n" + '"open\t1\n' + 'x "y" z\t2\n' * 5000
    found, literal = read(text, "\t")
    assert len(found) == 5002 and literal == [2]


def test_open_fields_of_csv_that_are_no_rows_end_with_the_line():
    for text in ('a,b\n1,2\n"three, four\nfive\n', 'a\n"b" c\n'):
        with pytest.raises(QuoteError, match=r"line \d"):
            read(text)


def test_the_frame_says_what_it_took_as_text(tmp_path):
    path = tmp_path / "t.tsv"
    path.write_text('caption\timage\n"Hello" she said\ta.jpg\nb\n')
    frame = DelimitedFrame(path, "\t")
    (cells,) = frame.read(["caption"])
    assert cells[0] == '"Hello" she said' and "first in line 2" in frame.notes[0]
    with pytest.raises(BadRecord, match="fewer values"):
        cells[1]
    (tmp_path / "u.csv").write_text('a,b\n"c\n')
    with pytest.raises(DataError, match=r"u\.csv, line 2"):
        DelimitedFrame(tmp_path / "u.csv", ",").read(["a"])


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be", "utf-32"])
def test_a_byte_order_mark_tells_the_encoding(tmp_path, encoding):
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    (tmp_path / "t.csv").write_bytes(f'{mark}caption,image\r\n"é, ü",a.jpg\r\n'.encode(encoding))
    frame = DelimitedFrame(tmp_path / "t.csv", ",")
    assert frame.names == ["caption", "image"] and frame.read(["caption"])[0][0] == "é, ü"
