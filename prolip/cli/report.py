"""`prolip report`."""

import argparse


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("--workdir", required=True, help="of the run")
    parser.add_argument(
        "--evals", metavar="DIR", help="where `prolip eval --out DIR` has put the results"
    )
    parser.add_argument(
        "--output", metavar="FILE", help="the page to write; default: report.html in the workdir"
    )


def run(args: argparse.Namespace) -> int:
    """Writes the report and says where it is."""
    from pathlib import Path

    from prolip.config import ConfigError
    from prolip.report import write_report
    from prolip.workdir import Workdir

    workdir = Workdir(Path(args.workdir).expanduser())
    if not any(p.exists() for p in (workdir.config, workdir.metrics, workdir.checkpoints)):
        raise ConfigError(f"{args.workdir} is not a run: it has neither config.json nor metrics")
    print(write_report(workdir.path, results=args.evals, output=args.output))
    return 0
