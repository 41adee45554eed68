"""A source without the records that a filter or a list of keys leaves out, chosen once."""

import functools
import hashlib
import io
import logging
import sys
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from prolip.config import DataConfig
from prolip.data.expression import Expression, Lacking
from prolip.data.files.names import printable
from prolip.data.files.reading import file_hash
from prolip.data.files.side_files import cache_directory
from prolip.data.image import header_size
from prolip.data.records import BadRecord, DataError, Record
from prolip.data.sources.keys import UID, has_uids, key_file, listed, read_keys
from prolip.data.sources.source import Source
from prolip.workdir import write_whole

# Known of every record, where it has no field of that name.
DERIVED = ("width", "height", "aspect", "caption_length", "caption_words", "key")
SIDES = {"width", "height"}
BLOCK = 4096  # Records of a task.
COUNTS = ("lacking", "bad", "unmatched")
LACKING = "filter: a value is missing or of another kind"

log = logging.getLogger(__name__)


class Kept(Source):
    """Some records of a source, under new numbers and their old keys.

    Args:
      source: Whose records.
      rows: Their numbers, ascending.
      condition: What chose them, for the digest.
      notes: What was left out.
    """

    def __init__(self, source: Source, rows: np.ndarray, condition: str, notes: Collection[str]):
        self._source, self._rows, self._condition = source, rows, condition
        self.name, self.damage, self.notes = source.name, source.damage, tuple(notes)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Record:
        return self._source[int(self._rows[index])]

    def captions(self, index: int) -> tuple[tuple[str, ...], ...]:
        return self._source.captions(int(self._rows[index]))

    def same_image(self, index: int) -> Sequence[int]:
        """Among the records that are kept."""
        others = np.asarray(self._source.same_image(int(self._rows[index])), np.int64)
        place = np.searchsorted(self._rows, others)
        place = np.minimum(place, len(self._rows) - 1)
        return place[self._rows[place] == others].tolist()

    def key(self, index: int) -> str:
        return self._source.key(int(self._rows[index]))

    @functools.cache  # noqa: B019 - One source lives as long as its run.
    def digest(self) -> str:
        digest = hashlib.sha256(f"{self._source.digest()} {self._condition}".encode())
        digest.update(self._rows.astype("<u4").tobytes())
        return digest.hexdigest()

    @property
    def fields(self) -> Collection[str]:
        return self._source.fields

    def seek_fields(self, names: Collection[str]) -> Collection[str]:
        return self._source.seek_fields(names)

    def about(self, index: int, names: Collection[str]) -> Mapping[str, Any]:
        return self._source.about(int(self._rows[index]), names)

    def __reduce__(self) -> tuple[Any, ...]:
        # With the rows: choosing them anew could take as long as the first time.
        return Kept, (self._source, self._rows, self._condition, self.notes)


class Chosen(NamedTuple):
    """What a condition left of a source."""

    rows: np.ndarray  # UInt32, ascending.
    lacking: int  # Records that the filter could not judge; they are left out.
    bad: int  # Records that could not be read for the filter; left out too.
    unmatched: int  # Keys to be skipped where none of them names a record, else 0.


def keep(source: Source, config: DataConfig) -> Source:
    """The source itself, or what `config.filter`, `keep_keys` and `skip_keys` leave of it.

    What is kept is written to `config.index_dir` or the user's cache: the next start reads it.

    Raises:
      ConfigError: the filter can't be read, or asks for a name that the records don't have.
      DataError: nothing is kept, or the list of keys can't be read.
    """
    if not config.filter and not config.keep_keys and not config.skip_keys:
        return source
    expression = Expression(config.filter) if config.filter else None
    if expression is not None:
        source.seek_fields([name for name in expression.names if name not in DERIVED])
        expression.check((*source.fields, *(d for d in DERIVED if d not in source.fields)))
    keys = key_file(config.keep_keys, "data.keep_keys")
    skipped = key_file(config.skip_keys, "data.skip_keys")
    condition = f"{config.filter!r} {file_hash(keys) if keys else ''}"
    if skipped is not None:
        condition += f" without {file_hash(skipped)}"
    # Not of the run's digest: a run goes on with copies of its files.
    features = f"{config.image_feature!r} {config.caption_features!r}"
    path = _path(config, f"{source.state()} {condition} {features}")
    chosen = _read(path)
    if chosen is None or not len(chosen.rows):
        chosen = choose(source, expression, keys, skipped, config.num_threads)
        _write(path, chosen)
    if not len(chosen.rows):
        raise DataError(
            f"data.filter, keep_keys and skip_keys keep none of the {len(source):,} records "
            f"({chosen.lacking:,} lack a value that the filter asks for, {chosen.bad:,} can't be "
            f"read){_hint(source, keys)}"
        )
    lacking = f", {chosen.lacking:,} of the others lack a value" if chosen.lacking else ""
    bad = f", {chosen.bad:,} can't be read for the filter" if chosen.bad else ""
    unmatched = ""
    if skipped is not None and chosen.unmatched:
        unmatched = (
            f"; none of the {chosen.unmatched:,} keys in {printable(skipped.name)} names a record"
        )
    note = f"{len(chosen.rows):,} of {len(source):,} records are kept{lacking}{bad}{unmatched}"
    return Kept(source, chosen.rows, condition, [*source.notes, note])


