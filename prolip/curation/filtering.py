"""From embedded pairs to the keys that a run trains on."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from prolip.config import ConfigError
from prolip.curation import embedded, filter_report
from prolip.curation.embedded import Embedded
from prolip.curation.scores import SCORES, Pairs, score
from prolip.curation.thresholds import Kept, keep_between, keep_fraction, rank_mixture
from prolip.data.expression import Expression
from prolip.data.records import DataError


@dataclasses.dataclass(frozen=True)
class FilterOptions:
    """What is kept."""

    by: str = "uncertainty"  # A name of `scores.SCORES`, or an expression of several.
    keep: float | None = None  # Fraction of the records; of `keep` and the bounds one is given.
    above: float | None = None  # At least.
    below: float | None = None  # At most.
    seed: int = 0  # Of the reference images of `specificity`.


class Records(NamedTuple):
    """One row for each record of the data, in the order of the images, or of the texts alone."""

    keys: list[str]
    shown: list[str]  # Its first text, or where its image is: for people.
    values: dict[str, np.ndarray]  # Float64[records] by the name of the score; mean over texts.


def filter_pairs(directories: Sequence[str], out: Path, options: FilterOptions) -> str:
    """Writes the keys of the records that are kept, as `data.keep_keys` reads them.

    Args:
      directories: of `prolip embed`: images, texts, or both, of one model.
      out: Parquet with the columns `key`, `score`, and one for each name in `options.by`; a short
        report goes beside it, with the end `.md`.
      options: see there.

    Returns:
      The report.

    Raises:
      ConfigError: an option is not right, or a score needs a collection that is not named.
      DataError: the collections don't belong together, or nothing is kept.
    """
    _check(out, options)
    names, expression = _names(options.by)
    pairs = _pairs(directories, options.seed)
    records = by_record(pairs, names)
    if expression is None:
        own = records.values[names[0]]
        good = own if SCORES[names[0]].high_is_good else -own
    else:
        own = good = rank_mixture(expression, records.values)
    kept = _kept(own, good, options)
    if not kept.mask.any():
        raise DataError(f"nothing is kept: the scores go from {own.min():.6g} to {own.max():.6g}")
    columns: dict[str, Any] = {
        "key": pa.array(np.array(records.keys, object)[kept.mask].tolist(), pa.string()),
        "score": own[kept.mask],
    }
    columns |= {name: values[kept.mask] for name, values in records.values.items()}
    out.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), out, compression="zstd")
    text = filter_report.as_markdown(options, out, records, own, good, kept)
    out.with_suffix(".md").write_text(text, encoding="utf8")
    return text


def by_record(pairs: Pairs, names: Sequence[str]) -> Records:
    """Scores of records: means over the pairs of each, which are as many as it has texts."""
    side: Any = pairs.images if pairs.images is not None else pairs.texts
    row = pairs.image if pairs.images is not None else pairs.text
    keys = embedded.training_keys(side)
    first: dict[str, int] = {}
    number = np.array([first.setdefault(keys[r], len(first)) for r in row.tolist()], np.int64)
    count = np.bincount(number)
    _, at = np.unique(number, return_index=True)
    values: dict[str, np.ndarray] = {}
    for name in names:
        found = score(name, pairs)
        if np.isnan(found).any():
            raise DataError(f"{name} of {keys[row[np.isnan(found).argmax()]]} is not a number")
        values[name] = np.bincount(number, weights=found) / count
    shown: Any = pairs.texts.texts if pairs.texts is not None else side.uris
    shown_row = pairs.text if pairs.texts is not None else row
    return Records(list(first), [shown[shown_row[i]] or "" for i in at.tolist()], values)


def _pairs(directories: Sequence[str], seed: int) -> Pairs:
    sides: dict[str, Embedded] = {}
    for directory in directories:
        side = embedded.read(directory, log_var=True)
        if side.manifest.kind in sides:
            raise ConfigError(
                f"{sides[side.manifest.kind].directory} and {directory} are both "
                f"{side.manifest.kind}s; name one collection of images, one of texts, or both"
            )
        sides[side.manifest.kind] = side
    images, texts = sides.get("image"), sides.get("text")
    if images is not None and texts is not None:
        embedded.same_model(images, texts)
        image = embedded.image_of_text(images, texts)
        text = np.flatnonzero(image >= 0)
        return Pairs(images, texts, image[text], text, seed)
    rows = np.arange(len(next(iter(sides.values()))))
    return Pairs(images, texts, rows, rows, seed)


def _names(by: str) -> tuple[Sequence[str], Expression | None]:
    if by.strip() in SCORES:
        return (by.strip(),), None
    expression = Expression(by, "--by")
    expression.check(SCORES)
    if not expression.names:
        raise ConfigError(f"--by {by!r} names no score; there are {', '.join(SCORES)}")
    return expression.names, expression


def _kept(own: np.ndarray, good: np.ndarray, options: FilterOptions) -> Kept:
    if options.keep is None:
        return keep_between(own, options.above, options.below)
    kept = keep_fraction(good, options.keep)
    assert kept.threshold is not None
    return kept if own is good else kept._replace(threshold=_unsigned(own, good, kept.threshold))


def _unsigned(own: np.ndarray, good: np.ndarray, threshold: float) -> float:
    """The threshold in the score's own sign."""
    return float(own[np.argmax(good == threshold)])


def _check(out: Path, options: FilterOptions) -> None:
    bounds = options.above is not None or options.below is not None
    if bounds == (options.keep is not None):
        raise ConfigError("give --keep FRACTION, or --above and --below")
    if options.keep is not None and not 0 < options.keep <= 1:
        raise ConfigError(f"--keep is above 0 and at most 1; got {options.keep}")
    for value in (options.above, options.below):
        if value is not None and np.isnan(value):
            raise ConfigError("a bound is a number")
    if out.suffix.lower() != ".parquet":
        raise ConfigError(f"--out {out} is to end in .parquet")
    if options.seed < 0:
        raise ConfigError(f"--seed is at least 0; got {options.seed}")
