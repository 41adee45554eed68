"""Items to what the towers take, in threads that run ahead of the device."""

import collections
import functools
import io
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import NamedTuple

import numpy as np
from PIL import Image

from prolip.data.image import Preprocessing, decode, departure, inference_image, rgb
from prolip.data.records import BadRecord, DataError
from prolip.data.text import clean, is_blank, is_json
from prolip.data.tokenizer import Tokenizer
from prolip.model import MAX_PIXELS
from prolip.retrieval.collections.item import Collection
from prolip.retrieval.embeddings import Failure

THUMBNAIL_QUALITY = 85


class Prepared(NamedTuple):
    """An item as the tower takes it."""

    number: int
    id: str
    uri: str | None
    text: str | None
    thumbnail: bytes | None
    row: np.ndarray  # UInt8[height width 3] or Int32[length].
    departure: str = ""  # From how a viewer shows an image, see `data.image.departure`.


class Piece(NamedTuple):
    """Consecutive items of one part."""

    part: int
    items: range


class PreparedPiece(NamedTuple):
    """What became of a piece: each item is in one of the two."""

    piece: Piece
    good: list[Prepared]
    failures: list[Failure]


Prepare = Callable[[Piece], PreparedPiece]


def images(collection: Collection, preprocessing: Preprocessing, thumbnail: int) -> Prepare:
    """Decodes, resizes and cuts, as `Model.encode_image` does with a file."""

    def one(index: int) -> Prepared:
        item = collection[index]
        image = decode(item.image or b"", MAX_PIXELS)
        departed = departure(image) if preprocessing.form == "released" else ""
        row = inference_image(image, preprocessing.image_size, preprocessing.form)
        small = _thumbnail(image, thumbnail) if thumbnail else None
        return Prepared(index, item.id, item.uri, None, small, row, departed)

    return functools.partial(_each, collection, one)


class TextCounts:
    """Texts that were embedded otherwise than they read, counted by several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._unknown = self._json = 0

    def add(self, text: str, *, unknown: bool) -> None:
        """Counts a text; `unknown` says that it has letters that the tokenizer can't spell."""
        documents = is_json(text)
        with self._lock:
            self._unknown += unknown
            self._json += documents

    def notes(self) -> list[str]:
        """A sentence for each kind of which there are some."""
        notes = []
        if self._unknown:
            notes.append(
                f"texts with letters that the tokenizer can't spell, which are embedded as its "
                f"unknown token: {self._unknown:,}"
            )
        if self._json:
            notes.append(
                f"texts that are JSON, and are embedded as it is, with its braces and names: "
                f"{self._json:,}; embed the field alone (--column json/caption of tars), or put "
                "it into a column of its own"
            )
        return notes


def texts(
    collection: Collection, tokenizer: Tokenizer, counts: TextCounts | None = None
) -> Prepare:
    """Cleans and tokenises, as `Model.encode_text` does."""
    counts = counts or TextCounts()

    def one(index: int) -> Prepared:
        item = collection[index]
        # Lone surrogates, which JSON can spell, have no UTF-8.
        text = (item.text or "").encode("utf8", "replace").decode()
        if is_blank(clean(text, tokenizer.cleaning)):
            raise BadRecord("empty text")
        row = tokenizer([text])
        counts.add(text, unknown=bool(tokenizer.has_unknown(row)[0]))
        return Prepared(index, item.id, item.uri, text, None, row[0])

    return functools.partial(_each, collection, one)


def ahead(
    pieces: Iterable[Piece], prepare: Prepare, pool: Executor, count: int
) -> Iterator[PreparedPiece]:
    """Prepares up to `count` pieces before they are asked for, and gives them in order."""
    pending: collections.deque[Future[PreparedPiece]] = collections.deque()
    for piece in pieces:
        pending.append(pool.submit(prepare, piece))
        if len(pending) >= count:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()


def _each(collection: Collection, one: Callable[[int], Prepared], piece: Piece) -> PreparedPiece:
    good, failures = [], []
    for index in piece.items:
        try:
            good.append(one(index))
        except BadRecord as bad:
            failures.append(Failure(index, collection.id(index), str(bad)))
        except DataError:  # The disk, not the item.
            raise
        except Exception as error:  # One item must not end a run of millions; it is counted.
            reason = f"unexpected {type(error).__name__}"
            failures.append(Failure(index, collection.id(index), reason))
    return PreparedPiece(piece, good, failures)


def _thumbnail(image: Image.Image, size: int) -> bytes | None:
    try:
        image = rgb(image)
    except BadRecord:  # Embedded as the released code reads it; a viewer would show nothing.
        return None
    image.thumbnail((size, size))  # In its place: nothing else needs the image any more.
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=THUMBNAIL_QUALITY)
    return buffer.getvalue()
