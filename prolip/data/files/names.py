"""Names of files, which may be any bytes."""

import os
from collections import Counter
from collections.abc import Iterable

# Of the formats that `prolip.data.image` decodes.
IMAGE_EXTENSIONS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".gif"),
    *(".bmp", ".dib", ".tif", ".tiff", ".avif"),
)
TEXT_EXTENSIONS = (".txt", ".caption")  # Of captions beside images, in any case.
# Folders that tools make beside images, besides those whose name begins with a dot.
TOOL_FOLDERS = {"__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN", "__pycache__", "lost+found"}
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


def is_hidden(name: str) -> bool:
    """Whether a file or folder is one that systems and tools keep, such as `.git` or `._a.jpg`."""
    return name.startswith(".") or name in TOOL_FOLDERS


def extensions(names: Iterable[str]) -> str:
    """Counts of the files by extension: "3 x .heic, 1 x .json"."""
    counts = Counter(os.path.splitext(name)[1].lower() or "no extension" for name in names)
    listed = [f"{count:,} x {printable(end)}" for end, count in counts.most_common(LISTED)]
    return ", ".join(listed) + (", ..." if len(counts) > LISTED else "")
