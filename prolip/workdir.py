"""Names of the files of one run. Any tool needs only the directory."""

import contextlib
import dataclasses
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from prolip.config import ConfigError, TrainConfig, from_dict, to_dict


@dataclasses.dataclass(frozen=True)
class Workdir:
    """Where a run keeps what it writes."""

    path: Path

    @property
    def config(self) -> Path:
        """The resolved configuration, JSON."""
        return self.path / "config.json"

    @property
    def checkpoints(self) -> Path:
        """Steps, their manifests and leases."""
        return self.path / "checkpoints"

    @property
    def metrics(self) -> Path:
        """One JSON object for each logged step."""
        return self.path / "metrics.jsonl"

    @property
    def throughput(self) -> Path:
        """Speeds and waits by step: what differs between two equal runs."""
        return self.path / "throughput.jsonl"

    @property
    def tensorboard(self) -> Path:
        """Event files; a copy of the metrics."""
        return self.path / "tensorboard"

    @property
    def evals(self) -> Path:
        """One JSON object for each finished evaluation."""
        return self.path / "evals.jsonl"

    @property
    def quarantine(self) -> Path:
        """One JSON object for each record that could not be read."""
        return self.path / "quarantine.jsonl"

    @property
    def dumps(self) -> Path:
        """What is needed to look into a step that was not finite."""
        return self.path / "dumps"

    @property
    def done(self) -> Path:
        """Written by the trainer when the last step is saved."""
        return self.path / "DONE"

    def read_config(self) -> TrainConfig:
        """Configuration of the run.

        Raises:
          ConfigError: there is no run here, or its configuration can't be read.
        """
        if not self.config.exists():
            raise ConfigError(f"{self.path} is not a run: it has no config.json")
        try:
            values = json.loads(self.config.read_text(encoding="utf8"))
        except (UnicodeDecodeError, json.JSONDecodeError) as error:
            raise ConfigError(f"{self.config} is damaged: {error}") from error
        return from_dict(TrainConfig, values, bounds=False)

    def write_config(self, config: TrainConfig) -> None:
        """Writes the configuration as a whole or not at all."""
        write_whole(self.config, json.dumps(to_dict(config), indent=2) + "\n")


def open_workdir(path: str | Path) -> Workdir:
    """The run at `path`, made if it is not there, and known to be writable.

    Raises:
      ConfigError: a URL, or a place that can't be written.
    """
    if "://" in str(path):
        scheme = str(path).split("://", maxsplit=1)[0]
        raise ConfigError(
            f"workdir {path}: {scheme}:// is not supported, checkpoints rely on atomic renames. "
            "Mount the bucket (gcsfuse, mountpoint-s3), or write to a disk and copy."
        )
    directory = Path(path).expanduser().absolute()
    probe = directory / f".write_probe.{os.getpid()}"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        probe.write_text("x", encoding="utf8")
        probe.unlink()
    except OSError as error:
        raise ConfigError(f"workdir {directory} can't be written: {error.strerror}") from error
    return Workdir(directory)


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """All whole lines of a record; what a crash cut short is left out."""
    if not path.exists():
        return []
    rows = []
    for line in path.read_bytes().splitlines():
        try:
            rows.append(json.loads(line))
        except (UnicodeDecodeError, json.JSONDecodeError):
            continue
    return rows


def write_whole(path: Path, content: str | bytes) -> None:
    """Writes a file so that a reader sees all of it or none, also after a crash."""
    # Not the number of the process: processes of two machines may have the same one.
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with naming(path), temporary.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Names `path` in an OSError that names no file, as those of a full disk do."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


def differences(
    old: Mapping[str, Any], new: Mapping[str, Any], path: str = "config"
) -> Iterator[str]:
    """Keys at which two configurations differ, with both values."""
    for key in sorted({*old, *new}):
        a, b = old.get(key), new.get(key)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            yield from differences(a, b, f"{path}.{key}")
        elif _text(a) != _text(b):
            yield f"{path}.{key}: {a!r} there, {b!r} here"


def _text(value: Any) -> str:
    """As JSON, whose objects have no order: one of the two may have been stored."""
    return json.dumps(value, sort_keys=True)
