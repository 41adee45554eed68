"""Images of the evaluation split -> data that stands in the page itself."""

import base64
import io
import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from PIL import Image

# Gives the images of these positions in the evaluation split, in their order.
Images = Callable[[Sequence[int]], Sequence[Any]]

THUMBNAIL = 128  # Pixels of the longer side; smaller images stay as they are.


def data_uris(images: Images | None, indices: Iterable[int]) -> dict[int, str]:
    """`data:` addresses by index; empty where there are no images to show."""
    wanted = sorted(set(indices))
    if images is None or not wanted:
        return {}
    return {i: encode(picture) for i, picture in zip(wanted, images(wanted), strict=True)}


def encode(picture: Any) -> str:
    """A uint8 [H, W, 3] array or a PIL image as WebP: small ones exactly, others as thumbnails."""
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(np.asarray(picture))
    image = image.convert("RGB")
    file = io.BytesIO()
    if max(image.size) <= THUMBNAIL:
        image.save(file, "WEBP", lossless=True)
    else:
        image.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
        image.save(file, "WEBP", quality=82)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"


def from_batches(batches: Callable[[], Iterable[np.ndarray]]) -> Images:
    """Images by position out of batches that come in order, reading no further than needed."""

    def images(indices: Sequence[int]) -> list[np.ndarray]:
        wanted = set(indices)
        rows = itertools.islice(itertools.chain.from_iterable(batches()), max(wanted) + 1)
        found = {i: row for i, row in enumerate(rows) if i in wanted}
        return [found[i] for i in indices]

    return images
