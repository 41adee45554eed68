"""`prolip data import`."""

import argparse

from prolip.cli import data_source


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    data_source.arguments(parser)
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of TFDS data sets")
    parser.add_argument("--name", required=True, help="of the data set, as in my_data")
    parser.add_argument("--split", default="train", help="that is written; default: train")
    parser.add_argument(
        "--shard-mib", type=int, default=256, metavar="N", help="of a file; default: 256"
    )
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes")
    parser.add_argument(
        "--beam",
        default="",
        metavar="OPTIONS",
        help="import on an Apache Beam runner: options of its pipeline, with commas between,\n"
        "as in runner=DirectRunner,direct_num_workers=4,direct_running_mode=multi_processing",
    )
    parser.add_argument(
        "--max-side",
        type=int,
        default=0,
        metavar="N",
        help="scale larger images to N pixels of the longer side; default: keep their bytes",
    )
    parser.add_argument(
        "--quality", type=int, default=90, metavar="N", help="of the JPEG of scaled images"
    )
    parser.add_argument(
        "--convert",
        action="store_true",
        help="store images that other readers of TFDS data decode otherwise (palettes, CMYK,\n"
        "transparency, 16 bits, EXIF rotation, other files than JPEG and PNG) as upright RGB",
    )


def run(args: argparse.Namespace) -> int:
    """Imports, and tells how to read the result."""
    from pathlib import Path

    from rich.console import Console

    from prolip.data.files.names import visible
    from prolip.data.importing.plan import ImportOptions
    from prolip.data.importing.run import import_data
    from prolip.exit_codes import BAD_RECORDS
    from prolip.retrieval.progress import EmbeddingLine, Words

    lines = []

    def begin(total: int, done: int) -> None:
        if done:
            print(f"{done:,} of {total:,} records are there already")
        words = Words("import", "imported", "records", "reading")
        lines.append(EmbeddingLine(Console(), total, done, words))

    names = ("name", "split", "shard_mib", "max_side", "quality", "workers", "convert", "beam")
    options = ImportOptions(**{name: getattr(args, name) for name in names})
    try:
        found = import_data(
            data_source.config(args),
            Path(args.out).expanduser(),
            options,
            begin,
            lambda records: lines[0].advance(records),
        )
    finally:
        for line in lines:
            line.close()
    for note in found.notes:
        print(visible(note))
    gigabytes = found.nbytes / 1e9
    print(f"{found.folder}: {found.records:,} records, {found.shards:,} files, {gigabytes:,.2f} GB")
    print(
        f"read it with --config.data.name={args.name} --config.data.data_dir={args.out} "
        f'--config.data.caption_features="{tuple(found.features)}"'
    )
    for note in found.notes:
        print(note)
    if found.unusual:
        kinds = ", ".join(f"{n:,} x {kind}" for kind, n in found.unusual.most_common())
        print(
            f"{found.unusual.total():,} images are stored as they are and read right by prolip, "
            f"but other readers of TFDS data may decode them otherwise ({kinds}); --convert "
            "stores them as upright RGB"
        )
    if found.bad:
        reasons = ", ".join(f"{n:,} x {reason}" for reason, n in found.bad.most_common())
        print(f"{found.bad.total():,} records are left out ({reasons}); see {found.list_of_bad}")
    if found.damage:
        print(f"files are damaged in {found.damage:,} places; see {found.list_of_bad}")
    return BAD_RECORDS if found.bad or found.damage else 0
