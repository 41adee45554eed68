"""`prolip demo`."""

import argparse


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("--workdir", default="runs/demo", help="default: runs/demo")
    parser.add_argument(
        "--compare", action="store_true", help="train SigLIP here too (twice the time)"
    )
    parser.set_defaults(overrides=[])


def run(args: argparse.Namespace) -> int:
    """Runs the demonstration."""
    from pathlib import Path

    from rich.console import Console

    from prolip import demo

    return demo.run(
        Path(args.workdir),
        rerun_rival=args.compare,
        overrides=args.overrides,
        console=Console(),
    )
