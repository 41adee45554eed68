"""A folder of images and its folders, in the order of their names."""

import hashlib
import os
from pathlib import Path

from prolip.data.files.names import is_utf8, printable
from prolip.data.files.packed import packed
from prolip.data.files.reading import read_file
from prolip.data.files.walk import image_files
from prolip.data.image import FORMAT_NAMES
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
        files = image_files(self._root)
        self.notes = files.notes()
        if not files.images:
            left_out = "".join(f"; {note}" for note in self.notes)
            raise DataError(f"{self.source} has no {FORMAT_NAMES} file{left_out}")
        self._names = packed(printable(file.name) for file in files.images)
        self._bad = {}
        for number, (name, reason, _) in enumerate(files.images):
            if reason or not is_utf8(name):
                self._bad[number] = reason or NOT_UTF8
        self._digest = hashlib.sha256()
        for name, _, size in files.images:
            self._digest.update(f"{name!r} {size}\n".encode())

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
