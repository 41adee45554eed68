"""Any TFDS data set as records of encoded images and texts, without TensorFlow."""

import contextlib
import difflib
import hashlib
import io
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from prolip.config import DataConfig
from prolip.data.emoji import builder as emoji
from prolip.data.files.reading import states
from prolip.data.labels import label_of
from prolip.data.near import unknown
from prolip.data.records import BadRecord, DataError, Record
from prolip.data.shapes import builder as shapes
from prolip.data.sources.source import Source

FORMAT = "array_record"  # Read at random places and written without TensorFlow.
OWN = (emoji.Emoji, shapes.Shapes)  # Made when they are first asked for.


def prepare(config: DataConfig) -> Any:
    """Makes the data set if it is one that the package makes; returns its prepared TFDS builder.

    Raises:
      DataError: there is no such data set, or it has not been prepared.
    """
    builder = _builder(config)
    if _is_prepared(builder):
        return builder
    if not isinstance(builder, OWN):
        where = f" --data_dir={config.data_dir}" if config.data_dir else ""
        raise DataError(
            f"data set {config.name!r} is not in {builder.data_path}; run "
            f"`tfds build {config.name} --file_format={FORMAT}{where}`"
        )
    silence = io.StringIO()
    try:
        with contextlib.redirect_stdout(silence), contextlib.redirect_stderr(silence):
            builder.download_and_prepare()
    except Exception as error:
        # Another process may have made it in the meantime.
        if not _is_prepared(_builder(config)):
            raise DataError(
                f"data set {config.name!r} can't be written to {builder.data_path} ({error}); set "
                "data.data_dir to a folder that can be"
            ) from error
    return _builder(config)


