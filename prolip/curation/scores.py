"""What a pair of an image and a text can be kept or dropped by."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from prolip.blocks import in_blocks
from prolip.config import ConfigError
from prolip.curation.embedded import Embedded, gaussian
from prolip.gaussian import inclusion_paired, log_overlap

REFERENCES = 256  # Images that a text's specificity is measured by.
ROWS = 8192  # Pairs at a time.


class Pairs(NamedTuple):
    """Pairs of an embedded data set; one side is None where only the other is embedded."""

    images: Embedded | None
    texts: Embedded | None
    image: np.ndarray  # Int[pairs], rows of the images.
    text: np.ndarray  # Int[pairs], rows of the texts.
    seed: int  # Of the references.


class Score(NamedTuple):
    """A number for each pair, and which end of it is good."""

    of: Callable[[Pairs], np.ndarray]  # Float32 or float64[pairs]
    high_is_good: bool
    needs: tuple[str, ...]  # image, text.


def similarity(pairs: Pairs) -> np.ndarray:
    """Float32[pairs]: product of the means, the CLIP score (arXiv 2111.02114)."""
    assert pairs.images is not None and pairs.texts is not None
    images, texts = pairs.images.mean, pairs.texts.mean
    parts = [
        np.einsum("nd,nd->n", images[pairs.image[rows]], texts[pairs.text[rows]])
        for rows in _slices(len(pairs.image))
    ]
    return np.concatenate(parts)


def own_inclusion(pairs: Pairs) -> np.ndarray:
    """Float32[pairs]: the inclusion test of the image in its text; above zero where inside.

    Source: ProLIP, arXiv 2410.18857, section 3.3.
    """
    assert pairs.images is not None and pairs.texts is not None
    parts = [
        np.asarray(
            inclusion_paired(
                gaussian(pairs.images, pairs.image[rows]), gaussian(pairs.texts, pairs.text[rows])
            )
        )
        for rows in _slices(len(pairs.image))
    ]
    return np.concatenate(parts)


def specificity(pairs: Pairs) -> np.ndarray:
    """Float32[pairs]: how far images that are drawn from all are from lying inside the text.

    It is minus the mean over them of `prolip.gaussian.log_overlap(image, text)`, one side of the
    inclusion test, which a caption of anything has high. The two sides together say which is the
    wider, in units that grow as variances shrink, so that their mean says little. The idea is that
    of HYPE (arXiv 2404.17507), with Gaussians in the place of cones.
    """
    assert pairs.images is not None and pairs.texts is not None
    rng = np.random.default_rng(pairs.seed)
    drawn = rng.permutation(len(pairs.images))[:REFERENCES]
    references = gaussian(pairs.images, np.sort(drawn))
    rows = np.unique(pairs.text)
    mean = np.empty(len(pairs.texts), np.float32)
    for some in _slices(len(rows)):
        overlap = in_blocks(log_overlap, references, gaussian(pairs.texts, rows[some]))
        mean[rows[some]] = -overlap.mean(0)
    return mean[pairs.text]


def _text_uncertainty(pairs: Pairs) -> np.ndarray:
    assert pairs.texts is not None
    return pairs.texts.uncertainty[pairs.text]


def _image_uncertainty(pairs: Pairs) -> np.ndarray:
    assert pairs.images is not None
    return pairs.images.uncertainty[pairs.image]


SCORES: Mapping[str, Score] = {
    "uncertainty": Score(_text_uncertainty, False, ("text",)),
    "image_uncertainty": Score(_image_uncertainty, False, ("image",)),
    "similarity": Score(similarity, True, ("image", "text")),
    "inclusion": Score(own_inclusion, True, ("image", "text")),
    "specificity": Score(specificity, True, ("image", "text")),
}


def score(name: str, pairs: Pairs) -> np.ndarray:
    """Float64[pairs]: one of `SCORES`.

    Raises:
      ConfigError: it needs a side that is not there.
      DataError: it needs a variance of each dimension.
    """
    there = {"image": pairs.images is not None, "text": pairs.texts is not None}
    for side in SCORES[name].needs:
        if not there[side]:
            raise ConfigError(f"--by {name} needs embedded {side}s too; name their collection")
    return SCORES[name].of(pairs).astype(np.float64)


def _slices(count: int) -> list[slice]:
    return [slice(start, start + ROWS) for start in range(0, count, ROWS)]
