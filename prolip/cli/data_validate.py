"""`prolip data validate`."""

import argparse

from prolip.cli import data_source


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    data_source.arguments(parser)
    parser.add_argument("--out", default="", metavar="FILE", help="also a JSONL of the bad records")


def run(args: argparse.Namespace) -> int:
    """Reads everything and prints a line for every bad record."""
    import collections
    import json
    from pathlib import Path

    from rich.console import Console

    from prolip.data.files.names import visible
    from prolip.data.sources.choose import open_train
    from prolip.data.validation import bad_records
    from prolip.exit_codes import BAD_RECORDS
    from prolip.retrieval.progress import EmbeddingLine, Words
    from prolip.workdir import write_whole

    config = data_source.config(args)
    source = open_train(config)
    for note in source.notes:
        print(visible(note))
    words = Words("validate", "read", "records", "reading")
    line = EmbeddingLine(Console(stderr=True), len(source), 0, words)
    found = []
    try:
        for bad in bad_records(source, config, line.advance):
            print(visible(f"{bad.key}: {bad.reason}"))
            found.append(bad)
    finally:
        line.close()
    if args.out:
        write_whole(Path(args.out), "".join(json.dumps(bad._asdict()) + "\n" for bad in found))
    reasons = collections.Counter(bad.reason for bad in found).most_common()
    listed = f" ({', '.join(f'{n:,} x {reason}' for reason, n in reasons)})" if found else ""
    print(f"{len(source):,} records, {len(found):,} bad{listed}")
    return BAD_RECORDS if found else 0
