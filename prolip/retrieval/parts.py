"""The folder of a collection while it is being embedded: which parts are there, and of what.

Processes meet in this folder only. Its state is what is in it: a part is finished once its file has
its name, and the collection once the manifest is there; whatever a process is killed at, the next
one sees one or the other.
"""

import collections
import contextlib
import dataclasses
import json
import os
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from prolip.config import ConfigError
from prolip.data.records import DataError
from prolip.retrieval import embeddings
from prolip.retrieval.embeddings import Failure, Manifest, Rows
from prolip.workdir import differences, write_whole

SETTINGS = "embed.json"
FAILED = "failed.jsonl"
STALE_SECONDS = 60.0  # Small files are written in milliseconds.
ATTEMPTS = 3


@dataclasses.dataclass(frozen=True)
class Division:
    """Items by number, cut into parts of the same size."""

    items: int
    part_size: int

    def __len__(self) -> int:
        return -(-self.items // self.part_size)

    def __getitem__(self, part: int) -> range:
        """Numbers of its items."""
        return range(part * self.part_size, min((part + 1) * self.part_size, self.items))


class PartsFolder:
    """Opens or begins the folder of a collection.

    Args:
      path: Of the folder.
      division: Of the items into parts.
      settings: All that decides what the parts hold, JSON; kept in the folder.

    Raises:
      ConfigError: the folder can't be written, or was begun with other settings.
    """

    def __init__(self, path: Path, division: Division, settings: Mapping[str, Any]):
        self.path, self.division, self._settings = path, division, settings
        self._failures: dict[int, list[Failure]] = {}
        self._departures: dict[int, dict[str, int]] = {}
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._begin()
        except OSError as error:
            raise ConfigError(f"{path} can't be written: {error.strerror or error}") from error

    def clear(self, parts: Sequence[int]) -> None:
        """Removes what killed processes left half-written of these parts."""
        for part in parts:
            for file in self.path.glob(f".{embeddings.part_name(part)}.*.tmp"):
                file.unlink(missing_ok=True)
        for file in self.path.glob("*.json*.tmp"):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - file.stat().st_mtime > STALE_SECONDS:
                    file.unlink()

    def failures(self, part: int) -> list[Failure] | None:
        """Of a finished part; None if it is not there, or no such part."""
        if part not in self._failures:
            try:
                metadata = pq.read_metadata(self._file(part))
                values = json.loads(metadata.metadata[b"prolip"])
                failures = [Failure(**failure) for failure in values["failures"]]
                items = self.division[part]
                accounted = metadata.num_rows + len(failures)
                if (values["first_item"], values["items"], accounted) != (
                    items.start,
                    len(items),
                    len(items),
                ):
                    return None
            except (OSError, KeyError, TypeError, ValueError, pa.ArrowException):
                return None
            self._failures[part] = failures
            self._departures[part] = values.get("departures", {})
        return self._failures[part]

    def missing(self, parts: Sequence[int]) -> list[int]:
        """Those of the parts that are not finished."""
        return [part for part in parts if self.failures(part) is None]

    def departures(self) -> dict[str, int]:
        """Counts of the images of all parts that are embedded otherwise than viewers show them."""
        total = collections.Counter[str]()
        for part in range(len(self.division)):
            if self.failures(part) is not None:
                total.update(self._departures[part])
        return dict(total.most_common())

    def write(
        self,
        part: int,
        rows: Rows,
        failures: Sequence[Failure],
        departures: Mapping[str, int] | None = None,
    ) -> None:
        """Finishes a part, unless another process did so meanwhile: its rows are the same."""
        items = self.division[part]
        for _ in range(ATTEMPTS):
            if self.failures(part) is not None:
                return
            # Another launch that starts clears what it takes for left behind: once more then.
            with contextlib.suppress(FileNotFoundError):
                embeddings.write_part(
                    self._file(part),
                    rows,
                    failures,
                    first_item=items.start,
                    items=len(items),
                    width=self._settings["width"],
                    variance=self._settings["variance"],
                    departures=departures,
                )
        if self.failures(part) is None:
            raise DataError(f"{self._file(part)} was written, and is not there or not what it was")

    def reopen(self) -> None:
        """Takes back that all is done, before a part is made again that the manifest names."""
        (self.path / embeddings.MANIFEST).unlink(missing_ok=True)

    def finish(self, checkpoint: str, source: str) -> Manifest | None:
        """Writes the manifest if all parts are there; whoever sees this writes the same."""
        numbers = range(len(self.division))
        if self.missing(numbers):
            return None
        with ThreadPoolExecutor() as pool:  # Hashing all files; it lets other threads run.
            files = [self._file(part) for part in numbers]
            parts = [part for part, _ in pool.map(embeddings.describe_part, files)]
        settings = self._settings
        manifest = Manifest(
            format=embeddings.FORMAT,
            kind=settings["kind"],
            count=sum(part.rows for part in parts),
            failed=sum(part.items - part.rows for part in parts),
            dim=settings["dim"],
            width=settings["width"],
            variance=settings["variance"],
            model=embeddings.Identity(**settings["model"]),
            checkpoint=checkpoint,
            source=source,
            parts=tuple(parts),
            departures=self.departures(),
        )
        embeddings.write_manifest(self.path, manifest)
        return manifest

    def write_failed(self) -> None:
        """Lists what failed in all parts that are there, one JSON object a line."""
        found = (self.failures(part) or [] for part in range(len(self.division)))
        lines = [json.dumps(dataclasses.asdict(failure)) for part in found for failure in part]
        write_whole(self.path / FAILED, "".join(f"{line}\n" for line in lines))

    def _file(self, part: int) -> Path:
        return self.path / embeddings.part_name(part)

    def _begin(self) -> None:
        path = self.path / SETTINGS
        if not path.exists():
            if next(self.path.glob("part-*.parquet"), None) is not None:
                raise ConfigError(
                    f"{self.path} has parts but no {SETTINGS} that says what they are of; take "
                    "another folder"
                )
            _write_once(path, json.dumps(self._settings, indent=1) + "\n")
        try:
            there = json.loads(path.read_text(encoding="utf8"))
        except ValueError as error:
            raise ConfigError(f"{path} is damaged: {error}; take another folder") from error
        if different := list(_differences(there, self._settings)):
            raise ConfigError(
                f"{self.path} was begun with other settings ({'; '.join(different)}); take another "
                "folder, or the settings of before"
            )


def _write_once(path: Path, text: str) -> None:
    """Writes a file unless it is there by now: of two that begin at once, one is first."""
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
    write_whole(temporary, text)
    try:
        os.link(temporary, path)  # Never takes the place of a file, unlike a rename.
    except FileExistsError:
        pass
    except OSError:  # No links here (some network and FUSE file systems).
        temporary.replace(path)
    temporary.unlink(missing_ok=True)


def _differences(there: Any, here: Mapping[str, Any]) -> Iterator[str]:
    if not isinstance(there, Mapping):
        there = {}
    for text in differences(there, here, ""):
        yield text.removeprefix(".")
