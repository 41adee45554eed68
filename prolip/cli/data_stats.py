"""`prolip data stats`."""

import argparse

from prolip.cli import data_source


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    data_source.arguments(parser)
    parser.add_argument(
        "--samples",
        type=int,
        default=10_000,
        metavar="N",
        help="records to look at, evenly spread; 0 is all; default: 10,000",
    )
    parser.add_argument("--sheet", default="", metavar="FILE", help="a contact sheet, PNG")


def run(args: argparse.Namespace) -> int:
    """Prints tables, and draws the contact sheet."""
    from rich.console import Console
    from rich.table import Table

    from prolip.data import statistics
    from prolip.data.files.names import visible
    from prolip.data.sources.choose import open_train
    from prolip.retrieval.progress import EmbeddingLine, Words

    config = data_source.config(args)
    source = open_train(config)
    console = Console()
    total = len(statistics.spread(len(source), args.samples))
    words = Words("stats", "read", "records", "reading")
    line = EmbeddingLine(Console(stderr=True), total, 0, words)
    try:
        found = statistics.collect(source, config, args.samples, line.advance)
    finally:
        line.close()
    for note in source.notes:
        print(visible(note))
    print(f"{found.records:,} records, {found.looked_at:,} of them looked at")
    for reason, count in found.bad.most_common():
        print(f"bad: {count:,} x {reason}")
    print("images: " + ", ".join(f"{n:,} x {form}" for form, n in found.forms.most_common()))
    good = found.looked_at - found.bad.total()
    print(f"images with distinct bytes: {found.distinct_images:,} of {good:,}", end="")
    print(f", one of them {found.most_repeated:,} times" if found.most_repeated > 1 else "")
    print(f"captions: {found.captions:,}, distinct when cleaned: {found.distinct_captions:,}")
    table = Table(*("", "least", "1 %", "median", "99 %", "most"))
    for name, values in found.quantities.items():
        table.add_row(
            name, *(f"{value:,.4g}" if value < 1e4 else f"{value:,.0f}" for value in values)
        )
    console.print(table)
    if args.sheet:
        statistics.contact_sheet(source, config).save(args.sheet, "PNG")
        print(f"contact sheet: {args.sheet}")
    return 0