def choose(
    source: Source,
    expression: Expression | None,
    keys: Path | None,
    skipped: Path | None,
    threads: int,
) -> Chosen:
    """Judges every record."""
    blocks = [range(i, min(i + BLOCK, len(source))) for i in range(0, len(source), BLOCK)]
    wanted = None if keys is None else read_keys(keys)
    unwanted = None if skipped is None else read_keys(skipped)
    kept_uids, skipped_uids = (_uids(source, list_) for list_ in (wanted, unwanted))

    def judge(block: range) -> tuple[list[int], int, int, int]:
        kept, lacking, bad, left_out = [], 0, 0, 0
        asked = set(block)
        if wanted is not None:
            asked = set(listed(source, block, wanted, parts=True, uids=kept_uids))
        if unwanted is not None:
            unasked = set(listed(source, block, unwanted, parts=False, uids=skipped_uids))
            asked, left_out = asked - unasked, len(unasked)
        for index in sorted(asked):
            try:
                if expression is None or expression(values(source, index, expression.names)):
                    kept.append(index)
            except Lacking:
                lacking += 1
            except BadRecord:  # What the filter is to keep out could hide in one.
                bad += 1
        return kept, lacking, bad, left_out

    with ThreadPoolExecutor(max(1, threads)) as pool:
        judged = list(pool.map(judge, blocks))
    rows = np.array([index for kept, *_ in judged for index in kept], np.uint32)
    lacking, bad, left_out = (sum(counts) for counts in zip(*(j[1:] for j in judged), strict=True))
    return Chosen(rows, lacking, bad, 0 if unwanted is None or left_out else len(unwanted))


def _hint(source: Source, keys: Path | None) -> str:
    if keys is None or not has_uids(read_keys(keys)) or source.seek_fields([UID]):
        return ""
    return f"; {printable(keys.name)} lists uids, and no record looked at has a field {UID!r}"


def _uids(source: Source, keys: pa.Array | None) -> bool:
    """Returns whether a list has uids, and the records have such a field."""
    return keys is not None and has_uids(keys) and bool(source.seek_fields([UID]))


def values(source: Source, index: int, names: Collection[str]) -> dict[str, Any]:
    """Values of fields and of what is derived from a record.

    `width` and `height` are those of the image's header where the record has no such fields,
    `aspect` is the long side over the short one, `caption_length` in characters and
    `caption_words` are those of the longest caption.

    Raises:
      BadRecord: the record can't be read.
    """
    fields = set(source.fields)
    wanted = {name for name in names if name in fields}
    if "aspect" in names and "aspect" not in fields:
        wanted |= SIDES & fields
    found = dict(source.about(index, wanted)) if wanted else {}
    missing = set(names) - fields
    if "key" in missing:
        found["key"] = source.key(index)
    sides = (SIDES if "aspect" in missing else SIDES & missing) - found.keys()
    if sides or missing & {"caption_length", "caption_words"}:
        record = source[index]
        if sides:
            found["width"], found["height"] = header_size(record.image, sys.maxsize)
        texts = [text for feature in record.captions for text in feature]
        found["caption_length"] = max(map(len, texts), default=0)
        found["caption_words"] = max((len(text.split()) for text in texts), default=0)
    if "aspect" in missing and found.keys() >= SIDES:
        width, height = found["width"], found["height"]
        if isinstance(width, int | float) and isinstance(height, int | float) and width and height:
            found["aspect"] = max(width, height) / min(width, height)
    return found


def _path(config: DataConfig, condition: str) -> Path:
    directory = Path(config.index_dir).expanduser() if config.index_dir else cache_directory()
    return directory / f"kept-{hashlib.sha256(condition.encode()).hexdigest()[:32]}.npz"


def _read(path: Path) -> Chosen | None:
    try:
        with np.load(path, allow_pickle=False) as stored:
            return Chosen(stored["rows"], *(int(stored[name]) for name in COUNTS))
    except Exception:  # Missing or damaged in any way: it is made anew.
        return None


def _write(path: Path, chosen: Chosen) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, **chosen._asdict())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, buffer.getvalue())
    except OSError as error:
        log.warning("%s can't be written (%s): each start chooses records anew", path, error)
