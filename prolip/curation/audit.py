"""From embedded collections to what an audit writes.

candidates.parquet   the pool: text, image, and the rank by each model
label.html           a page on which a person labels the sample
report.json, .md     the figures, once there are labels
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from prolip.config import ConfigError
from prolip.curation import label_page, labels, measure, report
from prolip.curation.embedded import canonical, distinct_images, image_of_text
from prolip.curation.labels import NONE
from prolip.curation.measure import Asked
from prolip.curation.models import Embedder, rankings, read_pairs
from prolip.curation.pool import annotated_found, pool
from prolip.curation.sampling import Design, Sample, draw
from prolip.data.records import DataError
from prolip.workdir import write_whole

MOST_NAMED = 20  # Underspecified texts.


@dataclasses.dataclass(frozen=True)
class AuditOptions:
    """How a data set is audited."""

    k: int = 25  # Images of a text by each model that become candidates; ECCV Caption's number.
    sample: int = 500  # Candidates that are labelled.
    design: Design = "pairs"
    seed: int = 0
    max_queries: int = 10_000  # Texts that are asked, drawn at random from all.
    confidence: float = 0.95
    labels: str = ""  # A file that the page saved.
    known: str = ""  # A table of valid pairs, or "equal-texts"; they label the sample.


class Prepared(NamedTuple):
    """Candidates and sample; a function of the collections, the options and the seed."""

    models: list[Embedder]
    queries: np.ndarray  # Int64[queries], rows of the first model's texts.
    image: np.ndarray  # Int64[texts], number of the image of each text; -1 has none.
    numbers: np.ndarray  # Int64[rows], number of the image of each row; copies have the same.
    rows: np.ndarray  # Int64[images], first row of each image.
    texts: list[str]  # Of all rows, as they are compared.
    asked: Asked
    sample: Sample
    found: list[float]  # Share of annotated pairs in the pool, then by each model.
    notes: list[str]

    def ids(self, pair: int) -> labels.Pair:
        """Of the text and the image of a pair of the pool."""
        first, candidates = self.models[0], self.asked.pool
        row = self.queries[candidates.query[pair]]
        return first.texts.ids[row], first.images.ids[self.rows[candidates.target[pair]]]


def audit(directories: Sequence[str], out: Path, options: AuditOptions) -> str:
    """Audits a data set and writes the files named above.

    Args:
      directories: collections of `prolip embed`: images and texts of the same records by one
        model, and of more models in any order.
      out: folder that the files go to.
      options: see there.

    Returns:
      What there is to say, as text: the report, or what to do for one.

    Raises:
      ConfigError: an option is out of bounds, or a collection has no partner.
      DataError: the collections don't belong together, or labels are of another sample.
    """
    _check(options)
    prepared = prepare(directories, options)
    out.mkdir(parents=True, exist_ok=True)
    _write_candidates(out / "candidates.parquet", prepared)
    pairs = [prepared.ids(pair) for pair in prepared.sample.pair.tolist()]
    first, sampled = prepared.models[0], prepared.sample.pair
    pictured = label_page.write(
        out / "label.html",
        first.texts,
        prepared.queries[prepared.asked.pool.query[sampled]],
        first.images,
        prepared.rows[prepared.asked.pool.target[sampled]],
    )
    figures = about(prepared, options)
    label, known = _labels(prepared, options, pairs)
    judged = label >= labels.NO
    if judged.any():
        figures["estimates"] = measure.estimates(
            prepared.asked, prepared.sample, label, options.design, options.confidence, options.seed
        )
    if known is not None:
        figures["truth"] = measure.truth(prepared.asked, known)
    figures["underspecified"] = _underspecified(prepared, label, known)
    if not pictured:
        figures["notes"].append(
            "the page shows no pictures: embed the images with --thumbnail 128 to have them"
        )
    write_whole(out / "report.json", report.as_json(figures))
    text = report.as_markdown(figures)
    write_whole(out / "report.md", text)
    return text


def prepare(directories: Sequence[str], options: AuditOptions) -> Prepared:
    """Candidates and sample.

    Raises:
      ConfigError, DataError: see `audit`.
    """
    models = read_pairs(directories)
    first = models[0]
    row = image_of_text(first.images, first.texts)
    numbers, rows = distinct_images(first.images)
    image = np.where(row >= 0, numbers[row], -1)
    linked = np.flatnonzero(image >= 0)
    notes = []
    if len(rows) < len(numbers):
        notes.append(
            f"images repeat: {len(numbers):,} rows hold {len(rows):,} images, by path or "
            "embedding; each image counts once"
        )
    if len(linked) < len(image):
        notes.append(f"{len(image) - len(linked):,} texts have no image and are left out")
    queries = linked
    if len(linked) > options.max_queries:
        rng = np.random.default_rng([options.seed, 1])
        queries = np.sort(rng.choice(linked, options.max_queries, replace=False))
        notes.append(f"{len(queries):,} texts are asked, drawn from {len(linked):,}")
    ranked, lacking = rankings(models, queries, rows, options.k)
    candidates = pool(ranked, image[queries])
    if not len(candidates.query):
        raise DataError("there are no candidates: each text has but its own image")
    texts = canonical(first.texts.texts)
    _, cluster = np.unique([texts[row] for row in queries], return_inverse=True)
    asked = Asked(candidates, cluster, len(rows), len(linked))
    drawn = draw(
        candidates.query, candidates.best_rank, options.sample, options.design, options.seed
    )
    found = annotated_found(ranked, image[queries])
    notes += lacking
    return Prepared(models, queries, image, numbers, rows, texts, asked, drawn, found, notes)


def about(prepared: Prepared, options: AuditOptions) -> dict[str, Any]:
    """What is known without any label; JSON."""
    pairs = len(prepared.asked.pool.query)
    return {
        "models": [model.name for model in prepared.models],
        "images": prepared.asked.images,
        "texts": len(prepared.image),
        "queries": prepared.asked.queries,
        "distinct_queries": int(prepared.asked.cluster.max()) + 1,
        "options": {
            name: value
            for name, value in dataclasses.asdict(options).items()
            if name not in ("labels", "known")
        },
        "pool": {
            "pairs": pairs,
            "per_text": pairs / prepared.asked.queries,
            "annotated_found": prepared.found[0],
            "annotated_found_by": prepared.found[1:],
        },
        "sampled": len(prepared.sample.pair),
        "notes": list(prepared.notes),
    }


def _labels(
    prepared: Prepared, options: AuditOptions, pairs: Sequence[labels.Pair]
) -> tuple[np.ndarray, np.ndarray | None]:
    """Int[sampled] labels; and all known matches that are not annotated, if any are known."""
    asked, sample = prepared.asked, prepared.sample
    if options.labels:
        return labels.read_labels(Path(options.labels).expanduser(), pairs), None
    if not options.known:
        return np.full(len(pairs), NONE), None
    first = prepared.models[0]
    if options.known == labels.EQUAL_TEXTS:
        known = labels.equal_text_codes(
            prepared.texts, prepared.image, prepared.queries, asked.images
        )
    else:
        path = Path(options.known).expanduser()
        images = dict(zip(first.images.ids, prepared.numbers.tolist(), strict=True))
        known = labels.known_codes(path, first.texts.ids, images, prepared.queries, asked.images)
    own = labels.code(np.arange(asked.queries), prepared.image[prepared.queries], asked.images)
    known = known[~np.isin(known, own)]
    codes = labels.code(asked.pool.query, asked.pool.target, asked.images)[sample.pair]
    return np.isin(codes, known).astype(np.int64), known


def _underspecified(
    prepared: Prepared, label: np.ndarray, known: np.ndarray | None
) -> dict[str, list[dict[str, Any]]]:
    """The texts of the largest uncertainty and of most matches, each text once."""
    texts = prepared.models[0].texts
    judged = bool((label >= labels.NO).any())
    uncertainty = texts.uncertainty[prepared.queries].astype(np.float64)
    if known is not None:
        matches = np.bincount(known // prepared.asked.images, minlength=prepared.asked.queries)
    else:
        matches = measure.matches_of_queries(
            prepared.asked, prepared.sample.pair, label == labels.YES
        )

    def first(values: np.ndarray) -> list[dict[str, Any]]:
        order = np.argsort(-values, kind="stable")
        _, once = np.unique(prepared.asked.cluster[order], return_index=True)
        chosen = [i for i in order[np.sort(once)][:MOST_NAMED] if values[i] > 0]
        return [
            {
                "id": texts.ids[prepared.queries[i]],
                "text": texts.texts[prepared.queries[i]],
                "uncertainty": float(uncertainty[i]),
                "other_matches": int(matches[i]) if judged else None,
            }
            for i in chosen
        ]

    return {"by_uncertainty": first(uncertainty), "by_matches": first(matches)}


def _write_candidates(path: Path, prepared: Prepared) -> None:
    first, candidates = prepared.models[0], prepared.asked.pool
    columns: dict[str, Any] = {
        "text": pa.array(first.texts.ids).take(pa.array(prepared.queries[candidates.query])),
        "image": pa.array(first.images.ids).take(pa.array(prepared.rows[candidates.target])),
    }
    for model in range(candidates.rank.shape[1]):
        rank = candidates.rank[:, model].astype(np.int32)
        columns[f"rank_{model}"] = pa.array(rank, mask=rank == 0)
    pq.write_table(pa.table(columns), path, compression="zstd")


def _check(options: AuditOptions) -> None:
    for name in ("k", "sample", "max_queries"):
        if getattr(options, name) < 1:
            raise ConfigError(f"{name} is at least 1; got {getattr(options, name)}")
    if options.seed < 0:
        raise ConfigError(f"seed is at least 0; got {options.seed}")
    if not 0 < options.confidence < 1:
        raise ConfigError(f"confidence lies between 0 and 1; got {options.confidence}")
    if options.labels and options.known:
        raise ConfigError("give --labels or --known, not both: each of them labels the sample")
