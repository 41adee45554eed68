"""Reads every record as training does, and names those that can't be used."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from prolip.config import DataConfig
from prolip.data.items import Items
from prolip.data.records import Bad, BadRecord
from prolip.data.sources.source import Source

BLOCK = 256  # Records of a task.


def bad_records(
    source: Source, config: DataConfig, advance: Callable[[int], None] = lambda records: None
) -> Iterator[Bad]:
    """What is damaged of the files, then every record that is bad, in order.

    Args:
      source: Of any kind.
      config: Cleaning, limits, threads.
      advance: Called with the number of records that were read since.
    """
    yield from source.damage
    items = Items(source, config, upright=True)

    def read(block: range) -> list[Bad]:
        found = []
        for number in block:
            try:
                items.decoded(number)
            except BadRecord as bad:
                found.append(Bad(number, source.key(number), str(bad)))
        return found

    blocks = [range(i, min(i + BLOCK, len(source))) for i in range(0, len(source), BLOCK)]
    with ThreadPoolExecutor(max(1, config.num_threads)) as pool:
        for block, found in zip(blocks, pool.map(read, blocks), strict=True):
            advance(len(block))
            yield from found
