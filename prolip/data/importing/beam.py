"""An import on the workers of an Apache Beam runner, which may be those of a cluster."""

import functools
from collections.abc import Callable, Iterable, Sequence

from prolip.config import ConfigError
from prolip.data.importing.plan import Plan
from prolip.data.importing.writer import Job, writer_of
from prolip.data.records import DataError


def write_on_beam(
    job: Job,
    plan: Plan,
    shards: Sequence[int],
    options: str,
    advance: Callable[[int], None],
) -> None:
    """Writes shards, each on one worker; all workers see the source and the folder by their paths.

    A worker that is lost, or a pipeline that is, leaves whole shards and nothing else: another
    import goes on with the rest.

    Args:
      job: What each worker does.
      plan: Whose shards they are.
      shards: That are missing.
      options: Of the pipeline, as `tfds build --beam_pipeline_options` takes them: "NAME=VALUE"
        or "NAME", with commas between.
      advance: Called with the number of records, when all are written.

    Raises:
      ConfigError: Apache Beam is not installed.
      DataError: the pipeline failed.
    """
    try:
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions
    except ImportError as error:
        raise ConfigError(
            "--beam needs Apache Beam, which wants earlier versions of PyArrow and Pillow than "
            "constraints.txt: pip install 'prolip[beam]' in an environment of its own"
        ) from error
    pipeline = beam.Pipeline(options=PipelineOptions(flags(options)))
    (
        pipeline
        | "shards" >> beam.Create(list(shards))
        | "spread" >> beam.Reshuffle()
        | "write" >> beam.Map(functools.partial(_write, job))
    )
    try:
        pipeline.run().wait_until_finish()
    except Exception as error:
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise DataError(
            f"the Beam pipeline failed ({said[-1]}); the same command goes on"
        ) from error
    if missing := [shard for shard in shards if plan.done(shard) is None]:
        raise DataError(
            f"the Beam pipeline ended without {len(missing):,} of {len(shards):,} files: do its "
            f"workers see {plan.folder}?"
        )
    advance(sum(len(plan.numbers(shard)) for shard in shards))


def flags(options: str) -> list[str]:
    """Words of a command line."""
    words: Iterable[str] = (word.strip() for word in options.split(","))
    return [f"--{word.removeprefix('--')}" for word in words if word]


def _write(job: Job, shard: int) -> int:
    writer_of(job).write(shard, lambda records: None)
    return shard
