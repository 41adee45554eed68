"""What the filters find of planted vague captions: python benchmarks/planted_captions.py

The caption of each emoji is its name, but for a share of them that get the name of their group, or
"thing" or "picture". Filters drop as many records as were planted: how many of those dropped were
planted, and how many of those planted were dropped. What matches is known: so it is also told how
many unknown matches the filters leave, and how often intervals of an audit hold the known rate.
"""

import argparse
import contextlib
import csv
import io
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from timing import json_argument, print_header, print_row, save

import prolip
from prolip.config import DataConfig
from prolip.curation import measure
from prolip.curation.audit import AuditOptions, Prepared, audit, prepare
from prolip.curation.filtering import FilterOptions, filter_pairs
from prolip.curation.labels import code
from prolip.curation.sampling import draw
from prolip.data.sources.choose import open_source
from prolip.data.text import clean
from prolip.retrieval import bulk
from prolip.retrieval.collections.choose import open_collection

FILTERS = (
    "uncertainty",
    "specificity",
    "inclusion",
    "similarity",
    "similarity - uncertainty",
    "min(similarity, 1 - uncertainty)",
)
ANYTHING = ("thing", "picture")
DESIGNS = ("pairs", "rank", "queries")


class Emoji(NamedTuple):
    """Texts of a split."""

    names: list[str]
    groups: list[str]
    known: list[set[str]]  # All texts of each, cleaned.


class Planted(NamedTuple):
    """Captions of which some were replaced."""

    captions: list[str]
    vague: np.ndarray  # Int[records]: 0 as it was, 1 the group's name, 2 anything.
    matches: np.ndarray  # Bool[captions, records]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", nargs="+", default=["runs/demo"])
    parser.add_argument("--split", default="train")
    parser.add_argument("--share", type=float, default=0.1, help="of planted captions")
    parser.add_argument("--seeds", type=int, default=5, help="plantings")
    parser.add_argument("--audits", type=int, default=200, help="samples of the last planting")
    parser.add_argument("--sample", type=int, default=500, help="labels of an audit")
    json_argument(parser)
    args = parser.parse_args()
    emoji = read(args.split)
    with tempfile.TemporaryDirectory() as folder:
        models = [prolip.load(checkpoint) for checkpoint in args.checkpoint]
        images = [str(Path(folder, f"images_{n}")) for n in range(len(models))]
        for model, out in zip(models, images, strict=True):
            embed(model, f"tfds:emoji:{args.split}", out, kind="image", column="image")
        rows, collections, planted = [], [], None
        for seed in range(args.seeds):
            planted = plant(emoji, args.share, seed)
            texts = [str(Path(folder, f"texts_{seed}_{n}")) for n in range(len(models))]
            write(planted, Path(folder))
            for model, out in zip(models, texts, strict=True):
                embed(model, str(Path(folder, "texts.csv")), out, column="text", id_column="id")
            collections = [x for pair in zip(images, texts, strict=True) for x in pair]
            rows += [filtered(by, collections[:2], planted, Path(folder)) for by in FILTERS]
        found = [averaged(by, rows) for by in FILTERS]
        show_filters(found)
        print()
        audits = audited(collections, planted, args.sample, args.audits, Path(folder))
        show_audits(audits, args.audits)
    save(args.json, [*found, *audits])


def read(split: str) -> Emoji:
    """All texts of a split; makes the data set where it is not there yet."""
    features = ("name", "keywords", "subgroup", "group")
    source = open_source(DataConfig(name="emoji", caption_features=features), split)
    captions = [source[i].captions for i in range(len(source))]
    known = [{clean(t, "canonicalize") for texts in c for t in texts} for c in captions]
    return Emoji([c[0][0] for c in captions], [c[3][0] for c in captions], known)


def plant(emoji: Emoji, share: float, seed: int) -> Planted:
    """Replaces captions: half of the share by groups, half by what is true of any picture."""
    rng = np.random.default_rng([seed, 1])  # Not the numbers that draw samples.
    count = len(emoji.names)
    vague = np.zeros(count, np.int64)
    chosen = rng.permutation(count)[: round(share * count)]
    vague[chosen] = 1 + np.arange(len(chosen)) % 2
    captions = [
        (name, group, ANYTHING[int(rng.integers(2))])[kind]
        for name, group, kind in zip(emoji.names, emoji.groups, vague.tolist(), strict=True)
    ]
    cleaned = [clean(caption, "canonicalize") for caption in captions]
    matches = np.array([[caption in known for known in emoji.known] for caption in cleaned])
    matches[vague == 2] = True
    return Planted(captions, vague, matches)


def write(planted: Planted, folder: Path) -> None:
    """The captions under the ids of the images, and all pairs that are valid."""
    with (folder / "texts.csv").open("w", newline="", encoding="utf8") as file:
        csv.writer(file).writerows([("id", "text"), *enumerate(planted.captions)])
    text, image = (pa.array([str(i) for i in x.tolist()]) for x in np.nonzero(planted.matches))
    pq.write_table(pa.table({"text": text, "image": image}), folder / "known.parquet")


