"""`prolip data audit`."""

import argparse


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument(
        "collections",
        nargs="+",
        metavar="EMB",
        help="of `prolip embed`: the images and the texts of the same records, by one model;\n"
        "and those of other models",
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="of the page and the report")
    parser.add_argument(
        "--k", type=int, default=25, help="images of a text by each model; default: 25"
    )
    parser.add_argument(
        "--sample", type=int, default=500, metavar="N", help="candidates to label; default: 500"
    )
    parser.add_argument(
        "--design",
        choices=("pairs", "rank", "queries"),
        default="pairs",
        help="pairs: any candidates; rank: as many of each range of ranks; queries: all\n"
        "candidates of some texts, which shows how matches are spread. Default: pairs",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of all that is drawn")
    parser.add_argument(
        "--max-queries",
        type=int,
        default=10_000,
        metavar="N",
        help="ask at most so many texts, drawn at random; default: 10,000",
    )
    parser.add_argument(
        "--confidence", type=float, default=0.95, metavar="F", help="of intervals; default: 0.95"
    )
    what = parser.add_argument_group("what is known of the candidates")
    what.add_argument("--labels", default="", metavar="FILE", help="that the page saved")
    what.add_argument(
        "--known",
        default="",
        metavar="FILE",
        help="a table of valid pairs with the columns text and image (ids), or equal-texts:\n"
        "an image matches every text that is equal to one of its own",
    )


def run(args: argparse.Namespace) -> int:
    """Audits, and prints the report."""
    from pathlib import Path

    from prolip.curation.audit import AuditOptions, audit
    from prolip.data.files.names import visible

    names = ("k", "sample", "design", "seed", "max_queries", "confidence", "labels", "known")
    options = AuditOptions(**{name: getattr(args, name) for name in names})
    out = Path(args.out).expanduser()
    print(visible(audit(args.collections, out, options), lines=True), end="")
    print(f"\nwritten: {out}/label.html, report.md, report.json, candidates.parquet")
    return 0
