"""What a picture is made of, and the captions that say some of it.

A caption is of a subset of the factors: it is true of exactly the pictures that have these values.
Equal statements are equal texts, so who matches whom is known without looking at a picture.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

# Factor -> its values. The order is that in which the caption sets below grow.
FACTORS: dict[str, tuple[str, ...]] = {
    "shape": ("circle", "square", "triangle", "star", "cross", "ring", "diamond", "hexagon"),
    "colour": ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink"),
    "count": ("one", "two", "three"),
    "size": ("small", "medium", "large"),
    "position": ("left", "right", "top", "bottom", "centre"),
    "background": ("white", "grey", "black", "striped", "dotted", "checked"),
}
# Levels of captions, from specific to general, and of how many factors they are; 0 is all.
LEVELS = {"all": 0, "three": 3, "two": 2, "one": 1}
TRIPLES = 6  # Of all subsets of three, evenly spread: captions of a picture stay few.

PLACES = {
    "left": "on the left",
    "right": "on the right",
    "top": "at the top",
    "bottom": "at the bottom",
    "centre": "in the centre",
}

Values = Mapping[str, str]  # Factor -> value, of some of the factors.


def combinations() -> list[dict[str, str]]:
    """All pictures that there are but for the nuisances, in a fixed order."""
    return [dict(zip(FACTORS, row, strict=True)) for row in itertools.product(*FACTORS.values())]


def subsets(mentioned: Sequence[str], level: str) -> list[tuple[str, ...]]:
    """The sets of factors that captions of a level are of.

    Args:
      mentioned: factors that captions may mention.
      level: of `LEVELS`.
    """
    factors = [name for name in FACTORS if name in mentioned]
    if level == "all":
        return [tuple(factors)]
    if LEVELS[level] >= len(factors):
        return []  # "all" says as much.
    every = list(itertools.combinations(factors, LEVELS[level]))
    if level == "three" and len(every) > TRIPLES:
        every = [every[i] for i in np.linspace(0, len(every) - 1, TRIPLES).round().astype(int)]
    return every


def caption(values: Values) -> str:
    """The text that says these values and nothing else.

    >>> caption({"shape": "star", "colour": "red", "count": "two", "background": "striped"})
    'two red stars on a striped background'
    """
    noun = values.get("shape", "shape")
    # Without a count the noun must not give it away.
    if values.get("count", "one") != "one":
        noun = "crosses" if noun == "cross" else f"{noun}s"
    words = [values[name] for name in ("count", "size", "colour") if name in values]
    words.append(noun)
    if "position" in values:
        words.append(PLACES[values["position"]])
    if "background" in values:
        words.append(f"on a {values['background']} background")
    return " ".join(words)


def parse(text: str) -> dict[str, str]:
    """What a caption says: the values that `caption` was given.

    Raises:
      ValueError: a text that `caption` does not make.
    """
    words = set(text.split())
    singular = {"crosses": "cross"} | {f"{shape}s": shape for shape in FACTORS["shape"]}
    words |= {singular[word] for word in words & set(singular)}
    found = {
        name: next((value for value in known if value in words), None)
        for name, known in FACTORS.items()
    }
    values = {name: value for name, value in found.items() if value is not None}
    if caption(values) != text:
        raise ValueError(f"{text!r} is not a caption of shapes")
    return values


def matches(text: str, pictures: Iterable[Values]) -> np.ndarray:
    """Bool[pictures]: of which pictures the caption is true."""
    said = parse(text).items()
    return np.array([all(picture[name] == value for name, value in said) for picture in pictures])


def perturbed(
    values: Values, wrong: Sequence[str], probability: float, random: np.random.Generator
) -> dict[str, str]:
    """The values with each of the `wrong` factors replaced by another value with a probability."""
    result = dict(values)
    for name in wrong:
        # Drawn for all factors, so that one knob does not move the other's draws.
        hit, step = random.random() < probability, random.integers(1, len(FACTORS[name]))
        if hit and name in result:
            known = FACTORS[name]
            result[name] = known[(known.index(result[name]) + int(step)) % len(known)]
    return result
