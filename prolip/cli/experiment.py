"""`prolip experiment`."""

import argparse
from pathlib import Path

from prolip.exit_codes import INTERRUPTED, RESTART

WORKDIR = "runs/experiments"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.epilog = (
        "Goes on where it was stopped. Several of these may share the work, each started with the\n"
        "same words: a run is at one of them at a time. --config.key=value changes all cells. A\n"
        "table of some cells or of changed ones is printed, and written only where --out says."
    )
    parser.set_defaults(overrides=[])
    parser.add_argument("names", nargs="*", default=[], metavar="NAME", help="of the studies")
    parser.add_argument(
        "--list", action="store_true", help="print the cells of these studies, or of all"
    )
    parser.add_argument(
        "--workdir",
        default=WORKDIR,
        metavar="DIR",
        help=f"where the runs are, of all studies; equal ones are run once. Default:\n{WORKDIR}",
    )
    parser.add_argument(
        "--out",
        metavar="DIR",
        help="where NAME.md, NAME.html and NAME.json go; a table of more runs is never\n"
        "replaced. Default: results",
    )
    parser.add_argument("--seeds", type=int, metavar="N", help="default: those of the study")
    parser.add_argument(
        "--only", action="append", default=[], metavar="CELL", help="this cell; may be repeated"
    )
    parser.add_argument(
        "--table", action="store_true", help="run nothing; make the tables of what is done"
    )


def run(args: argparse.Namespace) -> int:
    """Runs the studies and writes their tables; 1 if a run failed, 75 after a signal."""
    import shlex

    from rich.console import Console

    from prolip.config import ConfigError
    from prolip.experiments import registry, table
    from prolip.experiments.queue import Outcome, work
    from prolip.experiments.runs import Place

    console = Console()
    if args.list:
        print(registry.listing([registry.study(name) for name in args.names or registry.STUDIES]))
        return 0
    if not args.names:
        raise ConfigError(f"name a study, of {', '.join(registry.STUDIES)}; --list says more")
    if args.only and len(args.names) > 1:
        raise ConfigError("--only names cells of one study")
    studies = [registry.study(name, args.seeds, args.only) for name in args.names]
    place = Place(
        Path(args.workdir).expanduser(), tuple(word.removeprefix("--") for word in args.overrides)
    )

    def say(text: str) -> None:
        console.print(text, highlight=False, markup=False)

    outcome = Outcome({}, 0)
    if not args.table:
        outcome = work(place, studies, say)
    changes = [f"--only={name}" for name in args.only] + list(args.overrides)
    for study in studies:
        if outcome.code not in (INTERRUPTED, RESTART):
            console.print(*table.terminal(place, study, console.width), sep="")
        if changes and args.out is None:
            say("not written: the table is of some cells or of changed ones; --out DIR writes it")
            continue
        own = [f"--{name}={x}" for name in ("seeds", "out") if (x := getattr(args, name))]
        own += [] if args.workdir == WORKDIR else [f"--workdir={args.workdir}"]
        command = shlex.join(["prolip", "experiment", study.name, *own, *changes])
        say(table.write(place, study, Path(args.out or "results").expanduser(), command))
    for name, cause in outcome.failed.items():
        say(f"failed: {name}: {cause}")
    return outcome.code
