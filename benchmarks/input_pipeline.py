"""Training batches a second and core, against plainly decoding and resizing the same files.

    python benchmarks/input_pipeline.py --readers 2

Makes a data set of 256-pixel JPEG files in a temporary folder and reads it as `prolip train` does:
decode, random resized crop to 224, tokenise, batch; with and without the changes of colour of the
default configuration, in threads and in processes. The plain way is Pillow's decoder and bicubic
resize on the same files, one after the other. Per core: for each second of a processor, whatever
the threads and processes. The memory is that of all processes, after the first batches of a
reading, in its middle and at its end.

`--torch` adds the same pictures in tars, read by us and by webdataset, torchvision and PyTorch's
DataLoader (`webdataset_peer.py`), where those can be imported.
"""

import argparse
import dataclasses
import functools
import io
import itertools
import multiprocessing
import os
import statistics
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pictures
import webdataset_peer
from PIL import Image
from timing import json_argument, memory, print_header, print_row, save

from prolip.config import AugmentConfig, DataConfig, TokenizerConfig
from prolip.data.pipeline import TrainPipeline, train_tokenizer

SIZE, LENGTH = 224, 64  # Pixels a side and tokens of ViT-B/16.
TAR = 128  # Pictures of a tar.
KINDS = ("threads", "processes")
PLAIN = "plain decode and resize"
COLOURS = AugmentConfig()
CROP = dataclasses.replace(COLOURS, jitter_probability=0.0, grey_probability=0.0)


class Reading(NamedTuple):
    """One reading of many samples."""

    seconds: float
    cpu: float  # Of all processes.
    memory_before: int  # Bytes, of all processes.
    memory_middle: int
    memory_after: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=2048, help="different files")
    parser.add_argument("--samples", type=int, default=8192, help="read each time")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--readers", type=int, default=2, help="of either kind")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--torch", action="store_true", help="also read tars, with PyTorch too")
    json_argument(parser)
    args = parser.parse_args()
    if args.torch:
        webdataset_peer.check()
    with tempfile.TemporaryDirectory(prefix="prolip-input-") as folder:
        configs = {"": make_set(Path(folder), args.images)}
        if args.torch:
            configs[", tars"] = make_tars(Path(folder), args.images)
        ways = readers(configs, args)
        readings: dict[str, list[Reading]] = {name: [] for name in ways}
        for _ in range(args.repeats):
            for name, way in ways.items():
                readings[name].append(read(way(), args))
    rows = [row(name, several, args) for name, several in readings.items()]
    names = ("reader", "images/s", "images/s a core", "x plain, by core")
    print_header(*names, "MiB", "in the middle", "at the end")
    base = rows[0]["per_core"]
    for values in rows:
        values["of_plain"] = values["per_core"] / base
        print_row(
            values["reader"],
            f"{values['per_second']:,.0f}",
            f"{values['per_core']:,.0f}",
            f"{values['of_plain']:.2f}",
            *(f"{values[f'memory_{when}'] / 2**20:,.0f}" for when in ("before", "middle", "after")),
        )
    save(args.json, rows)


def make_set(folder: Path, count: int) -> DataConfig:
    """Writes the files."""
    pictures.prepare(folder, count)
    return DataConfig(
        name="pictures",
        data_dir=str(folder),
        caption_features=("captions",),
        caption_weights=(1.0,),
        max_captions=pictures.CAPTIONS,
        tokenizer=TokenizerConfig(),
    )


def make_tars(folder: Path, count: int) -> DataConfig:
    """Writes the same pictures, each with one of its captions, into tars."""
    paths = []
    for begin in range(0, count, TAR):
        paths.append(folder / f"{begin // TAR:05}.tar")
        with tarfile.open(paths[-1], "w") as tar:
            for number in range(begin, min(begin + TAR, count)):
                text = pictures.captions(number)[0].encode()
                for extension, content in (("jpg", pictures.jpeg(number)), ("txt", text)):
                    info = tarfile.TarInfo(f"{number:09}.{extension}")
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))
    return DataConfig(
        name="webdataset",
        data_dir=str(folder),
        train_split="*.tar",
        caption_features=("txt",),
        caption_weights=(1.0,),
        max_captions=1,
        tokenizer=TokenizerConfig(),
    )


