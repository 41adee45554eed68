"""What an import is to write: settled once, so that a killed one goes on with the same shards."""

import dataclasses
import json
import math
import secrets
from pathlib import Path
from typing import Any, NamedTuple

from prolip.config import ConfigError, DataConfig
from prolip.data.importing.examples import checked, feature_names
from prolip.data.records import Bad, BadRecord, DataError
from prolip.data.sources.source import Source
from prolip.workdir import differences, write_whole

FORMAT = 1
VERSION = "1.0.0"
PARTIAL = ".partial"
SAMPLES = 64  # Records that tell the size of the others.


@dataclasses.dataclass(frozen=True)
class ImportOptions:
    """How a data set is imported."""

    name: str  # Of the TFDS data set.
    split: str = "train"
    shard_mib: int = 256  # Of a file, about.
    max_side: int = 0  # Pixels of the longer side of images; 0 keeps their bytes.
    quality: int = 90  # Of images that are made smaller.
    workers: int = 1  # Processes.
    convert: bool = False  # Store images that other readers decode otherwise as upright RGB.
    beam: str = ""  # Pipeline options of Apache Beam, in the place of processes here.


class Done(NamedTuple):
    """A finished shard."""

    records: int
    nbytes: int
    bad: list[Bad]
    unusual: dict[str, int]  # Counts of images that other readers may decode otherwise.


class Plan:
    """The shards of a split in the folder of its data set.

    Args:
      out: Folder of TFDS data sets.
      options: Name and split.
      settings: All that decides what the shards hold.
      shards: Number of them.
    """

    def __init__(
        self, out: Path, options: ImportOptions, settings: dict[str, Any], shards: int, records: int
    ):
        self.folder = out / options.name / VERSION
        self.settings, self.shards, self.records = settings, shards, records
        self._name, self._split = options.name, options.split

    def numbers(self, shard: int) -> range:
        """Records of a shard."""
        n = self.records
        return range(n * shard // self.shards, n * (shard + 1) // self.shards)

    def path(self, shard: int) -> Path:
        """File of a shard, as TFDS names it."""
        place = f"{shard:05}-of-{self.shards:05}"
        return self.folder / f"{self._name}-{self._split}.array_record-{place}"

    def new_partial(self, shard: int) -> Path:
        """Where a shard is written before it is whole: no other process writes there."""
        return self.marks / f"{self.path(shard).name}.{secrets.token_hex(4)}{PARTIAL}"

    def remove_partials(self) -> None:
        """Removes what killed imports have left."""
        for path in self.marks.glob(f"{self._name}-{self._split}.*{PARTIAL}"):
            path.unlink(missing_ok=True)

    @property
    def marks(self) -> Path:
        """Folder of the notes on finished shards."""
        return self.folder / "import"

    @property
    def bad(self) -> Path:
        """List of the records that were left out."""
        return self.folder / f"bad-{self._split}.jsonl"

    def done(self, shard: int) -> Done | None:
        """What is noted of a finished shard; None if there is no note, or another file."""
        try:
            noted = json.loads(self._mark(shard).read_text(encoding="utf8"))
            if self.path(shard).stat().st_size != noted["nbytes"]:
                return None
            bad = [Bad(*bad) for bad in noted["bad"]]
            return Done(noted["records"], noted["nbytes"], bad, noted.get("unusual", {}))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def finish(
        self, shard: int, partial: Path, records: int, bad: list[Bad], unusual: dict[str, int]
    ) -> Done:
        """Gives a whole file its name, then notes that it is there: in this order."""
        # The name comes first: a note without a file would be a hole.
        path = self.path(shard)
        done = Done(records, partial.stat().st_size, bad, unusual)
        partial.replace(path)
        write_whole(self._mark(shard), json.dumps(done._asdict()) + "\n")
        return done

    def _mark(self, shard: int) -> Path:
        return self.marks / f"{self._split}-{shard:05}-of-{self.shards:05}.json"


def make_plan(source: Source, config: DataConfig, out: Path, options: ImportOptions) -> Plan:
    """The plan that was begun in `out`, or a new one.

    Raises:
      ConfigError: an option is out of bounds, or the folder was begun with others.
      DataError: there is no record.
    """
    _check(options)
    if not len(source):
        raise DataError(f"{source.name} has no record to import")
    settings = {
        "format": FORMAT,
        "source": source.describe(),
        "captions": list(config.caption_features),
        "features": feature_names(config.caption_features),
        "max_side": options.max_side,
        "quality": options.quality if options.max_side else 0,
        "max_pixels": config.max_pixels,
        **({"convert": True} if options.convert else {}),
    }
    folder = out / options.name / VERSION
    path = folder / "import" / f"{options.split}.json"
    if path.exists():
        try:
            begun = json.loads(path.read_text(encoding="utf8"))
            shards = int(begun["shards"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path} is damaged; import into another folder") from error
        changed = list(differences(begun["settings"], json.loads(json.dumps(settings)), "import"))
        if changed:
            raise ConfigError(
                f"{folder} was begun with another source or other options: {'; '.join(changed)}; "
                "take another --out or --name"
            )
    else:
        shards = _shards(source, config, options)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps({"settings": settings, "shards": shards}, indent=1) + "\n")
    return Plan(out, options, settings, shards, len(source))


def _check(options: ImportOptions) -> None:
    if not (options.name.isidentifier() and options.name.islower()):
        raise ConfigError(f"--name {options.name!r}: small letters, digits and _, as in my_data")
    if not options.split.isalnum():
        raise ConfigError(f"--split {options.split!r}: letters and digits")
    for name, low, high in (("shard_mib", 1, 1 << 20), ("quality", 1, 100), ("workers", 1, 1024)):
        if not low <= getattr(options, name) <= high:
            raise ConfigError(f"--{name.replace('_', '-')} is from {low} to {high}")
    if options.beam and options.workers > 1:
        raise ConfigError("--workers are processes here; those of --beam are among its options")
    if options.max_side < 0:
        raise ConfigError("--max-side is at least 0")


def _shards(source: Source, config: DataConfig, options: ImportOptions) -> int:
    sizes = []
    for i in range(min(SAMPLES, len(source))):
        try:
            record = source[i * len(source) // min(SAMPLES, len(source))]
            limits = (config.max_pixels, options.max_side, options.quality, options.convert)
            record = checked(record, *limits).record
        except BadRecord:
            continue
        sizes.append(len(record.image) + sum(len(t) for texts in record.captions for t in texts))
    total = len(source) * sum(sizes) / max(1, len(sizes))
    return max(1, min(len(source), math.ceil(total / (options.shard_mib << 20)), 99_999))
