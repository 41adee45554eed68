"""Rows of CSV and TSV, also where a quote mark is part of a text.

Writers of CSV put a field in quotes and double the quotes inside it. What joins texts with commas
or tabs doesn't: there a caption that begins with a quote mark and a later one that ends with one
look like a single field, and the rows between them would be lost. A field that goes over several
lines is therefore looked at: where at least half of its lines, and two of them, have as many
delimiters as a row, and the file does not show that it was written with quotes, each line is a row
and the mark is text.
"""

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

LOOK = 1000  # Lines of an open field after which it is judged before its end.
QUOTE = '"'
DOUBLED = re.compile(r'[^",\t\r\n]""|"""[^",\t\r\n]')  # Writers double what is inside quotes.
MOST_LINES = 20  # Of a field in a single column; a longer one may be several rows.
MOST_PLAIN = 0.05  # Rows without quotes, beside those with, where all fields are put in quotes.


class QuoteError(ValueError):
    """A quote mark of CSV that is neither that of a field nor text in a row."""

    def __init__(self, line: int):
        super().__init__(f"line {line:,}: a quoted field has no end, or does not end at a comma")


class Format(NamedTuple):
    """The form of a file, by its header."""

    delimiter: str
    columns: int
    spaced: bool  # Whether a blank follows the delimiters.

    def is_row(self, line: str) -> bool:
        """Returns whether a line has as many delimiters as a row; in texts a blank follows them."""
        if not line.strip():
            return False
        count = line.count(self.delimiter)
        if self.delimiter == "," and not self.spaced:
            count -= line.count(", ")
        return count == self.columns - 1


def rows(
    lines: Callable[[], Iterable[str]], delimiter: str, literal: Callable[[int], None]
) -> Iterator[list[str]]:
    """The values of all rows of a file, the header first.

    Args:
      lines: Reads the file anew, line by line with its ends.
      delimiter: Between values.
      literal: Called with the number of each line, from 1, of which a quote mark at the begin of a
        field was taken as text.
    """
    numbered = enumerate(lines(), 1)
    form: Format | None = None
    quoted: bool | None = None  # Whether the file was written with quotes; not known yet.
    for number, line in numbered:
        if form is not None and QUOTE not in line:  # Most lines.
            bare = line.rstrip("\r\n")
            yield bare.split(delimiter) if bare else []
            continue
        values, unfinished = _values(line, delimiter, form)
        span = [line]
        if unfinished:
            span, whole = _span(line, numbered, delimiter, form)
            if whole is not None and form is not None and _rows_in(span, form):
                if quoted is None:
                    quoted = _written_with_quotes(lines(), form)
                whole = whole if quoted else None
            if whole is not None:
                values, span = whole, [line]
        if form is None:
            first = values if values is not None else _split(line, delimiter)
            form = Format(delimiter, len(first), f"{delimiter} " in line)
        if values is not None:
            yield values
            continue
        # Tab-separated values have no quotes by their standard.
        if delimiter != "\t" and not _could_be_rows(span, form):
            raise QuoteError(number)
        for position, piece in enumerate(span, number):
            alone, _ = _values(piece, delimiter, form)
            if alone is None:
                literal(position)
            yield _split(piece, delimiter) if alone is None else alone


def _values(line: str, delimiter: str, form: Format | None) -> tuple[list[str] | None, bool]:
    """The values of a line; None where its quotes are text; and whether a field is still open."""
    if QUOTE not in line:
        return _split(line, delimiter), False
    values, unfinished = _parsed([line], delimiter)
    if values is not None and form is not None and len(values) != form.columns:
        return None if len(_split(line, delimiter)) == form.columns else values, False
    return values, unfinished


def _split(line: str, delimiter: str) -> list[str]:
    bare = line.rstrip("\r\n")
    return bare.split(delimiter) if bare else []


def _span(
    first: str, numbered: Iterator[tuple[int, str]], delimiter: str, form: Format | None
) -> tuple[list[str], list[str] | None]:
    """The lines of an open field up to its end, and the values of the row; None if it has none."""
    span, marks = [first], first.count(QUOTE)
    for _, line in numbered:
        span.append(line)
        marks += line.count(QUOTE)
        if QUOTE in line and not marks % 2:
            values, unfinished = _parsed(span, delimiter)
            if not unfinished:
                return span, values
        if len(span) % LOOK == 0 and form is not None and _rows_in(span, form):
            break
    return span, None


def _parsed(lines: Sequence[str], delimiter: str) -> tuple[list[str] | None, bool]:
    """Values of a row; None if its quotes are not right; and whether a field is still open."""
    try:
        return next(csv.reader(lines, delimiter=delimiter, strict=True), []), False
    except csv.Error as error:
        return None, "unexpected end" in str(error)


def _rows_in(span: Sequence[str], form: Format) -> bool:
    count = sum(form.is_row(line) for line in span)
    # Of a single column each line could be a row: only many of them are suspect.
    return count >= (2 if form.columns > 1 else MOST_LINES) and 2 * count >= len(span)


def _could_be_rows(span: Sequence[str], form: Format) -> bool:
    return form.columns > 1 and 2 * sum(map(form.is_row, span)) >= len(span)


def _written_with_quotes(lines: Iterable[str], form: Format) -> bool:
    """Returns whether quotes inside fields are doubled, or nearly all rows have quotes."""
    good = plain = 0
    pieces: list[str] = []

    def counted() -> Iterator[str]:
        for line in lines:
            pieces.append(line)
            yield line

    try:
        for row in csv.reader(counted(), delimiter=form.delimiter, strict=True):
            text = "".join(pieces)
            pieces.clear()
            if DOUBLED.search(text):
                return True
            good += len(row) == form.columns
            plain += len(row) == form.columns and QUOTE not in text
    except csv.Error:
        return False
    return good > 2 and plain <= 1 + MOST_PLAIN * good  # A header needs no quotes.
