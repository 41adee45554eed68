"""Texts as files hold them: UTF-8, or what a byte order mark in front says."""

import codecs
from pathlib import Path

from prolip.data.records import BadRecord

# Those of UTF-32 first: one of them begins as one of UTF-16 does.
MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
UTF8 = "utf-8-sig"  # Without the mark, where there is one.
NOT_UTF8 = "text is not UTF-8"


def encoding(head: bytes) -> str:
    """The encoding of a text by its first four bytes."""
    return next((name for mark, name in MARKS.items() if head.startswith(mark)), UTF8)


def decoded(content: bytes) -> str:
    """A text without its byte order mark.

    Raises:
      BadRecord: it is in another encoding.
    """
    try:
        return content.decode(encoding(content))
    except UnicodeDecodeError as error:
        raise BadRecord(NOT_UTF8) from error


def file_encoding(path: Path) -> str:
    """The encoding of a text file by its first bytes."""
    with path.open("rb") as file:
        return encoding(file.read(4))
