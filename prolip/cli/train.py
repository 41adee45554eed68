"""`prolip train`."""

import argparse
import contextlib
import functools
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from prolip.cli import configuration, processes
from prolip.exit_codes import INTERRUPTED, RESTART

if TYPE_CHECKING:
    from prolip.config import TrainConfig
    from prolip.train.preemption import StopNotice


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    configuration.arguments(parser)
    processes.arguments(parser, watchdog_seconds=600.0)
    parser.add_argument("--workdir", required=True, help="where everything of the run is kept")
    parser.add_argument(
        "--allow-config-change",
        action="store_true",
        help="go on with another configuration or other data than the run began with",
    )


def run(args: argparse.Namespace) -> int:
    """Trains; 75 if a signal stopped it after a save, 130 if that was Ctrl-C."""
    from prolip.evals.sets.opened import names_of
    from prolip.train.preemption import StopNotice
    from prolip.train.same_start import told_to_all

    # First of all: a signal that comes while the run is being restored stops it all the same.
    with contextlib.closing(StopNotice()) as notice:
        with told_to_all():
            config = configuration.load(args.config, args.overrides)
            sets = names_of(config.eval.sets)  # Which `prolip eval` would refuse days later.
        return _train(config, args, sets, notice)


def _train(
    config: "TrainConfig", args: argparse.Namespace, sets: Sequence[str], notice: "StopNotice"
) -> int:
    import jax

    from prolip.evals import ledger
    from prolip.train.loop import train
    from prolip.workdir import Workdir

    with processes.watched(args, Workdir(Path(args.workdir)).dumps) as watchdog:
        outcome = train(
            config,
            args.workdir,
            allow_changes=args.allow_config_change,
            evaluations=functools.partial(
                ledger.evaluations, args.workdir, config.eval.evaluators, sets
            ),
            alive=watchdog.alive,
            notice=notice,
        )
    if outcome.stopped_by is not None:
        if jax.process_index() == 0:
            print(
                f"stopped by signal {outcome.stopped_by}, saved at step {outcome.step}; "
                "run the same command again to resume"
            )
        return INTERRUPTED if outcome.stopped_by == signal.SIGINT else RESTART
    return 0
