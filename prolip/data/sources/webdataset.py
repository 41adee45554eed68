"""Tars of samples, as `webdataset` and `img2dataset` write them, read in place."""

import functools
import hashlib
import itertools
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from prolip.data.files.decoding import decoded
from prolip.data.files.foreign import foreign_note
from prolip.data.files.names import IMAGE_EXTENSIONS, printable, visible
from prolip.data.files.reading import OpenFile, keep_open
from prolip.data.files.tar_index import Head, TarIndex, make_index, make_missing
from prolip.data.files.tar_members import names_of_tars
from prolip.data.labels import label_of
from prolip.data.near import unknown
from prolip.data.records import Bad, BadRecord, DataError, Record
from prolip.data.sources.source import Source

MOST_OPEN = 16_384  # Tars, and as many indices.
JSON = "json"
ANY_IMAGE = "image"
LOOK = 20  # Samples that tell the fields of the JSON; then as many again where one is missing.
MOST_LOOKED = 20_000  # Of all samples: a field that none of them has is taken for misspelled.
TARS_LOOKED = 256  # That they are spread over: each has an index to read.


class Webdataset(Source):
    """Samples of tars; a sample is the files whose names agree up to the first dot.

    Args:
      paths: Of the tars, in order.
      image: Extensions of the image, the best first: "jpg;png"; "image" takes any.
      captions: "txt", or "json/caption" for a field of the JSON: a text, or a list of texts.
      labels: The same, for class names.
      index_dir: Of the side files, see `files.side_files`.
      threads: That make what is missing of them.

    Raises:
      DataError: a tar is missing, or no tar has such members.
    """

    name = "webdataset"

    def __init__(
        self,
        paths: Sequence[str],
        image: str,
        captions: Sequence[str],
        labels: Sequence[str] = (),
        index_dir: str = "",
        threads: int = 8,
    ):
        self._arguments = (tuple(paths), image, tuple(captions), tuple(labels), index_dir, threads)
        self._heads = make_missing(paths, index_dir, threads=threads)
        self._names = names_of_tars(paths)
        self._begins = np.cumsum([0, *(head.samples for head in self._heads)])
        if image == ANY_IMAGE:
            self._images = tuple(extension.removeprefix(".") for extension in IMAGE_EXTENSIONS)
        else:
            self._images = tuple(e.strip().lower().removeprefix(".") for e in image.split(";"))
        self._captions, self._labels = tuple(captions), tuple(labels)
        most = keep_open(2 * min(len(paths), MOST_OPEN)) // 2
        self._index = functools.lru_cache(maxsize=most)(self._open_index)
        self._open = functools.lru_cache(maxsize=most)(OpenFile)
        self._checked: set[int] = set()  # Tars whose index has been read whole.
        self.damage = [
            Bad(None, f"{name}.tar/{member}".rstrip("/"), reason)
            for name, head in zip(self._names, self._heads, strict=True)
            for member, reason in head.problems
        ]
        self.notes = self._notes()
        self._fields = _Fields(self._to_look_at(), lambda index: self._members(index).json())
        self._check(image)

    def __len__(self) -> int:
        return int(self._begins[-1])

    def key(self, index: int) -> str:
        """Name of the tar, slash, key of the sample."""
        tar, sample = self._place(index)
        return f"{self._names[tar]}/{self._index(tar).key(sample)}"

    def __getitem__(self, index: int) -> Record:
        """Raises BadRecord if the sample has no image, or a member can't be read."""
        read = self._members(index)
        image = next((e for e in self._images if e in read), None)
        if image is None:
            raise BadRecord("sample has no image")
        captions = tuple(tuple(_texts(read, feature)) for feature in self._captions)
        labels = tuple(_label(read, feature) for feature in self._labels)
        return Record(read[image], captions, labels, self.key(index))

    def digest(self) -> str:
        """Of names, sizes, and the places of all members."""
        digest = hashlib.sha256()
        for name, head in zip(self._names, self._heads, strict=True):
            digest.update(f"{(name, *_content(head))!r}\n".encode())
        return digest.hexdigest()

    def state(self) -> str:
        """Of the digest and the times of the tars."""
        return f"{self.digest()} {[head.modified for head in self._heads]}"

    @property
    def fields(self) -> Collection[str]:
        """Keys of the JSON of the samples looked at so far, the first ones at least."""
        if not self._fields.looked:
            self._fields.look(LOOK)
        return tuple(self._fields.known)

    def seek_fields(self, names: Collection[str]) -> Collection[str]:
        """Looks through samples of all tars until each name was seen, `MOST_LOOKED` at most."""
        while not set(names) <= self._fields.known.keys() and self._fields.look(LOOK):
            pass
        return super().seek_fields(names)

    def about(self, index: int, names: Collection[str]) -> Mapping[str, Any]:
        """Fields of the sample's JSON."""
        values = self._members(index).json()
        return {name: values[name] for name in names if values.get(name) is not None}

    def __reduce__(self) -> tuple[Any, ...]:
        return Webdataset, self._arguments

    def _members(self, index: int) -> "_Members":
        tar, sample = self._place(index)
        table = self._index(tar)
        places = {
            self._heads[tar].extensions[extension]: (offset, size)
            for extension, offset, size in table.members(sample)
        }
        return _Members(self._open(self._heads[tar].path), places)

    def _place(self, index: int) -> tuple[int, int]:
        tar = int(np.searchsorted(self._begins, index, "right")) - 1
        return tar, index - int(self._begins[tar])

    def _open_index(self, tar: int) -> TarIndex:
        try:
            found = TarIndex(self._heads[tar], check=tar not in self._checked)
        except (DataError, BadRecord, OSError):  # Damaged or gone: it can be made again.
            known = self._heads[tar]
            made = make_index(known.path, self._arguments[4])
            if _content(made) != _content(known):
                raise DataError(
                    f"{printable(known.path)} has changed since the run began; start it again"
                ) from None
            self._heads[tar] = made
            found = TarIndex(made)
        self._checked.add(tar)
        return found

    def _notes(self) -> list[str]:
        foreign, problems = (
            sum(getattr(head, name) for head in self._heads) for name in ("foreign", "num_problems")
        )
        notes = [foreign_note(foreign, "the tars")] if foreign else []
        if problems:
            first = self.damage[0]
            notes.append(
                f"damaged in {problems:,} {'place' if problems == 1 else 'places'}, whose samples "
                f"are missing: {visible(first.key)}: {first.reason}"
                f"{' ...' if problems > 1 else ''}; `prolip data validate` lists them"
            )
        return notes

    def _to_look_at(self) -> Iterator[int]:
        """The first samples, then all or, of many, some that are spread over the tars."""
        yield from range(min(LOOK, len(self)))
        if len(self) <= MOST_LOOKED:
            yield from range(LOOK, len(self))
            return
        tars = np.flatnonzero(np.diff(self._begins))
        tars = tars[_spread(len(tars), TARS_LOOKED)]
        each = MOST_LOOKED // len(tars)
        numbers = [self._begins[t] + _spread(self._heads[t].samples, each) for t in tars]
        # One of each tar, then the next ones: what some tars have is seen soon.
        for turn in itertools.zip_longest(*numbers):
            yield from (int(number) for number in turn if number is not None)

    def _check(self, image: str) -> None:
        known = sorted({extension for head in self._heads for extension in head.extensions})
        where, others = printable(self._heads[0].path), len(self._heads) - 1
        if others:
            where += f" and the {others:,} other tar{'s' if others > 1 else ''}"
        have = "have" if others else "has"
        if not len(self):
            first = next(iter(self.damage), None)
            why = f": {first.key}: {first.reason}; decompress or repair it" if first else ""
            raise DataError(f"{where} {have} no sample{why}")
        if not set(known) & set(self._images):
            reason = unknown(image, known, f"no sample of {where} has a member")
            raise DataError(f"{reason}; set data.image_feature")
        for feature in (*self._captions, *self._labels):
            extension, _, field = feature.partition("/")
            if extension not in known or (field and extension != JSON):
                reason = unknown(feature, known, f"no sample of {where} has a member")
                raise DataError(f"{reason}; set data.caption_features")
            if field and not self.seek_fields([field]):
                fields = [f"{JSON}/{name}" for name in self.fields]
                looked = f"none of the {self._fields.looked:,} samples looked at of {where}"
                raise DataError(unknown(feature, fields, f"{looked} has in its JSON a field"))


