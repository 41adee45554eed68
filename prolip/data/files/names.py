"""Names of files, which may be any bytes."""

import os
import re
from collections import Counter
from collections.abc import Iterable

# Of the formats that `prolip.data.image` decodes.
IMAGE_EXTENSIONS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".gif"),
    *(".bmp", ".dib", ".tif", ".tiff", ".avif"),
)
TEXT_EXTENSIONS = (".txt", ".caption")  # Of captions beside images, in any case.
LISTED = 8  # Extensions that a sentence names.


def printable(name: str | os.PathLike[str]) -> str:
    """A name as UTF-8; bytes of a file's name that are not become escapes."""
    return os.fspath(name).encode("utf8", "backslashreplace").decode()


def is_utf8(name: str) -> bool:
    """Whether a name can be kept as it is: file systems allow any bytes."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_image_name(name: str) -> bool:
    """Whether a file with this name should hold an image."""
    return os.path.splitext(name)[1].lower() in IMAGE_EXTENSIONS


# Escape codes move the cursor and forge lines of a terminal; marks of direction turn text around.
UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: object, lines: bool = False) -> str:
    """Text from data as it may be printed: control characters become escapes such as `\\x1b`.

    Args:
      text: A name, a key, a caption, or a message with some of them.
      lines: Keep line feeds, of a message of several lines.
    """

    def escape(match: re.Match[str]) -> str:
        code = ord(match[0])
        if lines and match[0] == "\n":
            return "\n"
        return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"

    return UNSAFE.sub(escape, str(text))


def extensions(names: Iterable[str]) -> str:
    """Counts of the files by extension: "3 x .heic, 1 x .json"."""
    counts = Counter(os.path.splitext(name)[1].lower() or "no extension" for name in names)
    listed = [f"{count:,} x {printable(end)}" for end, count in counts.most_common(LISTED)]
    return ", ".join(listed) + (", ..." if len(counts) > LISTED else "")