def embed(model: prolip.Model, data: str, out: str, **options: str) -> None:
    """`prolip embed`, in silence."""
    silent = Console(file=io.StringIO())
    bulk.embed(model, open_collection(data, **options), out, console=silent)  # type: ignore[arg-type]


def filtered(by: str, collections: list[str], planted: Planted, folder: Path) -> dict:
    """Precision and recall of what a filter drops, and the unknown matches of what it keeps."""
    share = (planted.vague > 0).mean()
    out = folder / "kept.parquet"
    filter_pairs(collections, out, FilterOptions(by=by, keep=1 - share))
    kept = np.isin(np.arange(len(planted.vague)), pq.read_table(out)["key"].to_numpy().astype(int))
    rate = unknown(planted.matches)
    return {
        "filter": by,
        "precision": (planted.vague[~kept] > 0).mean(),
        "recall": (~kept)[planted.vague > 0].mean(),
        "recall_groups": (~kept)[planted.vague == 1].mean(),
        "recall_anything": (~kept)[planted.vague == 2].mean(),
        "chance": share,
        "unknown": rate,
        "unknown_kept": unknown(planted.matches[np.ix_(kept, kept)]),
    }


def unknown(matches: np.ndarray) -> float:
    """Share of the pairs that are not annotated and match all the same."""
    count = len(matches)
    return (matches.sum() - np.trace(matches)) / (count * (count - 1))


def averaged(by: str, rows: list[dict]) -> dict:
    """Mean over plantings."""
    own = [row for row in rows if row["filter"] == by]
    return {
        key: by if key == "filter" else float(np.mean([row[key] for row in own])) for key in own[0]
    }


def audited(
    collections: list[str], planted: Planted, size: int, audits: int, folder: Path
) -> list[dict]:
    """How often intervals of samples hold the rate of matches among all candidates."""
    options = AuditOptions(known=str(folder / "known.parquet"), sample=size)
    with contextlib.redirect_stdout(io.StringIO()):
        audit(collections, folder / "audit", options)
    prepared = prepare(collections, options)
    return [coverage(prepared, planted, size, design, audits) for design in DESIGNS]


def coverage(prepared: Prepared, planted: Planted, size: int, design: str, audits: int) -> dict:
    """Of one design."""
    asked = prepared.asked
    query = prepared.queries[asked.pool.query]
    # Rows of texts and images are those of the records.
    match = planted.matches[query, asked.pool.target]
    held: dict[str, list[bool]] = {}
    values, widths = [], []
    for seed in range(audits):
        sample = draw(asked.pool.query, asked.pool.best_rank, size, design, seed)
        label = match[sample.pair].astype(np.int64)
        found = measure.estimates(asked, sample, label, design, 0.95, seed)["match_rate"]
        values.append(found["value"])
        for name in ("wilson", "clopper_pearson", "bootstrap"):
            if name in found:
                low, high = found[name]
                held.setdefault(name, []).append(low <= match.mean() <= high)
        low, high = found.get("wilson", found["bootstrap"])
        widths.append(high - low)
    known = planted.matches[prepared.queries].copy()
    known[np.arange(len(known)), prepared.image[prepared.queries]] = False
    rows, columns = np.nonzero(known)
    complete = measure.truth(asked, np.sort(code(rows, columns, asked.images)))["completeness"]
    return {
        "design": design,
        "truth": float(match.mean()),
        "estimate": float(np.mean(values)),
        "width": float(np.mean(widths)),
        "completeness": complete,
        **{f"holds_{name}": float(np.mean(inside)) for name, inside in held.items()},
    }


def show_filters(rows: list[dict]) -> None:
    names = ("precision", "recall", "recall_groups", "recall_anything")
    print(
        f"chance {rows[0]['chance']:.2f}; unknown matches of all pairs {rows[0]['unknown']:.2%}\n"
    )
    print_header("filter", "precision", "recall", "groups", "anything", "unknown matches kept")
    for row in rows:
        cells = [f"{row[name]:.2f}" for name in names]
        print_row(f"`{row['filter']}`", *cells, f"{row['unknown_kept']:.2%}")


def show_audits(rows: list[dict], audits: int) -> None:
    print(f"{audits} samples; the pool has {rows[0]['completeness']:.0%} of all matches\n")
    print_header("design", "true", "mean estimate", "mean width", "intervals that hold the truth")
    for row in rows:
        held = ", ".join(
            f"{name.removeprefix('holds_')} {value:.1%}"
            for name, value in row.items()
            if name.startswith("holds_")
        )
        rates = [f"{row[name]:.2%}" for name in ("truth", "estimate", "width")]
        print_row(row["design"], *rates, held)


if __name__ == "__main__":
    main()
