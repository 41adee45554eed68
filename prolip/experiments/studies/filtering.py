"""(f) Does it pay to leave vague captions out?"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console

from prolip.config import DataConfig
from prolip.curation.filtering import FilterOptions, filter_pairs
from prolip.data.shapes.factors import FACTORS, LEVELS, matches
from prolip.data.sources.choose import open_source, prepare
from prolip.experiments import columns, small
from prolip.experiments.studies import uncertainty
from prolip.experiments.study import Cell, Column, Prepared, Study, Train
from prolip.loading import load
from prolip.retrieval import bulk
from prolip.retrieval.collections.choose import open_collection

KEPT = 0.5
TABLE = "pairs.parquet"
# How the half is chosen -> what `prolip data filter` sorts by; "" does not ask a model.
FILTERS = {
    "all pairs": "",
    "any half": "",
    "half of the fewest matches": "",
    "half by uncertainty": "uncertainty",
}
# The model that is asked: of the same pictures, but trained with all captions of each.
REFERENCE = next(cell for cell in uncertainty.STUDY.cells if cell.name == "shapes: the recipe")


def pairs(cell: Cell, seed: int, folder: Path, train: Train) -> Prepared:
    """Writes the pairs of a seed, and the keys of those that the cell keeps."""
    name = cell.name
    # First: it may be at another process, and is then asked for again.
    reference = train(REFERENCE, seed) if FILTERS[name] else None
    table, number = _write(seed, folder)
    changes: tuple[str, ...] = (f"config.data.mixture=('table:{table}=1.0',)",)
    every = np.arange(len(number))
    kept = every
    if name == "any half":
        kept = np.random.default_rng([seed, 2]).permutation(every)[: round(KEPT * len(every))]
    elif name == "half of the fewest matches":
        kept = np.argsort(number, kind="stable")[: round(KEPT * len(every))]
    elif reference is not None:
        kept = _filtered(FILTERS[name], table, folder, reference)
    metrics = {"pairs": float(len(kept)), "matches": float((number[kept] - 1).mean() / len(number))}
    if len(kept) < len(every):
        keys = folder / "keep.txt"
        keys.write_text("".join(f"{TABLE}::{row}\n" for row in sorted(kept.tolist())))
        changes = (*changes, f"config.data.keep_keys={keys}")
    return Prepared(changes, metrics)


def _write(seed: int, folder: Path) -> tuple[Path, np.ndarray]:
    """A table with one caption a picture, of any level; and its matches in the set."""
    config = DataConfig(name="shapes/full", caption_features=tuple(LEVELS))
    prepare(config)
    source = open_source(config, "train", tuple(FACTORS))
    random = np.random.default_rng([seed, 1])
    rows: list[dict[str, Any]] = []
    pictures: list[Mapping[str, str]] = []
    for index in range(len(source)):
        record = source[index]
        level = int(random.integers(len(LEVELS)))
        texts = record.captions[level]
        text = texts[int(random.integers(len(texts)))]
        own: dict[str, Any] = {name: None for name in LEVELS} | {list(LEVELS)[level]: text}
        rows.append({"image": record.image, "caption": text, **own})
        pictures.append(dict(zip(FACTORS, record.labels, strict=True)))
    path = folder / TABLE
    schema = pa.schema(
        [("image", pa.binary()), ("caption", pa.string()), *((n, pa.string()) for n in LEVELS)]
    )
    pq.write_table(pa.Table.from_pylist(rows, schema), path)
    found = {text: matches(text, pictures).sum() for text in {row["caption"] for row in rows}}
    return path, np.array([found[row["caption"]] for row in rows])


def _filtered(by: str, table: Path, folder: Path, reference: Path) -> np.ndarray:
    model = load(reference)
    sides = []
    for kind, column in (("image", "image"), ("text", "caption")):
        collection = open_collection(str(table), kind=kind, column=column)  # type: ignore[arg-type]
        out = folder / f"{kind}s"
        bulk.embed(model, collection, out, console=Console(quiet=True))
        sides.append(str(out))
    kept = folder / "kept.parquet"
    filter_pairs(sides, kept, FilterOptions(by=by, keep=KEPT))
    keys = pq.read_table(kept)["key"].to_pylist()
    return np.array([int(key.rpartition("::")[2]) for key in keys])


STUDY = Study(
    name="filtering",
    title="Leaving vague captions out, on shapes",
    question=(
        "Of pairs with one caption each, of any generality, is the half with specific captions the "
        "better one to train on, and does a model's uncertainty find it? (arXiv 2505.19614, "
        "section 5.1; HYPE, 2404.17507.) Drawn pairs are the only positives; all cells train as "
        "long."
    ),
    cells=tuple(
        Cell(
            name,
            "shapes",
            (
                *small.shapes(),
                "config.objective.positives=paired",
                "config.objective.inclusion_text_text=0",
                small.EVALUATORS,
            ),
            pairs,
        )
        for name in FILTERS
    ),
    columns=(
        Column("prepared/pairs", "pairs", "", 0),
        Column("prepared/matches", "unannotated matches a pair, of all pictures", "low"),
        *(columns.R_AT_1, columns.MAP_AT_R, columns.MAP_ALL, columns.IMAGE_MAP),
    ),
)
