"""Tars of samples, as `webdataset` writes them: files that share a key belong together."""

import functools
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from prolip.data.files.decoding import decoded
from prolip.data.files.foreign import foreign_note, is_foreign
from prolip.data.files.names import is_image_name, printable
from prolip.data.files.packed import packed
from prolip.data.files.reading import OpenFile
from prolip.data.files.tar_members import Member, Samples, members, names_of_tars, samples
from prolip.data.records import BadRecord, DataError
from prolip.retrieval.collections.item import Item, check_unique
from prolip.retrieval.embeddings import Kind

OPEN_TARS = 64


class _Entry(NamedTuple):
    id: str
    member: Member


class Tars:
    """The images or texts of all samples; an id is the tar's name and the sample's key.

    A sample is the files whose names agree up to the first dot after the last slash. Each image
    in it is an item; the id of a second one has its extension too.

    Args:
      paths: Of the tars, in order.
      kind: None takes images where the first tar has one.
      extension: Of the members that are embedded: "jpg", "caption.txt", or "json/caption" for a
        field of the JSON; "" takes all image files, or ".txt".

    Raises:
      DataError: a tar is missing or none of them has a member.
    """

    def __init__(self, paths: Sequence[Path], kind: Kind | None, extension: str = ""):
        self._paths = [os.path.abspath(path) for path in paths]
        missing = next((path for path in self._paths if not os.path.isfile(path)), None)
        if missing is not None:
            raise DataError(f"{printable(missing)} is missing or no file")
        first, last = printable(self._paths[0]), printable(self._paths[-1])
        self.source = first if len(paths) == 1 else f"{first} ... {last} ({len(paths)} tars)"
        self.notes = []
        extension, _, self._field = extension.removeprefix(".").partition("/")
        self.kind: Kind = kind or ("text" if self._field else _infer(paths[0]))
        if kind is None:
            self.notes.append(f"taken as {self.kind}s; --kind says otherwise")
        self._extension = extension.lower()
        self._open = functools.lru_cache(maxsize=OPEN_TARS)(OpenFile)
        self._index()

    def __len__(self) -> int:
        return len(self._ids)

    def id(self, index: int) -> str:
        """Name of the tar, slash, key of the sample."""
        return self._ids[index].as_py()

    def __getitem__(self, index: int) -> Item:
        """Raises BadRecord if the member is damaged, or none that may be read."""
        reason = self._reasons[self._reason[index]]
        if reason:
            raise BadRecord(reason)
        path = self._paths[self._tar[index]]
        uri = f"{printable(path)}::{self._names[index].as_py()}"
        data = self._open(path).read(int(self._offset[index]), int(self._size[index]))
        if self.kind == "image":
            return Item(self.id(index), uri, data, None)
        text = decoded(data)
        return Item(self.id(index), uri, None, _field(text, self._field) if self._field else text)

    def fingerprint(self) -> str:
        """Of the names, places and sizes of all members."""
        return self._fingerprint

    def _index(self) -> None:
        reasons = {"": 0}
        places, digest = [], hashlib.sha256(self._field.encode())
        ids, names, good = [], [], []  # Packed tar by tar.
        foreign = 0
        for number, name in enumerate(names_of_tars(self._paths)):
            content = samples(Path(self._paths[number]))
            foreign += content.foreign
            entries = list(self._entries(content, name))
            digest.update(repr(entries).encode())
            places.append(
                np.array(
                    [
                        (number, reasons.setdefault(m.reason, len(reasons)), m.offset, m.size)
                        for _, m in entries
                    ],
                    np.int64,
                ).reshape(-1, 4)
            )
            ids.append(packed(entry.id for entry in entries))
            names.append(packed(entry.member.name for entry in entries))
            good.append(packed(entry.id for entry in entries if not entry.member.reason))
        if foreign:
            self.notes.append(foreign_note(foreign, "the tars"))
        self._ids, self._names = _joined(ids), _joined(names)
        self._tar, self._reason, self._offset, self._size = np.concatenate(places).T
        self._reasons, self._fingerprint = list(reasons), digest.hexdigest()
        if not len(self._ids):
            raise DataError(f"{self.source} has no member")
        check_unique(_joined(good), self.source)

    def _entries(self, content: Samples, tar: str) -> Iterator[_Entry]:
        """Items of a tar: samples in the order of their first member, then what is wrong."""
        for key, sample in content.members.items():
            chosen = [member for extension, member in sample.items() if self._wants(extension)]
            if not chosen:
                what = f".{self._extension}" if self._extension else _WHAT[self.kind]
                member = next(iter(sample.values()))
                chosen = [member._replace(reason=f"sample has no {what}")]
            for position, member in enumerate(chosen):
                yield _Entry(f"{tar}/{member.name if position else key}", member)
        for member in content.problems:
            yield _Entry(f"{tar}/{member.name}", member)

    def _wants(self, extension: str) -> bool:
        if self._extension:
            return extension == self._extension
        return is_image_name(f"x.{extension}") if self.kind == "image" else extension == "txt"


def _field(document: str, name: str) -> str:
    try:
        values = json.loads(document)
    except (ValueError, RecursionError) as error:
        raise BadRecord("JSON of the sample is damaged") from error
    value = values.get(name) if isinstance(values, dict) else None
    if isinstance(value, list):
        raise BadRecord("the JSON field is a list; store each text in a field of its own")
    if not isinstance(value, str):
        raise BadRecord("the JSON field is not a text" if value is not None else "no text")
    return value


_WHAT = {"image": "image", "text": ".txt"}


def _infer(path: Path) -> Kind:
    good = [member.name for member in members(path) if not member.reason]
    good = [name for name in good if not is_foreign(name)]
    images = any(is_image_name(name) for name in good)
    return "image" if images or not any(name.lower().endswith(".txt") for name in good) else "text"


def _joined(arrays: list[pa.Array]) -> pa.ChunkedArray:
    return pa.chunked_array(arrays, pa.large_string())
