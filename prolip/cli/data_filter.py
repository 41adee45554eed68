"""`prolip data filter`."""

import argparse


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument(
        "collections",
        nargs="+",
        metavar="EMB",
        help="of `prolip embed`: images, texts, or both, of the training data by one model",
    )
    parser.add_argument(
        "--by",
        required=True,
        metavar="SCORE",
        help="uncertainty (of the text), image_uncertainty: low is good.\n"
        "similarity, inclusion (of the image in its text), specificity: high is good.\n"
        "Or several: 'similarity - 0.5 * uncertainty', of ranks from 0, lowest, to 1; high is good",
    )
    parser.add_argument(
        "--keep", type=float, metavar="F", help="the best fraction, and what is equal to its last"
    )
    parser.add_argument("--above", type=float, metavar="X", help="keep scores of at least X")
    parser.add_argument("--below", type=float, metavar="X", help="keep scores of at most X")
    parser.add_argument(
        "--out", required=True, metavar="FILE", help="Parquet of keys, for data.keep_keys"
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of specificity's reference images"
    )


def run(args: argparse.Namespace) -> int:
    """Filters, and prints the report."""
    from pathlib import Path

    from prolip.curation.filtering import FilterOptions, filter_pairs
    from prolip.data.files.names import visible

    names = ("by", "keep", "above", "below", "seed")
    options = FilterOptions(**{name: getattr(args, name) for name in names})
    report = filter_pairs(args.collections, Path(args.out).expanduser(), options)
    print(visible(report, lines=True), end="")
    return 0
