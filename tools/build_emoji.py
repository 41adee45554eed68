"""Builds `prolip/data/emoji/emoji.parquet` from three Debian packages (bookworm).

    apt-get install fonts-noto-color-emoji unicode-data unicode-cldr-core
    pip install 'prolip[build-emoji]'
    python tools/build_emoji.py

Every fully-qualified emoji of `emoji-test.txt` whose glyph the font has becomes one row. Bitmaps
come from the font's CBDT table (136 x 128 PNG with alpha), are laid on a white square and resized;
glyphs of sequences are found through the font's own GSUB ligatures, so no text shaper is needed.
The pixels and words depend on the input files alone: no randomness, no clock, no network.
"""

import argparse
import collections
import io
import pathlib
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from fontTools.ttLib import TTFont
from PIL import Image

VARIATION_SELECTOR = 0xFE0F  # Asks for the coloured form; the font has only that.
SKIN_TONES = range(0x1F3FB, 0x1F400)
OUTPUT = pathlib.Path(__file__).parents[1] / "prolip" / "data" / "emoji" / "emoji.parquet"
ENTRY = re.compile(r"([0-9A-F ]+?)\s*; fully-qualified\s*# \S+ E[\d.]+ (.*)")
SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "emoji": pa.string(),
        "name": pa.string(),
        "keywords": pa.list_(pa.string()),
        "group": pa.string(),
        "subgroup": pa.string(),
        "skin_tone": pa.bool_(),
        "same_image": pa.int32(),
        "family": pa.int32(),
        "image": pa.binary(),
    }
)


class Entry(NamedTuple):
    """One line of `emoji-test.txt`."""

    codepoints: tuple[int, ...]
    name: str
    group: str
    subgroup: str

    @property
    def has_skin_tone(self) -> bool:
        return any(c in SKIN_TONES for c in self.codepoints)


def read_entries(path: pathlib.Path) -> Iterator[Entry]:
    """Fully-qualified emoji in the order of the file."""
    group = subgroup = ""
    for line in path.read_text(encoding="utf8").splitlines():
        if line.startswith("# group: "):
            group = line.removeprefix("# group: ").strip()
        elif line.startswith("# subgroup: "):
            subgroup = line.removeprefix("# subgroup: ").strip()
        elif match := ENTRY.match(line):
            codepoints = tuple(int(c, 16) for c in match[1].split())
            yield Entry(codepoints, match[2].strip(), group, subgroup)


def read_keywords(cldr: pathlib.Path) -> dict[str, list[str]]:
    """English keywords by emoji without variation selectors."""
    keywords = {}
    for folder in ("annotations", "annotationsDerived"):
        root = ET.parse(cldr / "common" / folder / "en.xml").getroot()
        for node in root.iter("annotation"):
            if node.get("type") != "tts" and node.text:
                key = (node.get("cp") or "").replace(chr(VARIATION_SELECTOR), "")
                keywords[key] = [word.strip() for word in node.text.split("|")]
    return keywords


class Glyphs:
    """Bitmaps of a colour font, by code points."""

    def __init__(self, path: pathlib.Path):
        font = TTFont(path)
        self.version = font["name"].getDebugName(5)
        self._names = font.getBestCmap()
        self._bitmaps = font["CBDT"].strikeData[0]
        self._ligatures: dict[tuple[str, ...], str] = {}
        table = font["GSUB"].table
        features = table.FeatureList.FeatureRecord
        for index in sorted({i for f in features for i in f.Feature.LookupListIndex}):
            for subtable in table.LookupList.Lookup[index].SubTable:
                rules = getattr(getattr(subtable, "ExtSubTable", subtable), "ligatures", {})
                for first, ligatures in rules.items():
                    for rule in ligatures:
                        self._ligatures.setdefault((first, *rule.Component), rule.LigGlyph)

    def image(self, codepoints: tuple[int, ...], size: int) -> Image.Image | None:
        """The glyph on white, `size` pixels a side; None if the font lacks it."""
        parts = tuple(self._names.get(c) for c in codepoints if c != VARIATION_SELECTOR)
        name = parts[0] if len(parts) == 1 else self._ligatures.get(parts)
        if name not in self._bitmaps:
            return None
        canvas = Image.new("RGBA", (136, 136), "white")
        glyph = Image.open(io.BytesIO(self._bitmaps[name].imageData)).convert("RGBA")
        canvas.alpha_composite(glyph, (0, 4))
        return canvas.convert("RGB").resize((size, size), Image.Resampling.LANCZOS)


