"""A collection is numbered items; a number always stands for the same item."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from prolip.data.records import DataError
from prolip.retrieval.embeddings import Kind


class Item(NamedTuple):
    """What is embedded: an image or a text."""

    id: str
    uri: str | None  # Where people find it.
    image: bytes | None  # Encoded.
    text: str | None


class Collection(Protocol):
    """Random access to items, from many threads."""

    @property
    def kind(self) -> Kind:
        """What all items are."""

    @property
    def source(self) -> str:
        """Where they come from, for people."""

    @property
    def notes(self) -> Sequence[str]:
        """Sentences on what was inferred, and on what is no item."""

    def __len__(self) -> int: ...

    def id(self, index: int) -> str:
        """Unique among the good items; given for bad ones too, to name them."""

    def __getitem__(self, index: int) -> Item:
        """Raises BadRecord if the item can't be read."""

    def fingerprint(self) -> str:
        """Tells whether numbers stand for the same items as before, without reading them all."""


def check_unique(ids: pa.Array, where: str) -> None:
    """Raises DataError that names the first id that stands for two items."""
    if pc.count_distinct(ids).as_py() == len(ids):
        return
    first: dict[str, int] = {}
    for row, id_ in enumerate(ids):
        value = id_.as_py()
        if value in first:
            raise DataError(
                f"{where}: id {value!r} stands for items {first[value]} and {row}; ids must be "
                "unique"
            )
        first[value] = row
