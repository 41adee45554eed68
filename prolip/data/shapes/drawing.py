"""Draws a picture of some factors, with nuisances that no caption mentions."""

import colorsys
import io
import math

import numpy as np
from PIL import Image, ImageDraw

from prolip.data.shapes.factors import Values

SIZE, OVERSAMPLING = 64, 4
FULL = SIZE * OVERSAMPLING
HUES = dict(
    red=0.0, orange=0.07, yellow=0.15, green=0.34, cyan=0.5, blue=0.63, purple=0.77, pink=0.9
)
RADII = {"small": 0.065, "medium": 0.095, "large": 0.135}  # Of the picture's side.
CENTRES = {
    "left": (0.28, 0.5),
    "right": (0.72, 0.5),
    "top": (0.5, 0.28),
    "bottom": (0.5, 0.72),
    "centre": (0.5, 0.5),
}
PLAIN = {"white": 245, "grey": 135, "black": 20}
CORNERS = {"square": 4, "diamond": 4, "triangle": 3, "hexagon": 6}
TURNS = {"square": math.pi / 4, "diamond": 0.0, "triangle": -math.pi / 2, "hexagon": 0.0}


def draw(values: Values, random: np.random.Generator) -> bytes:
    """PNG, 64 x 64 RGB, anti-aliased.

    Nuisances: exact place, radius and hue within the value's range, a small turn, brightness of the
    background, phase of its pattern, and pixel noise.
    """
    image = Image.new("RGB", (FULL, FULL))
    pen = ImageDraw.Draw(image)
    _background(pen, values["background"], random)
    for x, y, radius in _places(values, random):
        hue = (HUES[values["colour"]] + random.uniform(-0.012, 0.012)) % 1
        saturation = 0.45 if values["colour"] == "pink" else random.uniform(0.85, 1.0)
        rgb = colorsys.hsv_to_rgb(hue, saturation, random.uniform(0.85, 1.0))
        fill = tuple(round(255 * c) for c in rgb)
        turn = random.uniform(-0.15, 0.15)
        _shape(pen, values["shape"], x * FULL, y * FULL, radius * FULL, turn, fill)
    pixels = np.asarray(image.reduce(OVERSAMPLING), np.float32)
    pixels = pixels + random.normal(0, 3, pixels.shape).astype(np.float32)
    encoded = io.BytesIO()
    # Little compression: noise has little to compress.
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(encoded, "PNG", compress_level=1)
    return encoded.getvalue()


def _places(values: Values, random: np.random.Generator) -> list[tuple[float, float, float]]:
    """Centre and radius of each shape: a row or a column around the group's centre."""
    number = ("one", "two", "three").index(values["count"]) + 1
    x, y = CENTRES[values["position"]]
    x, y = x + random.uniform(-0.04, 0.04), y + random.uniform(-0.04, 0.04)
    radius = RADII[values["size"]] * random.uniform(0.92, 1.08)
    upright = values["position"] in ("left", "right") or (
        values["position"] == "centre" and random.random() < 0.5
    )
    offsets = (np.arange(number) - (number - 1) / 2) * 2.1 * radius
    if upright:
        return [(x, y + offset, radius) for offset in offsets]
    return [(x + offset, y, radius) for offset in offsets]


def _background(pen: ImageDraw.ImageDraw, kind: str, random: np.random.Generator) -> None:
    shift = int(random.integers(-10, 10))
    if kind in PLAIN:
        level = PLAIN[kind] + shift
        pen.rectangle((0, 0, FULL, FULL), fill=(level, level, level))
        return
    dark, light = 95 + shift, 180 + shift
    pen.rectangle((0, 0, FULL, FULL), fill=(light, light, light))
    step = FULL // 8
    phase = int(random.integers(0, step))
    starts = range(-2 * step + phase, FULL + step, step)
    if kind == "striped":
        for x in starts:
            pen.rectangle((x, 0, x + step // 2, FULL), fill=(dark, dark, dark))
        return
    for row, y in enumerate(starts):
        for column, x in enumerate(starts):
            if kind == "checked" and (row + column) % 2:
                pen.rectangle((x, y, x + step - 1, y + step - 1), fill=(dark, dark, dark))
            elif kind == "dotted":
                pen.ellipse((x, y, x + step // 2, y + step // 2), fill=(dark, dark, dark))


def _shape(
    pen: ImageDraw.ImageDraw,
    kind: str,
    x: float,
    y: float,
    radius: float,
    turn: float,
    fill: tuple[int, ...],
) -> None:
    box = (x - radius, y - radius, x + radius, y + radius)
    if kind == "circle":
        pen.ellipse(box, fill=fill)
    elif kind == "ring":
        pen.ellipse(box, outline=fill, width=max(1, round(0.38 * radius)))
    elif kind == "star":
        pen.polygon(_corners(x, y, (radius, 0.42 * radius), 10, turn - math.pi / 2), fill=fill)
    elif kind == "cross":
        arm = 0.3 * radius
        for half in ((radius, arm), (arm, radius)):
            signs = ((-1, -1), (1, -1), (1, 1), (-1, 1))
            flat = [_turned(sx * half[0], sy * half[1], turn) for sx, sy in signs]
            pen.polygon([(x + dx, y + dy) for dx, dy in flat], fill=fill)
    else:
        # A diamond that is turned a little stays one: the turn is far below an eighth.
        corners = _corners(x, y, (radius,), CORNERS[kind], turn + TURNS[kind])
        pen.polygon(corners, fill=fill)


def _corners(
    x: float, y: float, radii: tuple[float, ...], number: int, turn: float
) -> list[tuple[float, float]]:
    angles = [turn + 2 * math.pi * i / number for i in range(number)]
    return [
        (x + radii[i % len(radii)] * math.cos(a), y + radii[i % len(radii)] * math.sin(a))
        for i, a in enumerate(angles)
    ]


def _turned(x: float, y: float, angle: float) -> tuple[float, float]:
    cos, sin = math.cos(angle), math.sin(angle)
    return x * cos - y * sin, x * sin + y * cos
