"""Writes shards of an import, in whatever process."""

import functools
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from array_record.python import array_record_module

from prolip.config import DataConfig
from prolip.data.importing.examples import Examples, checked
from prolip.data.importing.plan import ImportOptions, Plan, make_plan
from prolip.data.records import Bad, BadRecord
from prolip.data.sources.choose import open_train
from prolip.data.sources.source import Source

TELL_EVERY = 32  # Records after which a writer tells how far it is.


class Job(NamedTuple):
    """What a process needs to know; a key of its cache."""

    config: DataConfig
    out: str
    options: ImportOptions


class Writer:
    """Writes shards of a plan."""

    def __init__(self, source: Source, plan: Plan, job: Job):
        self._source, self._plan, self._job = source, plan, job
        self._examples = Examples(job.config.caption_features)

    def write(self, shard: int, advance: Callable[[int], None]) -> None:
        """Writes a shard anew, from its first record."""
        config, options = self._job.config, self._job.options
        partial = self._plan.new_partial(shard)
        bad: list[Bad] = []
        unusual = Counter[str]()
        limits = (config.max_pixels, options.max_side, options.quality, options.convert)
        records = untold = 0
        writer = array_record_module.ArrayRecordWriter(os.fspath(partial), "group_size:1")
        for number in self._plan.numbers(shard):
            try:
                record = self._source[number]
                stored = checked(record, *limits)
                writer.write(self._examples.serialize(stored.record))
                unusual.update([stored.unusual] if stored.unusual else [])
                records += 1
            except BadRecord as error:
                bad.append(Bad(number, self._source.key(number), str(error)))
            untold += 1
            if untold == TELL_EVERY:
                advance(untold)
                untold = 0
        writer.close()
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        self._plan.finish(shard, partial, records, bad, dict(unusual))
        advance(untold)


@functools.lru_cache(maxsize=1)
def writer_of(job: Job) -> Writer:
    """That of this process."""
    source = open_train(job.config)
    return Writer(source, make_plan(source, job.config, Path(job.out), job.options), job)
