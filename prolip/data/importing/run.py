"""Writes a source as a TFDS data set, shard by shard; a killed import goes on where it was."""

import fcntl
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import tensorflow_datasets as tfds

from prolip.config import ConfigError, DataConfig
from prolip.data.files.child_processes import CONTEXT, child_processes
from prolip.data.importing.beam import write_on_beam
from prolip.data.importing.examples import Examples
from prolip.data.importing.plan import VERSION, Done, ImportOptions, Plan, make_plan
from prolip.data.importing.writer import Job, Writer, writer_of
from prolip.data.records import DataError
from prolip.data.sources.choose import open_train
from prolip.data.sources.source import Source
from prolip.workdir import write_whole

FORMAT = "array_record"
SECONDS = 0.2  # Between looks at the other processes.


class Imported(NamedTuple):
    """What an import has written."""

    folder: Path
    records: int
    shards: int
    nbytes: int
    bad: Counter[str]  # Reason to count of the records that were left out.
    damage: int  # Places where files of the source are damaged.
    list_of_bad: Path  # Both of them.
    features: list[str]  # Caption features of the data set.
    unusual: Counter[str]  # Images that other readers may decode otherwise, by what is unusual.
    notes: Sequence[str]  # Sentences on what the source leaves out.


def import_data(
    config: DataConfig,
    out: Path,
    options: ImportOptions,
    begin: Callable[[int, int], None] = lambda total, done: None,
    advance: Callable[[int], None] = lambda records: None,
) -> Imported:
    """Imports the training split of a configuration; calls after the first one go on with it.

    Records keep their order, so that numbers, and with them batches, are those of the source.

    Args:
      config: Names the source, its features, and what is kept of it.
      out: Folder of TFDS data sets, `data_dir` of a configuration that reads this one.
      options: Name, sizes, processes.
      begin: Called with the number of records, and how many were there already.
      advance: Called with the number of records that were read since.

    Raises:
      ConfigError: an option is out of bounds, or the folder was begun with others.
      DataError: the source can't be used, another import writes there, or a process was killed.
    """
    source = open_train(config)
    plan = make_plan(source, config, out, options)
    with _alone(plan.marks):
        plan.remove_partials()
        missing = [shard for shard in range(plan.shards) if plan.done(shard) is None]
        begin(plan.records, plan.records - sum(len(plan.numbers(shard)) for shard in missing))
        job = Job(config, str(out), options)
        if options.beam:
            write_on_beam(job, plan, missing, options.beam, advance)
        elif options.workers == 1 or len(missing) < 2:
            writer = Writer(source, plan, job)
            for shard in missing:
                writer.write(shard, advance)
        else:
            _in_processes(job, missing, advance)
        return _finish(plan, options, source)


def _in_processes(job: Job, shards: list[int], advance: Callable[[int], None]) -> None:
    counter = CONTEXT.Value("q", 0)
    told = 0
    pool = child_processes(min(job.options.workers, len(shards)), _set_counter, (counter,))
    with pool:
        futures = [pool.submit(_write_in_process, job, shard) for shard in shards]
        try:
            while any(not future.done() for future in futures):
                time.sleep(SECONDS)
                now = counter.value
                advance(now - told)
                told = now
                _raise_first(futures)
            advance(counter.value - told)
            _raise_first(futures)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _raise_first(futures: list[Future[None]]) -> None:
    for future in futures:
        error = future.exception() if future.done() and not future.cancelled() else None
        if isinstance(error, BrokenProcessPool):
            raise DataError(
                "a process of the import was killed, perhaps for memory; the same command goes on, "
                "with fewer --workers if it happens again"
            ) from error
        if error is not None:
            raise error


# Of a process of the import: how many records it has read, shared with the others.
_counter: Any = None


def _set_counter(counter: Any) -> None:
    global _counter
    _counter = counter


def _write_in_process(job: Job, shard: int) -> None:
    def advance(records: int) -> None:
        with _counter.get_lock():
            _counter.value += records

    writer_of(job).write(shard, advance)


def _finish(plan: Plan, options: ImportOptions, source: Source) -> Imported:
    """Writes the list of bad records and what TFDS needs to read the shards."""
    found = [plan.done(shard) for shard in range(plan.shards)]
    done = [shard for shard in found if shard is not None]
    assert len(done) == plan.shards
    bad = [bad for shard in done for bad in shard.bad]
    listed = (*source.damage, *bad)
    write_whole(plan.bad, "".join(json.dumps(b._asdict()) + "\n" for b in listed))
    records = sum(shard.records for shard in done)
    if not records:
        reasons = ", ".join(sorted({b.reason for b in bad}))
        raise DataError(f"none of the {plan.records:,} records can be used ({reasons})")
    _write_info(plan, options, done)
    return Imported(
        folder=plan.folder,
        records=records,
        shards=plan.shards,
        nbytes=sum(shard.nbytes for shard in done),
        bad=Counter(b.reason for b in bad),
        damage=len(source.damage),
        list_of_bad=plan.bad,
        features=plan.settings["features"],
        unusual=sum((Counter(shard.unusual) for shard in done), Counter()),
        notes=source.notes,
    )


def _write_info(plan: Plan, options: ImportOptions, done: list[Done]) -> None:
    features = Examples(plan.settings["captions"]).features
    identity = tfds.core.dataset_info.DatasetIdentity(
        name=options.name,
        version=tfds.core.Version(VERSION),
        data_dir=os.fspath(plan.folder),
        module_name="",
    )
    info = tfds.core.DatasetInfo(builder=identity, features=features)
    info.set_file_format(FORMAT)
    splits = [split for split in _others(plan, options) if split.name != options.split]
    template = tfds.core.ShardedFileTemplate(
        data_dir=plan.folder,
        dataset_name=options.name,
        split=options.split,
        filetype_suffix=FORMAT,
    )
    splits.append(
        tfds.core.SplitInfo(
            name=options.split,
            shard_lengths=[shard.records for shard in done],
            num_bytes=sum(shard.nbytes for shard in done),
            filename_template=template,
        )
    )
    info.set_splits(tfds.core.splits.SplitDict(splits))
    info.write_to_directory(plan.folder)


def _others(plan: Plan, options: ImportOptions) -> list[Any]:
    """Splits that were imported before."""
    if not (plan.folder / "dataset_info.json").exists():
        return []
    before = tfds.builder_from_directory(plan.folder).info
    names = sorted(before.features)
    if names != sorted(Examples(plan.settings["captions"]).features):
        raise ConfigError(
            f"{plan.folder} has splits with the features {', '.join(names)}; a data set has the "
            "same in all, take another --name"
        )
    return list(before.splits.values())


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Holds the folder against another import."""
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise DataError(f"another import writes to {folder.parent}") from error
        yield
