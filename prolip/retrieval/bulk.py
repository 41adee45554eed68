"""Embeds a collection part by part; a killed run goes on where it was."""

import collections
import dataclasses
import os
import typing
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import jax
from rich.console import Console

from prolip.config import ConfigError
from prolip.data.files.names import visible
from prolip.data.image import departures_sentence
from prolip.data.records import DataError
from prolip.model import Model
from prolip.retrieval import batching, preparing
from prolip.retrieval.batching import Work
from prolip.retrieval.collections.item import Collection
from prolip.retrieval.embeddings import FORMAT, Manifest, Variance, Width
from prolip.retrieval.parts import FAILED, Division, PartsFolder
from prolip.retrieval.progress import EmbeddingLine

LEAST_SEEN = 100  # Items after which the fraction means something; before, the count is judged.


@dataclasses.dataclass(frozen=True)
class BulkOptions:
    """How a collection is embedded."""

    batch_size: int = 256
    part_size: int = 8192  # Items of a file; what a kill loses at most.
    width: Width = "float32"
    variance: Variance = "log_var"
    thumbnail: int = 0  # Pixels a side of the JPEG that is kept of an image; 0 keeps none.
    threads: int = 0  # That read and decode; 0 takes the number of cores.
    max_bad_fraction: float = 0.01  # Of items; above it the run stops at the end of a part.
    # This process takes the parts `process_index`, `process_index + process_count`, ...; None
    # takes what JAX says.
    process_index: int | None = None
    process_count: int | None = None
    checkpoint: str = ""  # Where the model came from: for the manifest, for people.


class Summary(NamedTuple):
    """What a call of `embed` found and did."""

    rows: int  # Embedded by this call.
    failures: dict[str, int]  # Reason to count, in all parts that are there.
    items_per_second: float | None  # After the first batch, which compiles.
    manifest: Manifest | None  # None while parts of other processes are missing.


def embed(
    model: Model,
    collection: Collection,
    directory: str | Path,
    options: BulkOptions = BulkOptions(),
    *,
    console: Console | None = None,
) -> Summary:
    """Embeds what is not embedded yet; the result does not depend on how often it was stopped.

    Items are numbered and cut into parts. A finished part is a file that appears as a whole, so
    any number of processes can be killed and started again at any time. Items that fail are kept
    in their part by number, id and reason, and listed in `failed.jsonl`.

    Args:
      model: Embeds, on its own devices.
      collection: From `collections.choose.open_collection`, or anything of that form.
      directory: Where the parts and `manifest.json` go; see `embeddings`.
      options: Sizes, widths, limits, and this process's share.
      console: Where to print.

    Raises:
      ConfigError: an option is out of bounds, or the folder was begun with other settings.
      DataError: too large a part of the items fails, or there is none.
      SourceError: they are texts, and the model has no tokenizer.
    """
    console = console or Console()
    if "://" in str(directory):
        raise ConfigError(
            f"{directory}: parts rely on atomic renames. Mount the bucket (gcsfuse, "
            "mountpoint-s3), or write to a disk and copy."
        )
    if model.slots.count > 1:
        raise ConfigError(
            f"this model has {model.slots.count} slots for each item, and collections are searched "
            "by one vector; embed with prolip.load(...).encode_image and encode_text, and compare "
            "with prolip.set_similarity"
        )
    if model.config.heads == "deterministic":  # Points: their log-variances are minus infinity.
        options = dataclasses.replace(options, variance="uncertainty")
    index, count = _check(collection, options)
    counts = preparing.TextCounts()
    work = _work(model, collection, options, counts)
    for note in collection.notes:
        _say(console, note)
    division = Division(len(collection), options.part_size)
    folder = PartsFolder(Path(directory), division, _settings(model, collection, options))
    own = range(index, len(division), count)
    todo = folder.missing(own)
    folder.clear(todo)
    if todo:
        folder.reopen()
    total = sum(len(division[part]) for part in own)
    done = total - sum(len(division[part]) for part in todo)
    if done:
        _say(console, f"{done:,} of {total:,} items are there already")
    judge = _Judge(folder, options.max_bad_fraction)
    line, rows = EmbeddingLine(console, total, done), 0
    try:
        judge.add(own)
        # Another launch may have made a part by the time that its turn comes.
        turns = (part for part in todo if folder.failures(part) is None)
        for part in batching.finished_parts(work, division, turns, line.advance):
            folder.write(part.number, part.rows, part.failures, part.departures)
            rows += len(part.rows)
            judge.add([part.number])
        judge.add(range(len(division)))
        judge.end(len(collection))
        manifest = folder.finish(options.checkpoint, collection.source)
    finally:
        line.close()
        folder.write_failed()
    summary = Summary(rows, dict(judge.reasons.most_common()), line.rate, manifest)
    _report(console, Path(directory), summary)
    if departures := folder.departures():
        remedy = "--image-form exact embeds them as shown"
        _say(console, departures_sentence(departures, len(collection), remedy))
    for note in counts.notes():
        _say(console, note)
    return summary


