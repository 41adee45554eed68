"""What the page asks: a query is embedded once, and searched again whenever a setting changes."""

import base64
import binascii
import collections
import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from prolip.data.image import decode, departure
from prolip.data.records import BadRecord, DataError
from prolip.data.text import clean, is_blank
from prolip.gaussian import Gaussian
from prolip.model import MAX_PIXELS
from prolip.retrieval import index_files
from prolip.retrieval.answers import Answer, Hit
from prolip.retrieval.index import Index
from prolip.retrieval.page.pictures import Pictures, thumbnail
from prolip.retrieval.queries import as_gaussian, check_model
from prolip.retrieval.rankings import By

if TYPE_CHECKING:
    from prolip.model import Model

MAX_UPLOAD = 20 * 2**20  # Bytes of an image that is asked for.
TOO_LARGE = "too large"  # What the page sends instead of a larger one.
MAX_WORDS = 10_000  # Characters of a caption; towers cut texts much sooner.
QUERY_PICTURE = 160  # Pixels a side.
KEPT = 4096  # Pictures in memory: a moved slider shows mostly the same ones.
# Texts that say next to nothing: what a query's uncertainty can come to.
VAGUE = (".", "a photo", "a picture of something", "thing")


@dataclasses.dataclass(frozen=True)
class Asked:
    """A query with its embedding."""

    gaussian: Gaussian  # NumPy float32 [1 dim]
    text: str | None = None
    picture: bytes | None = None  # JPEG of an image.
    departure: str = ""  # From `picture` in what was embedded.


@dataclasses.dataclass(frozen=True)
class Settings:
    """How it is searched."""

    by: By = "csd"
    k: int = 20
    max_item_uncertainty: float = math.inf
    max_query_uncertainty: float = math.inf


@dataclasses.dataclass(frozen=True)
class Found:
    """An answer with all that is shown of it."""

    asked: Asked
    settings: Settings
    answer: Answer
    pictures: tuple[bytes | None, ...]  # JPEG of each hit.
    left_out: int  # Items above the limit.


class Desk:
    """A collection with the model that asks it.

    Args:
      directory: of an indexed collection.
      model: the one that made it.
      pictures: of its items.
      approximate: ask the graph for the ranking that it was built for.

    Raises:
      DataError: there is no index, no such graph, or it is another model.
    """

    def __init__(
        self, directory: Path, model: "Model", pictures: Pictures, *, approximate: bool = False
    ):
        self._index = index = Index.open(directory)
        assert index.manifest is not None and index.description is not None  # As it was opened.
        self.manifest, self._model, self._pictures = index.manifest, model, pictures
        check_model(model, self.manifest, images=True)
        if self.takes_text:
            check_model(model, self.manifest, images=False)
        graph = index.description.approximate
        if approximate and graph is None:
            raise DataError(f"there is no graph: run `prolip index {directory} --approximate hnsw`")
        self._graph = graph.by if approximate and graph is not None else None
        folder = directory / index_files.FOLDER / index.description.folder
        self.uncertainties = np.sort(np.fromfile(folder / index_files.UNCERTAINTY, "<f4"))
        if not len(self.uncertainties):
            raise DataError(f"{directory} has no item")
        self._kept: collections.OrderedDict[int, bytes | None] = collections.OrderedDict()

    @property
    def takes_text(self) -> bool:
        """Whether captions can be asked for."""
        return self._model.has_tokenizer

    def vaguest(self) -> float:
        """About the highest uncertainty that a query has; compiles the towers on the way."""
        size = self._model.preprocessing.image_size
        grey = np.full((size, size, 3), 128, np.uint8)
        queries = [self._model.encode_image([grey])]
        if self.takes_text:  # One by one, as they will be asked.
            cleaning = self._model.tokenizer.cleaning
            vague = [text for text in VAGUE if not is_blank(clean(text, cleaning))]
            queries += [self._model.encode_text([text]) for text in vague]
        return max(float(np.exp(query.log_var).sum()) for query in queries)

    def ask_text(self, text: str) -> Asked:
        """Raises DataError with a sentence if there is nothing to ask."""
        text = text.strip()
        if not text:
            raise DataError("Type a caption first.")
        if len(text) > MAX_WORDS:
            raise DataError(f"The caption has more than {MAX_WORDS:,} characters.")
        # Lone surrogates, which JSON can spell, have no UTF-8.
        text = text.encode("utf8", "replace").decode()
        return Asked(self._embedded(text), text=text)

    def ask_image(self, address: str) -> Asked:
        """An image in a `data:` URL, as browsers read files.

        Raises:
          DataError: it can't be used; a sentence says why.
        """
        header, comma, body = address.partition(",")
        if address == TOO_LARGE or len(body) > MAX_UPLOAD * 4 // 3 + 4:
            raise DataError(f"The image file has more than {MAX_UPLOAD >> 20} MiB.")
        if not header.startswith("data:") or not header.endswith(";base64") or not comma:
            raise DataError("This is not an image file.")
        try:
            image = decode(base64.b64decode(body, validate=True), MAX_PIXELS)
            shown = thumbnail(image, QUERY_PICTURE)
        except binascii.Error as error:
            raise DataError("The image was damaged on its way here: choose it again.") from error
        except BadRecord as error:
            raise DataError(f"This image can't be used: {error}.") from error
        departed = departure(image) if self.manifest.model.image_form == "released" else ""
        return Asked(self._embedded(image), picture=shown, departure=departed)

    def search(self, asked: Asked, settings: Settings) -> Found:
        """Raises DataError if the collection does not allow the ranking."""
        [answer] = self._index.search(
            asked.gaussian,
            settings.k,
            by=settings.by,
            max_query_uncertainty=settings.max_query_uncertainty,
            max_item_uncertainty=settings.max_item_uncertainty,
            approximate=self._graph == settings.by,
        )
        limit = np.float64(settings.max_item_uncertainty)
        left_out = int((self.uncertainties > limit).sum())
        return Found(asked, settings, answer, self._pictures_of(answer.hits), left_out)

    def rank(self, uncertainty: float) -> float:
        """Share of the items that are more certain."""
        return float(np.searchsorted(self.uncertainties, uncertainty)) / len(self.uncertainties)

    def _embedded(self, query: str | Image.Image) -> Gaussian:
        return as_gaussian(query, self._index.dim, self._model, self.manifest)

    def _pictures_of(self, hits: Sequence[Hit]) -> tuple[bytes | None, ...]:
        if self.manifest.kind != "image":
            return (None,) * len(hits)
        new = [hit for hit in hits if hit.row not in self._kept]
        stored = self._index.thumbnails([hit.row for hit in new])
        for hit, thumb in zip(new, stored, strict=True):
            self._kept[hit.row] = self._pictures.of(hit.uri, thumb)
        pictures = tuple(self._kept[hit.row] for hit in hits)
        for hit in hits:
            self._kept.move_to_end(hit.row)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return pictures