class _Fields:
    """Names of fields, gathered from as many samples as are asked for."""

    def __init__(self, numbers: Iterator[int], read: Callable[[int], Mapping[str, Any]]):
        self._numbers, self._read = numbers, read
        self.known: dict[str, None] = {}
        self.looked = 0

    def look(self, samples: int) -> bool:
        """Looks at more samples; returns False where none are left."""
        begin = self.looked
        for number in itertools.islice(self._numbers, samples):
            self.looked += 1
            try:
                self.known |= dict.fromkeys(self._read(number))
            except BadRecord:
                continue
        return self.looked > begin


def _spread(count: int, most: int) -> np.ndarray:
    """Numbers below `count`, the first and the last among them, at most so many."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(np.int64))


class _Members:
    """The members of a sample by extension; each is read when it is asked for."""

    def __init__(self, file: OpenFile, places: Mapping[str, tuple[int, int]]):
        self._file, self._places = file, places
        self._json: Mapping[str, Any] | None = None

    def __contains__(self, extension: str) -> bool:
        return extension in self._places

    def __getitem__(self, extension: str) -> bytes:
        return self._file.read(*self._places[extension])

    def json(self) -> Mapping[str, Any]:
        """The JSON, read once; empty where the sample has none."""
        if self._json is None:
            try:
                values = json.loads(self[JSON]) if JSON in self else {}
            except (ValueError, RecursionError) as error:
                raise BadRecord("JSON of the sample is damaged") from error
            if not isinstance(values, dict):
                raise BadRecord("JSON of the sample is no object")
            self._json = values
        return self._json


def _content(head: Head) -> tuple[int, ...]:
    return head.size, head.samples, head.members, head.checksum


def _texts(members: _Members, feature: str) -> list[str]:
    extension, _, field = feature.partition("/")
    if not field:
        return [decoded(members[extension])] if extension in members else []
    value = members.json().get(field)
    listed = value if isinstance(value, list) else [value]
    values = [text for text in listed if text is not None]
    if not all(isinstance(text, str) for text in values):
        raise BadRecord("caption is no text")
    return values


def _label(members: _Members, feature: str) -> str:
    extension, _, field = feature.partition("/")
    if field:
        return label_of(members.json().get(field))
    if extension not in members:
        return ""
    return label_of(members[extension])
