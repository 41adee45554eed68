"""Names of files, which may be any bytes."""

import os

# Of the formats that `prolip.data.image` decodes.
IMAGE_EXTENSIONS = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".gif")


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
