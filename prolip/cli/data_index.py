"""`prolip data index`."""

import argparse


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument(
        "pattern", metavar="PATTERN", help="a tar, a folder of tars, 'tars/{0000..2175}.tar'"
    )
    parser.add_argument(
        "--index-dir",
        default="",
        metavar="DIR",
        help="where indices go; default: beside each tar, or the user's cache",
    )
    parser.add_argument(
        "--workers", type=int, default=0, metavar="N", help="processes; default: one a core"
    )


def run(args: argparse.Namespace) -> int:
    """Makes what is missing and says what is there."""
    import collections
    import os

    from rich.console import Console

    from prolip.config import DataConfig
    from prolip.data.files.foreign import foreign_note
    from prolip.data.files.names import visible
    from prolip.data.files.tar_index import make_missing
    from prolip.data.sources.choose import tars
    from prolip.exit_codes import BAD_RECORDS
    from prolip.retrieval.progress import EmbeddingLine, Words

    console = Console()
    paths = tars(DataConfig(), args.pattern)
    line = EmbeddingLine(console, len(paths), 0, Words("index", "indexed", "tars", "reading"))
    try:
        heads = make_missing(
            paths,
            args.index_dir,
            processes=args.workers or os.cpu_count() or 1,
            advance=lambda: line.advance(1),
        )
    finally:
        line.close()
    samples = sum(head.samples for head in heads)
    print(f"{len(heads):,} tars, {samples:,} samples, {sum(h.size for h in heads) / 1e9:,.1f} GB")
    extensions = collections.Counter(e for head in heads for e in head.extensions)
    listed = ", ".join(f".{visible(e)} in {n:,} tars" for e, n in extensions.most_common(12))
    print(f"members: {listed or 'none'}")
    if foreign := sum(head.foreign for head in heads):
        print(foreign_note(foreign, "the tars"))
    damaged = [head for head in heads if head.num_problems]
    for head in damaged:
        for member, reason in head.problems[:5]:
            print(visible(f"{head.path}{'/' if member else ''}{member}: {reason}"))
        if head.num_problems > 5:
            print(f"{visible(head.path)}: and {head.num_problems - 5:,} more")
    return BAD_RECORDS if damaged else 0
