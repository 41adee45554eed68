"""`prolip embed`."""

import argparse
import dataclasses

from prolip.cli import processes


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument(
        "--checkpoint",
        required=True,
        metavar="SRC",
        help="a workdir, its checkpoints folder, a folder as on the Hub, or a Hub id",
    )
    parser.add_argument(
        "--data",
        required=True,
        help="a folder of images; .txt (a text a line), .csv, .tsv, .jsonl or .parquet;\n"
        ".tar, a folder of tars, 'shards/*.tar' or 'shard-{00000..00099}.tar';\n"
        "tfds:NAME[/CONFIG][:SPLIT]",
    )
    parser.add_argument(
        "--out", required=True, metavar="DIR", help="the collection; the same command goes on in it"
    )
    parser.add_argument("--step", type=int, help="of the checkpoint; default: the newest")
    what = parser.add_argument_group("what is embedded")
    what.add_argument("--kind", choices=("image", "text"), help="default: inferred, and said")
    what.add_argument(
        "--column",
        default="",
        metavar="NAME",
        help="of a table: texts, encoded images or paths relative to it;\n"
        "a feature of a TFDS data set; in tars an extension, or json/FIELD",
    )
    what.add_argument(
        "--id-column", default="", metavar="NAME", help="of a table; default: number the rows"
    )
    what.add_argument("--data-dir", default="", metavar="DIR", help="of prepared TFDS data")
    how = parser.add_argument_group("how it is kept")
    how.add_argument(
        "--width",
        choices=("float32", "float16"),
        default="float32",
        help="of the stored numbers. float16 halves them, and changes the order of items that are\n"
        "near each other, for good; `prolip index` says how often. Default: float32",
    )
    how.add_argument(
        "--variance",
        choices=("log_var", "uncertainty"),
        default="log_var",
        help="of each dimension, or only the sum of the variances",
    )
    how.add_argument(
        "--thumbnail",
        type=int,
        default=0,
        metavar="N",
        help="keep a JPEG of at most N pixels a side of each image",
    )
    how.add_argument(
        "--image-form",
        choices=("exact", "released"),
        help="how images are read: as a viewer shows them, or as the released code does, without\n"
        "EXIF rotation and transparency; default: the checkpoint's",
    )
    how.add_argument("--part-size", type=int, default=8192, metavar="N", help="items of a file")
    run_ = parser.add_argument_group("how it runs")
    run_.add_argument(
        "--dtype", choices=("float32", "bfloat16"), help="to compute in; default: the checkpoint's"
    )
    run_.add_argument("--batch-size", type=int, default=256, metavar="N")
    run_.add_argument(
        "--threads", type=int, default=0, metavar="N", help="that decode; default: one a core"
    )
    run_.add_argument(
        "--max-bad-fraction",
        type=float,
        default=0.01,
        metavar="F",
        help="stop where a larger part of the items fails, of 100 at least; default: 0.01",
    )
    run_.add_argument(
        "--share",
        default="",
        metavar="I/N",
        help="embed the I-th of N shares, from 0, while other processes or machines that see\n"
        "DIR embed the others; default: what JAX says of its processes",
    )
    processes.arguments(parser, watchdog_seconds=None)


def run(args: argparse.Namespace) -> int:
    """Embeds."""
    import prolip
    from prolip.config import ConfigError
    from prolip.retrieval import bulk
    from prolip.retrieval.collections.choose import open_collection

    index, _, count = args.share.partition("/")
    if args.share and not (index.isdecimal() and count.isdecimal()):
        raise ConfigError(f"--share is like 0/4, the first of four; got {args.share!r}")
    collection = open_collection(
        args.data,
        kind=args.kind,
        column=args.column,
        id_column=args.id_column,
        data_dir=args.data_dir,
    )
    options = bulk.BulkOptions(
        batch_size=args.batch_size,
        part_size=args.part_size,
        width=args.width,
        variance=args.variance,
        thumbnail=args.thumbnail,
        threads=args.threads,
        max_bad_fraction=args.max_bad_fraction,
        process_index=int(index) if args.share else None,
        process_count=int(count) if args.share else None,
    )
    form = args.image_form
    model = prolip.load(args.checkpoint, args.step, dtype=args.dtype, image_form=form)
    # The very step, from anywhere: the newest one of a workdir may be another tomorrow.
    options = dataclasses.replace(options, checkpoint=model.source)
    bulk.embed(model, collection, args.out, options)
    return 0
