"""`prolip report`."""

import argparse


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("--workdir", required=True, help="of the run")


def run(args: argparse.Namespace) -> int:
    """Writes the report and says where it is."""
    from pathlib import Path

    from prolip.config import ConfigError
    from prolip.report import write_report
    from prolip.workdir import Workdir

    workdir = Workdir(Path(args.workdir).expanduser())
    if not any(p.exists() for p in (workdir.config, workdir.metrics, workdir.checkpoints)):
        raise ConfigError(f"{args.workdir} is not a run: it has neither config.json nor metrics")
    print(write_report(workdir.path))
    return 0
