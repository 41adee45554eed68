"""A folder of images: captions from text files of the same stem, or from the folders' names."""

import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from typing import Any

from prolip.data.files.decoding import decoded
from prolip.data.files.names import TEXT_EXTENSIONS, is_image_name, is_utf8, printable
from prolip.data.files.packed import packed
from prolip.data.files.reading import read_file, states
from prolip.data.files.walk import ImageFiles, image_files
from prolip.data.image import FORMAT_NAMES
from prolip.data.labels import label_of, named_alike
from prolip.data.near import unknown
from prolip.data.records import BadRecord, DataError, Record
from prolip.data.sources.source import Source

TEXT, CLASS = "txt", "folder"
FEATURES = (TEXT, CLASS)


class Folder(Source):
    """Every image file below a folder, in the order of names.

    Args:
      root: The folder.
      captions: "txt": the file beside the image with the same stem and the extension `.txt` or
        `.caption`; "folder": the name of the image's first folder below the root, "_" as a blank.
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
        files = image_files(self._root)
        if not files.images:
            left_out = "".join(f"; {note}" for note in files.notes())
            raise DataError(f"{printable(root)} has no {FORMAT_NAMES} file{left_out}")
        self._names = packed(printable(file.name) for file in files.images)
        self._bad = {}
        for i, (name, reason, _) in enumerate(files.images):
            if reason or not is_utf8(name):
                self._bad[i] = reason or "name of the file is not UTF-8"
        texts = _texts_beside(files)
        self._beside = packed(texts)
        used = set(texts) if TEXT in (*captions, *labels) else set()
        self.notes = [*files.kinds(), *files.notes(used)]
        if CLASS in (*captions, *labels):
            self.notes += files.class_notes()
            if alike := named_alike(files.folders, files.folders):
                self.notes.append(alike)
        digest = hashlib.sha256()
        for name, reason, size in sorted((*files.images, *files.others)):
            if reason or name.endswith(".txt") or name in used or is_image_name(name):
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
        captions = tuple(self._texts(index, feature) for feature in self._captions)
        labels = tuple(label_of(self._texts(index, feature)) for feature in self._labels)
        return Record(read_file(os.path.join(self._root, name)), captions, labels, name)

    def digest(self) -> str:
        """Of all names and sizes."""
        return self._digest

    def state(self) -> str:
        """Of the digest, and of sizes and times of the files."""
        names = (
            name.as_py() for pair in zip(self._names, self._beside, strict=True) for name in pair
        )
        files = states(os.path.join(self._root, name) for name in names if name)
        return f"{self._digest} {files}"

    def __reduce__(self) -> tuple[Any, ...]:
        return Folder, self._arguments

    def _texts(self, index: int, feature: str) -> tuple[str, ...]:
        if feature == CLASS:
            folder, slash, _ = self.key(index).partition("/")
            return (folder.replace("_", " "),) if slash else ()
        name = self._beside[index].as_py()
        if not name:
            return ()
        path = os.path.join(self._root, name)
        if os.path.commonpath([self._root, os.path.realpath(path)]) != self._root:
            raise BadRecord("link leaves the folder")
        return (decoded(read_file(path)),)


def _texts_beside(files: ImageFiles) -> list[str]:
    """The text file of each image, "" where it has none.

    Stems are the same to the letter, or but for their case where no other image has such a stem.
    """
    ranks = TEXT_EXTENSIONS
    exact: dict[str, str] = {}
    # The first extension wins, then the spelling in lower case.
    texts = [name for name, _, _ in files.others if _extension(name) in ranks and is_utf8(name)]
    for name in sorted(texts, key=lambda n: (ranks.index(_extension(n)), n.swapcase())):
        exact.setdefault(_stem(name), name)
    stems = [_stem(name) for name, _, _ in files.images]
    taken = set(stems)
    loose = {stem.lower(): name for stem, name in exact.items() if stem not in taken}
    images = Counter(stem.lower() for stem in taken)
    return [
        exact.get(stem) or (loose.get(stem.lower(), "") if images[stem.lower()] == 1 else "")
        for stem in stems
    ]


def _stem(name: str) -> str:
    return os.path.splitext(name)[0]


def _extension(name: str) -> str:
    return os.path.splitext(name)[1].lower()