def families(entries: list[Entry], same_image: list[int]) -> list[int]:
    """For each row, the first row of its family, which a split must not divide.

    A family has an emoji, its skin tones, and whatever has the same pixels as one of them. A
    sequence such as "kiss: person, person, light skin tone, dark skin tone" exists only with tones:
    it belongs to "kiss".
    """
    toneless = {e.name: i for i, e in enumerate(entries) if not e.has_skin_tone}
    parent = list(range(len(entries)))

    def root(row: int) -> int:
        while parent[row] != row:
            row = parent[row]
        return row

    def join(a: int, b: int) -> None:
        a, b = sorted((root(a), root(b)))
        parent[b] = a

    for row, entry in enumerate(entries):
        join(row, same_image[row])
        if entry.has_skin_tone:
            base, _, modifiers = entry.name.partition(": ")
            others = [m for m in modifiers.split(", ") if not m.endswith("skin tone")]
            full = f"{base}: {', '.join(others)}" if others else base
            join(row, toneless[full if full in toneless else base])
    return [root(row) for row in range(len(entries))]


def encode(image: Image.Image) -> bytes:
    """Lossless WebP: a quarter smaller than optimised PNG on these pictures."""
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", lossless=True, exact=True, method=6, quality=100)
    return buffer.getvalue()


def build(unicode: pathlib.Path, font: pathlib.Path, size: int) -> tuple[pa.Table, list[str]]:
    """The table and the names of emoji that the font lacks."""
    glyphs = Glyphs(font)
    keywords = read_keywords(unicode / "cldr")
    columns: dict[str, list[Any]] = collections.defaultdict(list)
    entries: list[Entry] = []
    missing: list[str] = []
    first_with: dict[bytes, int] = {}
    for entry in read_entries(unicode / "emoji" / "emoji-test.txt"):
        image = glyphs.image(entry.codepoints, size)
        if image is None:
            missing.append(entry.name)
            continue
        text = "".join(map(chr, entry.codepoints))
        columns["id"].append("-".join(f"{c:04X}" for c in entry.codepoints))
        columns["emoji"].append(text)
        columns["name"].append(entry.name)
        columns["keywords"].append(keywords.get(text.replace(chr(VARIATION_SELECTOR), ""), []))
        columns["group"].append(entry.group)
        columns["subgroup"].append(entry.subgroup)
        columns["skin_tone"].append(entry.has_skin_tone)
        columns["same_image"].append(first_with.setdefault(image.tobytes(), len(entries)))
        columns["image"].append(encode(image))
        entries.append(entry)
    columns["family"] = families(entries, columns["same_image"])
    table = pa.table({name: columns[name] for name in SCHEMA.names}, schema=SCHEMA)
    facts = {
        "image": f"lossless WebP, {size} x {size} RGB on white",
        "font": glyphs.version,
        "emoji": "15.0",
        "cldr": "41",
        "license_image": "OFL-1.1",
        "license_text": "Unicode-DFS-2016",
    }
    return table.replace_schema_metadata(facts), missing


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--out", type=pathlib.Path, default=OUTPUT)
    parser.add_argument("--unicode", type=pathlib.Path, default="/usr/share/unicode")
    font = "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf"
    parser.add_argument("--font", type=pathlib.Path, default=font)
    args = parser.parse_args()
    table, missing = build(args.unicode, args.font, args.size)
    pq.write_table(table, args.out, compression="zstd", compression_level=19)
    print(f"{len(table)} emoji, {args.out.stat().st_size} bytes in {args.out}; no glyph: {missing}")


if __name__ == "__main__":
    main()