def readers(
    configs: dict[str, DataConfig], args: argparse.Namespace
) -> dict[str, Callable[[], Iterator[int]]]:
    """By name, what begins to read and gives the number of samples of each batch."""
    tokenizer = train_tokenizer(configs[""], LENGTH)
    files = [pictures.jpeg(number) for number in range(args.images)]

    def pipeline(config: DataConfig, augment: AugmentConfig, workers: int) -> Iterator[int]:
        options = dataclasses.replace(
            config,
            augment=augment,
            num_workers=workers,
            num_threads=1 if workers else args.readers,
        )
        batches = TrainPipeline(options, SIZE, tokenizer, args.batch).batches()
        try:
            yield from (len(batch.image) for batch in batches)
        finally:
            batches.close()

    ways: dict[str, Callable[[], Iterator[int]]] = {PLAIN: lambda: plain(files)}
    changes = {"crop": CROP, "crop and colours": COLOURS}
    for kind, (where, config) in itertools.product(args.kinds, configs.items()):
        workers = args.readers if kind == "processes" else 0
        for what, augment in changes.items():
            ways[f"{args.readers} {kind}, {what}{where}"] = functools.partial(
                pipeline, config, augment, workers
            )
    if args.torch:
        tars = sorted(str(path) for path in Path(configs[", tars"].data_dir).glob("*.tar"))
        options = (SIZE, args.batch, args.readers, DataConfig.prefetch)
        for what, augment in changes.items():
            ways[f"{args.readers} processes, {what}, tars: PyTorch"] = functools.partial(
                webdataset_peer.batches, tars, augment, *options
            )
    return ways


def plain(files: list[bytes]) -> Iterator[int]:
    """What Pillow has to do for each file, and nothing else."""
    for file in itertools.cycle(files):
        image = Image.open(io.BytesIO(file)).convert("RGB")
        np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BICUBIC))
        yield 1


def read(samples: Iterator[int], args: argparse.Namespace) -> Reading:
    """Reads and times, from where all readers run and what they made ahead meanwhile is used up."""
    take(samples, args.batch * (2 + DataConfig.prefetch * (1 + args.readers)))
    before, clock, cpu = memory_of_all(), time.perf_counter(), cpu_of_all()
    more = take(samples, args.samples // 2)
    middle = memory_of_all()
    take(samples, args.samples - args.samples // 2 + more)
    seconds, spent = time.perf_counter() - clock, cpu_of_all() - cpu
    after = memory_of_all()
    close: Any = samples
    close.close()
    return Reading(seconds, spent, before, middle, after)


def take(samples: Iterator[int], count: int) -> int:
    """Reads so many, to the end of a batch; minus the number of those that were more."""
    while count > 0:
        count -= next(samples)
    return count


def processes() -> list[int]:
    """This one and those that it started."""
    return [os.getpid(), *(child.pid for child in multiprocessing.active_children() if child.pid)]


def cpu_of_all() -> float:
    """Seconds of processors so far."""
    ticks = 0
    for process in processes():
        # After the name, which may hold spaces: user and system time are fields 14 and 15.
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def memory_of_all() -> int:
    """Bytes."""
    return sum(memory(process=process) for process in processes())


def row(name: str, several: list[Reading], args: argparse.Namespace) -> dict[str, Any]:
    """Medians; the memory is that of the last reading."""
    return {
        "reader": name,
        "per_second": args.samples / statistics.median(r.seconds for r in several),
        "per_core": args.samples / statistics.median(r.cpu for r in several),
        "memory_before": several[-1].memory_before,
        "memory_middle": several[-1].memory_middle,
        "memory_after": several[-1].memory_after,
    }


if __name__ == "__main__":
    main()
