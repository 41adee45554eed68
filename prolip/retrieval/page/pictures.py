"""The picture of an item, drawn anew: what leaves here is never the bytes of a file."""

import functools
import io
import logging
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from prolip.config import ConfigError
from prolip.data.files.reading import OpenFile, path_inside, read_file
from prolip.data.files.tar_members import members
from prolip.data.image import decode, rgb
from prolip.data.records import BadRecord, DataError
from prolip.model import MAX_PIXELS
from prolip.retrieval.collections.choose import open_collection
from prolip.retrieval.collections.item import Collection

QUALITY = 85
OPEN_TARS = 64
TFDS = "tfds:"
TARS = " ... "  # Between the first and the last of several, see `collections.tars`.
MEMBER = re.compile(r"(?P<tar>.*?\.tar)::(?P<member>.*)", re.IGNORECASE | re.DOTALL)

log = logging.getLogger(__name__)


class _Tar(NamedTuple):
    file: OpenFile
    places: dict[str, tuple[int, int]]  # Offset and size by name.


class Pictures:
    """Finds pictures by what the collection says of them: its thumbnail, or where the item is.

    Only what decodes as an image is shown, and of files only those in the folder that was embedded,
    or none where the manifest names no folder that is there: a collection whose columns were
    tampered with can't make the page give away others.

    Args:
      source: of the collection, from its manifest.
      size: pixels a side at most.
      column: of a table with encoded images, or the feature of a TFDS data set; "" finds it.
      data_dir: of prepared TFDS data.
    """

    def __init__(self, source: str, size: int, column: str = "", data_dir: str = ""):
        self._source, self._size = source, size
        self._column, self._data_dir = column, data_dir
        self._folder = _folder(source)
        self._tar = functools.lru_cache(maxsize=OPEN_TARS)(_open_tar)

    def of(self, uri: str | None, stored: bytes | None) -> bytes | None:
        """JPEG of an item, None where no picture can be found.

        Args:
          uri: where the item is: a path, `shard.tar::member`, `table.parquet::row` or
            `tfds:name:split:index`.
          stored: its thumbnail, which does unless it is damaged.
        """
        places: list[Callable[[], bytes]] = []
        if stored:
            places.append(lambda: stored)
        if uri:
            places.append(lambda: self._read(uri))
        for place in places:
            try:
                return thumbnail(decode(place(), MAX_PIXELS, least=self._size), self._size)
            except BadRecord:
                continue
            except Exception:  # Files may be anything, and one picture must not end a search.
                log.exception("the picture of %r can't be read", uri)
        return None

    def _read(self, uri: str) -> bytes:
        rest = uri.removeprefix(self._source)
        if rest != uri and rest.lstrip(":").isdecimal():  # A row of the one table, or a record.
            return self._row(int(rest.lstrip(":")))
        match = MEMBER.fullmatch(uri)
        if match and not os.path.isfile(uri):
            tar = self._tar(self._path(match["tar"]))
            if match["member"] not in tar.places:
                raise BadRecord("no such member")
            return tar.file.read(*tar.places[match["member"]])
        return read_file(self._path(uri))

    def _path(self, name: str) -> str:
        if self._folder is None:
            raise BadRecord("outside of what was embedded")
        return path_inside(self._folder, name)

    def _row(self, number: int) -> bytes:
        collection = self._collection
        if collection is None or number >= len(collection):
            raise BadRecord("no such row")
        return collection[number].image or b""

    @functools.cached_property
    def _collection(self) -> Collection | None:
        """The table or data set that was embedded; None where it can't be opened any more."""
        if not self._source.startswith(TFDS) and not os.path.isfile(self._source):
            log.warning("no pictures: %s is not there any more", self._source)
            return None
        try:
            return open_collection(
                self._source, kind="image", column=self._column, data_dir=self._data_dir
            )
        except (ConfigError, DataError) as error:
            log.warning("no pictures: %s", error)
            return None


def thumbnail(image: Image.Image, size: int) -> bytes:
    """JPEG with sides of at most `size`, and nothing in it but pixels."""
    image = rgb(image)
    image.thumbnail((size, size))
    image.info = {}  # Comments, places and dates of the file stay behind.
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


def _folder(source: str) -> str | None:
    """The folder that holds what was embedded; None where `source` names none that is there."""
    named, separator, rest = source.partition(TARS)
    paths = [named, rest.rpartition(" (")[0]] if separator else [source]
    if not all(os.path.exists(path) for path in paths):
        return None
    folders = [path if os.path.isdir(path) else os.path.dirname(path) for path in paths]
    common = os.path.realpath(os.path.commonpath([os.path.abspath(f) for f in folders]))
    return None if common == os.path.dirname(common) else common  # Not all of the disk.


def _open_tar(path: str) -> _Tar:
    if not os.path.isfile(path):  # Opening a named pipe would wait for a writer.
        raise BadRecord("tar is missing")
    places: dict[str, tuple[int, int]] = {}
    for member in members(Path(path)):
        if not member.reason:
            places.setdefault(member.name, (member.offset, member.size))
    return _Tar(OpenFile(path), places)
