"""`prolip launch`."""

import argparse


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("where", choices=("local",), help="this machine, over 127.0.0.1")
    parser.add_argument("--processes", type=int, required=True, metavar="N")
    parser.add_argument(
        "--devices-per-process",
        type=int,
        metavar="D",
        help="CPU devices of each, or its share of the GPUs here; default: what JAX finds",
    )
    parser.add_argument(
        "--logs", metavar="DIR", help="of process_I.log; default: logs/ in the command's --workdir"
    )
    parser.add_argument(
        "--grace",
        type=float,
        default=15.0,
        metavar="S",
        help="seconds that the others have to end when one has failed; default: 15",
    )
    parser.epilog = (
        "After -- comes train, eval or embed with its options, the same for every process:\n"
        "  prolip launch local --processes 2 -- train --config emoji --workdir runs/two"
    )


def run(args: argparse.Namespace) -> int:
    """Runs the processes; the exit code of the first that failed, 0 if none did."""
    from pathlib import Path

    from prolip.cli.local_processes import run_processes
    from prolip.cli.main import TOGETHER
    from prolip.config import ConfigError

    command = args.command
    if not command or command[0] not in TOGETHER:
        raise ConfigError(
            f"after -- comes one of {', '.join(TOGETHER)} with its options: "
            "prolip launch local --processes 2 -- train --config emoji --workdir runs/two"
        )
    if args.processes < 1 or (args.devices_per_process or 1) < 1:
        raise ConfigError("--processes and --devices-per-process are at least 1")
    logs = args.logs or _folder(command)
    return run_processes(
        command,
        args.processes,
        args.devices_per_process,
        Path(logs) if logs else None,
        args.grace,
    )


def _folder(command: list[str]) -> str:
    """`logs` below the folder that the command writes to."""
    for option in ("--workdir", "--out"):
        for i, word in enumerate(command):
            name, given, value = word.partition("=")
            if name == option:
                value = value if given else "".join(command[i + 1 : i + 2])
                return f"{value}/logs"
    return ""