class TfdsSource(Source):
    """Random access to the records of a split; a key is the record's number.

    Args:
      config: Names the data set, its image feature and its caption features.
      split: TFDS split, slices included: "train[:90%]".
      label_features: Features with a class name, for evaluation.

    Raises:
      DataError: data set, split or feature missing, or of the wrong kind.
    """

    def __init__(self, config: DataConfig, split: str, label_features: Sequence[str] = ()):
        builder = prepare(config)
        features = builder.info.features
        image = _feature(features, config.image_feature, config.name)
        if not isinstance(image, tfds.features.Image) or "/" in config.image_feature:
            raise DataError(
                f"feature {config.image_feature!r} of {config.name} is {_kind(image)}, not a "
                "top-level Image; set data.image_feature"
            )
        if image.np_dtype not in (np.uint8, np.uint16):  # Floats are stored as bytes of RGBA.
            raise DataError(
                f"feature {config.image_feature!r} of {config.name} holds "
                f"{np.dtype(image.np_dtype).name}, not the pixels of a picture"
            )
        if not config.caption_features:
            raise DataError("data.caption_features names no feature")
        self._arguments = (config, split, tuple(label_features))
        self._image, self._features = config.image_feature, features
        self._captions = [_Text(features, path, config.name) for path in config.caption_features]
        self._labels = [_Text(features, path, config.name) for path in label_features]
        self.name = builder.info.full_name
        self._files = [path for part in builder.info.splits.values() for path in part.filepaths]
        self._source = _open(builder, config, split)

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> Record:
        """Raises BadRecord if the record is damaged or its text is not UTF-8."""
        stored = self.stored(index)
        captions = tuple(tuple(feature.read(stored)) for feature in self._captions)
        labels = tuple(label_of(next(feature.read(stored), "")) for feature in self._labels)
        return Record(stored[self._image], captions, labels, self.key(index))

    def key(self, index: int) -> str:
        """Number of the record."""
        return str(index)

    def __reduce__(self) -> tuple[Any, ...]:
        return TfdsSource, self._arguments  # Reader processes open the files themselves.

    @property
    def fields(self) -> Collection[str]:
        """Features at the top that are one value."""
        kinds = (tfds.features.Text, tfds.features.ClassLabel, tfds.features.Scalar)
        return [name for name, feature in self._features.items() if isinstance(feature, kinds)]

    def about(self, index: int, names: Collection[str]) -> Mapping[str, Any]:
        """Values of features; a class is its name."""
        stored = self.stored(index)
        return {name: self._value(name, stored[name]) for name in names}

    def classes(self, path: str) -> list[str]:
        """Names of the classes of a feature, or of the items of a list, in their order.

        Raises:
          DataError: there is no such feature, or it has no classes.
        """
        feature = _feature(self._features, path, self.name)
        while isinstance(feature, tfds.features.Sequence):
            feature = feature.feature
        if not isinstance(feature, tfds.features.ClassLabel) or not feature.num_classes:
            raise DataError(f"feature {path!r} of {self.name} is {_kind(feature)}, not ClassLabel")
        return [feature.int2str(number) for number in range(feature.num_classes)]

    def _value(self, name: str, value: Any) -> Any:
        feature = self._features[name]
        if isinstance(feature, tfds.features.ClassLabel):
            return feature.int2str(int(value))
        if isinstance(value, bytes):
            return value.decode("utf8", "replace")
        return value.item() if hasattr(value, "item") else value

    def stored(self, index: int) -> Any:
        """All features of a record; of the image its bytes.

        Raises:
          BadRecord: it can't be read.
        """
        try:
            return self._source[index]
        except Exception as error:
            raise BadRecord("unreadable record") from error

    def digest(self, samples: int = 16) -> str:
        """Hash of the size and of some records, evenly spread: tells data sets apart."""
        digest = hashlib.sha256(f"{self.name} {len(self)}".encode())
        for i in range(min(samples, len(self))):
            try:
                record = self[i * len(self) // samples if len(self) > samples else i]
                image, captions, labels = record.image, record.captions, record.labels
                text = f"Record({image=}, {captions=}, {labels=})"
            except BadRecord as bad:
                text = repr(str(bad))
            digest.update(text.encode())
        return digest.hexdigest()

    def state(self) -> str:
        """Of the digest, and of sizes and times of the files."""
        return f"{self.digest()} {states(self._files)}"


class _Text:
    """Reads the texts of one feature from a stored record."""

    def __init__(self, features: Any, path: str, name: str):
        feature = _feature(features, path, name)
        while isinstance(feature, tfds.features.Sequence):
            feature = feature.feature
        text_or_class = (tfds.features.Text, tfds.features.ClassLabel)
        if not isinstance(feature, text_or_class):
            raise DataError(
                f"feature {path!r} of {name} is {_kind(feature)}, not Text or ClassLabel"
            )
        self._path = path.split("/")
        self._classes = feature if isinstance(feature, tfds.features.ClassLabel) else None

    def read(self, stored: Any) -> Iterator[str]:
        for value in _walk(stored, self._path):
            if self._classes is not None:
                yield self._classes.int2str(int(value))
            elif isinstance(value, str):
                yield value
            else:
                try:
                    yield bytes(value).decode()
                except UnicodeDecodeError as error:
                    raise BadRecord("text is not UTF-8") from error


def _walk(value: Any, path: Sequence[str]) -> Iterator[Any]:
    """Values at a path; lists on the way are flattened."""
    if isinstance(value, dict):
        yield from _walk(value[path[0]], path[1:])
    elif isinstance(value, str | bytes) or not hasattr(value, "__len__"):
        yield value
    else:
        for item in value:
            yield from _walk(item, path)


def _feature(features: Any, path: str, name: str) -> Any:
    feature = features
    for part in path.split("/"):
        while isinstance(feature, tfds.features.Sequence):
            feature = feature.feature
        if not isinstance(feature, tfds.features.FeaturesDict) or part not in feature:
            raise DataError(unknown(path, _paths(features), f"{name} has no feature"))
        feature = feature[part]
    return feature


def _paths(feature: Any, path: str = "") -> Iterator[str]:
    while isinstance(feature, tfds.features.Sequence):
        feature = feature.feature
    if isinstance(feature, tfds.features.FeaturesDict):
        for name in feature:
            yield from _paths(feature[name], f"{path}/{name}" if path else name)
    else:
        yield path


def _kind(feature: Any) -> str:
    return f"of kind {type(feature).__name__}"


def _builder(config: DataConfig) -> Any:
    try:
        return tfds.builder(config.name, data_dir=config.data_dir or None, file_format=FORMAT)
    except tfds.core.DatasetNotFoundError as error:
        known = ["emoji", "shapes", *tfds.list_builders(with_community_datasets=False)]
        near = difflib.get_close_matches(config.name.split("/")[0], known, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise DataError(
            f"no data set {config.name!r}, neither in TFDS nor prepared in "
            f"{config.data_dir or 'its default directory'}; set data.name or data.data_dir.{hint}"
        ) from error
    except Exception as error:
        raise DataError(f"data set {config.name!r} can't be opened: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    if "tensorflow" in str(error):
        return (
            "it is not prepared, and making it needs TensorFlow; run `tfds build "
            f"--file_format={FORMAT}` where that is installed, and set data.data_dir to the result"
        )
    if "BuilderConfigs" in str(error):
        return "it has no such config (what stands after the slash)"
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _is_prepared(builder: Any) -> bool:
    # The second question logs a warning where the first answers no.
    return builder.data_path.exists() and builder.is_prepared()


def _open(builder: Any, config: DataConfig, split: str) -> Any:
    skip = {config.image_feature: tfds.decode.SkipDecoding()}
    try:
        return builder.as_data_source(split=split, decoders=skip)
    except NotImplementedError as error:
        raise DataError(
            f"{config.name} is stored as {builder.info.file_format.value}, which can't be read at "
            f"random places; run `tfds build {config.name} --file_format={FORMAT}`"
        ) from error
    except ValueError as error:
        known = ", ".join(builder.info.splits)
        raise DataError(f"{config.name} has no split {split!r}; it has {known}") from error
