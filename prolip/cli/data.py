"""`prolip data VERB ...`: each verb is a module here."""

import argparse
import importlib
import sys
from typing import Any

from prolip.exit_codes import INTERRUPTED

VERBS = {
    "index": "make the indices of webdataset tars; opening makes what is missing",
    "import": "write tars, tables or a folder as a TFDS data set in ArrayRecord files",
    "stats": "count sizes, captions and duplicates, and draw a contact sheet",
    "validate": "read everything and name every bad record",
    "audit": "estimate how many matches an embedded data set does not know, from a labelled sample",
    "filter": "keep pairs of an embedded data set by uncertainty, inclusion or similarity",
}
RESUMED = ("import", "index")  # They keep what they have finished.


def arguments(parser: argparse.ArgumentParser) -> None:
    """Verbs and their options."""
    verbs = parser.add_subparsers(dest="data_verb", metavar="VERB", required=True)
    for verb, text in VERBS.items():
        sub = verbs.add_parser(
            verb,
            help=text,
            description=text,
            formatter_class=argparse.RawTextHelpFormatter,
            allow_abbrev=False,
        )
        _module(verb).arguments(sub)


def run(args: argparse.Namespace) -> int:
    """Runs the verb."""
    try:
        return _module(args.data_verb).run(args)
    except KeyboardInterrupt:
        again = "; run the same command again to resume" if args.data_verb in RESUMED else ""
        print(f"prolip data {args.data_verb}: stopped by Ctrl-C{again}", file=sys.stderr)
        return INTERRUPTED


def _module(verb: str) -> Any:
    return importlib.import_module(f"prolip.cli.data_{verb}")
