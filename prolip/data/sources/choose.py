"""From a configuration to a source."""

import os
from collections.abc import Sequence
from pathlib import Path

from prolip.config import DataConfig
from prolip.data.files.below import files_below
from prolip.data.files.foreign import foreign_note
from prolip.data.files.frames import FRAMES
from prolip.data.files.names import printable
from prolip.data.files.patterns import is_pattern, matches
from prolip.data.files.tar_index import SUFFIX, open_head
from prolip.data.near import unknown
from prolip.data.records import DataError
from prolip.data.sources.address import component
from prolip.data.sources.folder import Folder
from prolip.data.sources.kept import keep
from prolip.data.sources.mixture import Mixture
from prolip.data.sources.source import MAX_RECORDS, Source
from prolip.data.sources.table import Table
from prolip.data.sources.webdataset import Webdataset

TARS, TABLES, FOLDER = ("webdataset",), ("table", "parquet"), ("folder",)
FILES = (*TARS, *TABLES, *FOLDER)  # Names of data that is no TFDS data set.


def open_train(config: DataConfig) -> Source:
    """What a run trains on: the mixture, or the training split, of it what is to be kept.

    Raises:
      ConfigError: a key of the configuration is of another form.
      DataError: the data can't be used.
    """
    if not config.mixture:
        return keep(open_source(config, config.train_split), config)
    parts = [component(text, config) for text in config.mixture]
    sources = [keep(open_source(p.config, p.config.train_split), p.config) for p in parts]
    for part, source in zip(config.mixture, sources, strict=True):
        if not len(source):
            raise DataError(f"data.mixture: {part!r} has no record")
    return Mixture(sources, [part.share for part in parts])


def open_source(config: DataConfig, split: str, label_features: Sequence[str] = ()) -> Source:
    """Random access to all records of a split; filters are for training.

    Args:
      config: Names the data and its features.
      split: Of TFDS; else a pattern of files below `config.data_dir`, or a folder there.
      label_features: Features with a class name, for evaluation.

    Raises:
      ConfigError: a key of the configuration is of another form.
      DataError: data, split or feature missing, or of the wrong kind.
    """
    if not config.caption_features:
        raise DataError("data.caption_features names no feature")
    source = _open(config, split, label_features)
    if len(source) > MAX_RECORDS:
        raise DataError(f"{len(source):,} records in {split!r}; at most {MAX_RECORDS:,} in one")
    return source


def prepare(config: DataConfig) -> None:
    """Makes what has to be made once before training: the shipped data set, indices of tars.

    Raises:
      ConfigError: a key of the configuration is of another form.
      DataError: the data can't be used.
    """
    if config.mixture or config.name in FILES:
        open_train(config)
    else:
        from prolip.data.sources import tfds  # Seconds, for those who need it.

        tfds.prepare(config)


def tars(config: DataConfig, split: str) -> list[str]:
    """Paths of the tars of a split, in order.

    Raises:
      DataError: there are none, or a file is no plain tar.
    """
    found = [path for path in _files(config, split, (".tar",)) if not path.endswith(SUFFIX)]
    other = next((path for path in found if not path.lower().endswith(".tar")), None)
    if other is not None:
        raise DataError(
            f"{printable(other)} is no .tar; packed tars can't be read at random places, unpack "
            "them to .tar"
        )
    return found


def unindexed(config: DataConfig) -> int:
    """How many tars of the training data have no index yet."""
    parts = [component(text, config).config for text in config.mixture] or [config]
    paths = [(path, p) for p in parts if p.name in TARS for path in tars(p, p.train_split)]
    return sum(open_head(path, p.index_dir) is None for path, p in paths)


def _open(config: DataConfig, split: str, labels: Sequence[str]) -> Source:
    features = (config.image_feature, config.caption_features, labels)
    if config.name in TARS:
        paths = tars(config, split)
        threads = max(1, config.num_threads)
        source: Source = Webdataset(paths, *features, config.index_dir, threads)
        return _noted(source, config, split, (".tar",))
    if config.name in TABLES:
        source = Table(_files(config, split, tuple(FRAMES)), *features)
        return _noted(source, config, split, tuple(FRAMES))
    if config.name in FOLDER:
        root = os.path.join(os.path.expanduser(config.data_dir), split)
        if not os.path.isdir(root):
            raise DataError(_missing(config, split))
        return Folder(root, config.caption_features, labels)
    from prolip.data.sources import tfds  # Seconds, for those who need it.

    return tfds.TfdsSource(config, split, labels)


def _files(config: DataConfig, split: str, ends: tuple[str, ...]) -> list[str]:
    where = _where(config, split)
    if "://" in where:
        raise DataError(f"{where}: mount the bucket (gcsfuse, mountpoint-s3), or copy the files")
    if os.path.isdir(where):
        found = sorted(map(str, files_below(Path(where), ends).paths))
        if not found:
            raise DataError(f"{printable(where)} has no {' or '.join(ends)} file")
        return found
    if not os.path.exists(where) and is_pattern(where):
        return matches(where)
    if not os.path.exists(where):
        raise DataError(_missing(config, split))
    return [where]


def _noted(source: Source, config: DataConfig, split: str, ends: tuple[str, ...]) -> Source:
    """Adds a note on the files of a folder that are not taken for data."""
    where = _where(config, split)
    if os.path.isdir(where) and (foreign := files_below(Path(where), ends).foreign):
        source.notes = [*source.notes, foreign_note(foreign, printable(where))]
    return source


def _where(config: DataConfig, split: str) -> str:
    return os.path.join(os.path.expanduser(config.data_dir), os.path.expanduser(split))


def _missing(config: DataConfig, split: str) -> str:
    base = os.path.expanduser(config.data_dir) or "."
    if not os.path.isdir(base):
        return f"data.data_dir: {printable(base)} is no folder"
    known = [printable(name) for name in sorted(os.listdir(base))]
    hint = "data.train_split and data.eval_split are patterns of files below data.data_dir"
    return f"{unknown(split, known, f'{printable(base)} has no')}; {hint}"
