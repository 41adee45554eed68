"""A folder of images and its folders, in the order of their names."""

import collections
import hashlib
import os
from pathlib import Path

from prolip.data.files.names import is_image_name, is_utf8, printable
from prolip.data.files.packed import packed
from prolip.data.files.reading import read_file
from prolip.data.files.walk import walk
from prolip.data.records import BadRecord, DataError
from prolip.retrieval.collections.item import Item
from prolip.retrieval.embeddings import Kind

NOT_UTF8 = "name of the file is not UTF-8"


class ImageFolder:
    """Every file whose name ends as that of an image; its id is the path below the folder.

    Links are followed as long as they lead to a place inside the folder. Links to folders inside
    it add nothing; those that leave it are items that fail.

    Raises:
      DataError: the folder can't be read or has no image.
    """

    kind: Kind = "image"

    def __init__(self, path: Path):
        self._root = os.path.realpath(path)
        self.source = printable(self._root)
        found, others = [], collections.Counter[str]()
        for name, reason, size in walk(self._root):
            if reason or is_image_name(name):
                found.append((name, reason or ("" if is_utf8(name) else NOT_UTF8), size))
            else:
                others[os.path.splitext(name)[1].lower() or "no extension"] += 1
        found.sort()
        if not found:
            raise DataError(f"{self.source} has no JPEG, PNG, WebP or GIF file")
        self._names = packed(printable(name) for name, _, _ in found)
        self._bad = {i: reason for i, (_, reason, _) in enumerate(found) if reason}
        self._digest = hashlib.sha256()
        for name, _, size in found:
            self._digest.update(f"{name!r} {size}\n".encode())
        listed = ", ".join(f"{count} x {printable(end)}" for end, count in others.most_common(5))
        self.notes = [f"files that are no image by name are left out: {listed}"] if listed else []

    def __len__(self) -> int:
        return len(self._names)

    def id(self, index: int) -> str:
        """Path below the folder."""
        return self._names[index].as_py()

    def __getitem__(self, index: int) -> Item:
        """Raises BadRecord if the file is none, or can't be read."""
        if index in self._bad:
            raise BadRecord(self._bad[index])
        name = self.id(index)
        path = os.path.join(self._root, name)
        return Item(name, printable(path), read_file(path), None)

    def fingerprint(self) -> str:
        """Of all names and sizes."""
        return self._digest.hexdigest()
