"""A folder of images: captions from `.txt` files of the same stem, or from the folders' names."""

import hashlib
import os
from collections.abc import Sequence
from typing import Any

from prolip.data.files.names import is_image_name, is_utf8, printable
from prolip.data.files.packed import packed
from prolip.data.files.reading import read_file, states
from prolip.data.files.walk import walk
from prolip.data.near import unknown
from prolip.data.records import BadRecord, DataError, Record
from prolip.data.sources.source import Source

TEXT, CLASS = "txt", "folder"
FEATURES = (TEXT, CLASS)


class Folder(Source):
    """Every image file below a folder, in the order of names.

    Args:
      root: The folder.
      captions: "txt": the file beside the image with the same stem; "folder": the name of the
        image's first folder below the root, "_" as a blank.
      labels: The same.

    Raises:
      DataError: the folder can't be read, or has no image.
    """

    name = "folder"

    def __init__(self, root: str, captions: Sequence[str], labels: Sequence[str] = ()):
        self._arguments = (root, tuple(captions), tuple(labels))
        self._root = os.path.realpath(root)
        self._captions, self._labels = tuple(captions), tuple(labels)
        for feature in (*captions, *labels):
            if feature not in FEATURES:
                raise DataError(unknown(feature, FEATURES, "a folder of images has no"))
        files = sorted(walk(self._root))
        found = [(name, reason) for name, reason, _ in files if reason or is_image_name(name)]
        if not found:
            raise DataError(f"{printable(root)} has no JPEG, PNG, WebP or GIF file")
        self._names = packed(printable(name) for name, _ in found)
        self._bad = {}
        for i, (name, reason) in enumerate(found):
            if reason or not is_utf8(name):
                self._bad[i] = reason or "name of the file is not UTF-8"
        digest = hashlib.sha256()
        for name, reason, size in files:
            if reason or is_image_name(name) or name.endswith(".txt"):
                digest.update(f"{name!r} {size}\n".encode())
        self._digest = digest.hexdigest()

    def __len__(self) -> int:
        return len(self._names)

    def key(self, index: int) -> str:
        """Path below the folder."""
        return self._names[index].as_py()

    def __getitem__(self, index: int) -> Record:
        """Raises BadRecord if a file can't be read."""
        if index in self._bad:
            raise BadRecord(self._bad[index])
        name = self.key(index)
        captions = tuple(self._texts(name, feature) for feature in self._captions)
        labels = tuple(next(iter(self._texts(name, feature)), "") for feature in self._labels)
        return Record(read_file(os.path.join(self._root, name)), captions, labels, name)

    def digest(self) -> str:
        """Of all names and sizes."""
        return self._digest

    def state(self) -> str:
        """Of the digest, and of sizes and times of the files."""
        paths = (os.path.join(self._root, name.as_py()) for name in self._names)
        return f"{self._digest} {states(file for path in paths for file in (path, _beside(path)))}"

    def __reduce__(self) -> tuple[Any, ...]:
        return Folder, self._arguments

    def _texts(self, name: str, feature: str) -> tuple[str, ...]:
        if feature == CLASS:
            folder, slash, _ = name.partition("/")
            return (folder.replace("_", " "),) if slash else ()
        path = _beside(os.path.join(self._root, name))
        if not os.path.lexists(path):
            return ()
        if os.path.commonpath([self._root, os.path.realpath(path)]) != self._root:
            raise BadRecord("link leaves the folder")
        try:
            return (read_file(path).decode(),)
        except UnicodeDecodeError as error:
            raise BadRecord("text is not UTF-8") from error


def _beside(path: str) -> str:
    """The file that has the texts of an image."""
    return os.path.splitext(path)[0] + ".txt"
