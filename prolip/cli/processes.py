"""Options and frame of the verbs that run in several processes."""

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from prolip import distributed
from prolip.cli import compilation
from prolip.distributed import Timeouts
from prolip.exit_codes import STUCK
from prolip.watchdog import Signs, Watchdog


def arguments(parser: argparse.ArgumentParser, watchdog_seconds: float | None) -> None:
    """Adds the options; a verb without signs of life has no default for the watchdog."""
    group = parser.add_argument_group(
        "several processes",
        "Each process of a run gets the same command and its own place, by options, by the\n"
        "environment (PROLIP_COORDINATOR, PROLIP_NUM_PROCESSES, PROLIP_PROCESS_ID) or from the\n"
        "cluster (--distributed auto). `prolip launch local` starts several on one machine.",
    )
    group.add_argument("--coordinator", default="", metavar="HOST:PORT", help="of process 0")
    group.add_argument("--num-processes", type=int, metavar="N", help="of the whole run")
    group.add_argument("--process-id", type=int, metavar="I", help="of this one, from 0")
    group.add_argument(
        "--distributed",
        choices=("auto", "off"),
        default="",
        help="auto: the place is what SLURM, Kubernetes, Open MPI or Cloud TPU say;\n"
        "off: one process, whatever the environment says; or PROLIP_DISTRIBUTED",
    )
    for name, text in (
        ("initialization", "for the others to come"),
        ("heartbeat", "after which a silent process counts as dead and all stop"),
        ("shutdown", "for the others to go"),
    ):
        default = getattr(Timeouts(), name)
        group.add_argument(
            f"--{name}-timeout",
            type=int,
            default=default,
            metavar="S",
            help=f"seconds {text}; default: {default}",
        )
    if watchdog_seconds is not None:
        group.add_argument(
            "--watchdog-seconds",
            type=float,
            default=watchdog_seconds,
            metavar="S",
            help="without progress, after which the process writes the stacks of its threads to\n"
            f"WORKDIR/dumps and ends with code {STUCK}; 0: never; "
            f"default: {watchdog_seconds:g}",
        )


def join(args: argparse.Namespace) -> None:
    """Takes the place that the options or the environment say; nothing for a process alone."""
    place = distributed.find_place(
        args.coordinator, args.num_processes, args.process_id, args.distributed
    )
    if place is not None:
        seconds = (args.initialization_timeout, args.heartbeat_timeout, args.shutdown_timeout)
        distributed.join(place, Timeouts(*seconds), _say(args.verb))
        compilation.keep_in_each_process()


@contextlib.contextmanager
def watched(args: argparse.Namespace, dumps: Path) -> Iterator[Signs]:
    """A watchdog around the work of a verb, after `join`."""
    import jax

    with Watchdog(args.watchdog_seconds, dumps, jax.process_index(), _say(args.verb)) as watchdog:
        yield watchdog


def _say(verb: str) -> Callable[[str], None]:
    return lambda sentence: print(f"prolip {verb}: {sentence}", file=sys.stderr, flush=True)