def _check(collection: Collection, options: BulkOptions) -> tuple[int, int]:
    for name in ("batch_size", "part_size"):
        if getattr(options, name) < 1:
            raise ConfigError(f"{name} is at least 1; got {getattr(options, name)}")
    for name in ("threads", "thumbnail"):
        if getattr(options, name) < 0:
            raise ConfigError(f"{name} is at least 0; got {getattr(options, name)}")
    for name, choices in (("width", Width), ("variance", Variance)):
        if getattr(options, name) not in typing.get_args(choices):
            known = ", ".join(typing.get_args(choices))
            raise ConfigError(f"{name} is one of {known}; got {getattr(options, name)!r}")
    if not 0 <= options.max_bad_fraction <= 1:
        raise ConfigError(f"max_bad_fraction is from 0 to 1; got {options.max_bad_fraction}")
    if options.thumbnail and collection.kind == "text":
        raise ConfigError("thumbnails are made of images; leave the option out for texts")
    if not len(collection):
        raise DataError(f"{collection.source} has nothing to embed")
    index, count = options.process_index, options.process_count
    index = jax.process_index() if index is None else index
    count = jax.process_count() if count is None else count
    if not 0 <= index < count:
        raise ConfigError(f"process {index} of {count}: the first of {count} is 0")
    return index, count


def _work(
    model: Model, collection: Collection, options: BulkOptions, counts: preparing.TextCounts
) -> Work:
    # One shape for all batches, so that the tower is compiled once.
    size = min(options.batch_size, options.part_size, len(collection))
    threads = options.threads or os.cpu_count() or 1
    if collection.kind == "image":
        prepare = preparing.images(collection, model.preprocessing, options.thumbnail)
        return Work(prepare, model.image, model.config.embed_dim, size, threads)
    prepare = preparing.texts(collection, model.tokenizer, counts)
    return Work(prepare, model.text, model.config.embed_dim, size, threads)


def _settings(model: Model, collection: Collection, options: BulkOptions) -> dict[str, Any]:
    """All that decides what the parts hold; not where things are, nor how fast it goes."""
    return {
        "format": FORMAT,
        "kind": collection.kind,
        "items": len(collection),
        "data": collection.fingerprint(),
        "model": model.identity,
        "dtype": model.config.dtype,
        "dim": model.config.embed_dim,
        "part_size": options.part_size,
        "width": options.width,
        "variance": options.variance,
        "thumbnail": options.thumbnail,
    }


class _Judge:
    """Stops a run on data that is mostly bad, however often it is started again."""

    def __init__(self, folder: PartsFolder, max_bad_fraction: float):
        self._folder, self._most = folder, max_bad_fraction
        self._seen: dict[int, int] = {}
        self.reasons: collections.Counter[str] = collections.Counter()

    def add(self, parts: Iterable[int]) -> None:
        """Counts what is there of these parts, each once.

        Raises:
          DataError: too many items failed.
        """
        for part in parts:
            failures = self._folder.failures(part)
            if failures is not None and part not in self._seen:
                self._seen[part] = len(self._folder.division[part])
                self.reasons.update(failure.reason for failure in failures)
        bad, seen = self.reasons.total(), sum(self._seen.values())
        if bad > self._most * max(seen, LEAST_SEEN):
            raise DataError(
                f"{bad:,} of {seen:,} items could not be embedded ({_listed(self.reasons)}); "
                f"{self._folder.path / FAILED} names them. Mend the data and take another folder, "
                f"or raise max_bad_fraction, which is {self._most:g}"
            )

    def end(self, items: int) -> None:
        """Raises DataError if every item of the collection failed, however few they are."""
        if self.reasons.total() == items:
            raise DataError(
                f"none of the {items:,} items could be embedded ({_listed(self.reasons)}); "
                f"{self._folder.path / FAILED} names them"
            )


def _listed(reasons: collections.Counter[str]) -> str:
    return ", ".join(f"{count:,} x {reason}" for reason, count in reasons.most_common())


def _say(console: Console, text: str) -> None:
    console.print(visible(text), highlight=False, markup=False, soft_wrap=True)


def _report(console: Console, path: Path, summary: Summary) -> None:
    reasons = collections.Counter(summary.failures)
    failed = f", {reasons.total():,} failed ({_listed(reasons)}; see {FAILED})" if reasons else ""
    speed = f", {summary.items_per_second:,.0f} items/s" if summary.items_per_second else ""
    manifest = summary.manifest
    if manifest is None:
        _say(console, f"{path}: {summary.rows:,} rows by this process{failed}{speed}")
        _say(console, "parts of other processes are missing; the last one to end writes the rest")
    else:
        new = f" ({summary.rows:,} of them new)" if summary.rows != manifest.count else ""
        _say(console, f"{path}: {manifest.count:,} {manifest.kind}s{new}{failed}{speed}")
