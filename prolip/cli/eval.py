"""`prolip eval`."""

import argparse

from prolip.cli import processes


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--workdir", help="of the run")
    what.add_argument(
        "--list", action="store_true", help="print what can be evaluated, and what it needs"
    )
    parser.add_argument("--step", type=int, help="this checkpoint only; default: all not done yet")
    parser.add_argument(
        "--watch", action="store_true", help="go on until the trainer says that it is done"
    )
    parser.add_argument("--poll-seconds", type=float, default=5.0, metavar="S")
    processes.arguments(parser, watchdog_seconds=3600.0)


def run(args: argparse.Namespace) -> int:
    """Evaluates; 1 if something failed, 75 after SIGTERM."""
    if args.list:
        return _list()
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


def _list() -> int:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from prolip.evals.registry import REGISTRY, manual_dir

    table = Table()
    for name in ("name", "measures", "needs", "here"):
        table.add_column(name, overflow="fold")
    for entry in REGISTRY:
        kind = "" if entry.run else "\n(from Python)"
        cells = (entry.name + kind, entry.measures, entry.needs, "yes" if entry.here() else "no")
        table.add_row(*map(escape, cells))
    console = Console()
    console.print(table)
    console.print(
        "A run's evaluators are those of its configuration: "
        "--config.eval.evaluators=\"('retrieval', 'probe')\" of prolip train.\n"
        f"The manual folder is {manual_dir()}.",
        highlight=False,
    )
    return 0
