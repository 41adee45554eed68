"""`prolip report`."""

import argparse


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("--workdir", required=True, help="of the run")


def run(args: argparse.Namespace) -> int:
    """Writes the report and says where it is."""
    from pathlib import Path

    from prolip.report import write_report

    print(write_report(Path(args.workdir)))
    return 0
