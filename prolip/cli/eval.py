"""`prolip eval`."""

import argparse

from prolip.cli import processes


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("--workdir", required=True, help="of the run")
    parser.add_argument("--step", type=int, help="this checkpoint only; default: all not done yet")
    parser.add_argument(
        "--watch", action="store_true", help="go on until the trainer says that it is done"
    )
    parser.add_argument("--poll-seconds", type=float, default=5.0, metavar="S")
    processes.arguments(parser, watchdog_seconds=3600.0)


def run(args: argparse.Namespace) -> int:
    """Evaluates; 1 if something failed, 75 after SIGTERM."""
    from pathlib import Path

    from prolip.evals.run import evaluate_workdir
    from prolip.workdir import Workdir

    workdir = Workdir(Path(args.workdir))
    with processes.watched(args, workdir.dumps) as watchdog:
        return evaluate_workdir(
            workdir,
            step=args.step,
            watch=args.watch,
            poll_seconds=args.poll_seconds,
            signs=watchdog,
        ).exit_code
