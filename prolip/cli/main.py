"""`prolip VERB ...`: finds the verb, and turns errors of the user into a sentence."""

import argparse
import errno
import importlib
import sys
import traceback
from collections.abc import Sequence

from prolip import __version__
from prolip.exit_codes import INTERRUPTED, NOT_FINITE, PEER_LOST, RESTART, USER_ERROR

# Verb -> what it does. Each is a module here with `arguments(parser)` and `run(args) -> int`;
# only the one that is asked for is imported.
VERBS = {
    "demo": "train, evaluate and report on the shipped emoji data, in a few minutes",
    "train": "train from a configuration; goes on where the workdir's last checkpoint is",
    "eval": "evaluate the checkpoints of a workdir, also while it is being written",
    "experiment": "run a named table of configurations and seeds; goes on where it was stopped",
    "report": "write a workdir's report.html",
    "embed": "embed images or texts in bulk; goes on where it was stopped",
    "index": "make an embedded collection searchable",
    "search": "find the items of a collection that a caption or an image is nearest to",
    "serve": "a local page that searches a collection",
    "convert": "a checkpoint to the Hub's layout, or from it",
    "launch": "start several processes of another verb on this machine",
    "data": "index, import, count or check tars, tables and folders",
    "prepare": "make or check the data set of a configuration",
    "describe": "print parameters, FLOPs and layout of a configuration, or all named sizes",
    "compile": "compile the train step for a TPU or GPU topology that is not here",
}
COMPILES = ("train", "eval", "experiment", "embed", "search", "serve")
TOGETHER = ("train", "eval", "embed")  # May be one process of several.
DESCRIPTION = "Probabilistic image-text pre-training in JAX."


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line; returns the exit code, one of `prolip.exit_codes`."""
    argv = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(prog="prolip", description=DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"prolip {__version__}")
    subparsers = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    asked = next((word for word in argv if not word.startswith("-")), None)
    for verb, text in VERBS.items():
        sub = subparsers.add_parser(
            verb,
            help=text,
            description=text,
            formatter_class=argparse.RawTextHelpFormatter,
            allow_abbrev=False,  # A slip in an option is no option.
        )
        if verb == asked:
            module = importlib.import_module(f"prolip.cli.{verb}")
            module.arguments(sub)
            sub.set_defaults(run=module.run)
    # What follows `--` is a command line of its own, for `launch`.
    end = argv.index("--") if "--" in argv else len(argv)
    args, rest = parser.parse_known_args(argv[:end])
    rest += argv[end:] if args.verb != "launch" else []
    if rest and getattr(args, "overrides", None) is None:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    args.overrides, args.command = rest, argv[end + 1 :]
    return _run(args)


def _run(args: argparse.Namespace) -> int:
    # Imported late: `prolip --help` needs none of them.
    from prolip import distributed
    from prolip.cli import compilation

    try:
        if args.verb in COMPILES:
            compilation.keep()
        if args.verb in TOGETHER:
            from prolip.cli import processes

            processes.join(args)
        code = args.run(args)
        if distributed.joined():
            distributed.leave()
        return code
    except BaseException as error:
        code = _tell(args.verb, error)
        if distributed.joined():
            # Others may be in a collective that this process will not come to.
            if code is None:
                traceback.print_exc()
            distributed.abandon(USER_ERROR if code is None else code)
        if code is None:
            raise
        return code


def _tell(verb: str, error: BaseException) -> int | None:
    """Prints what an error has to say and gives its exit code; None for one of the program."""
    from prolip import distributed
    from prolip.checkpoint.errors import CheckpointError, LeaseHeld
    from prolip.config import ConfigError
    from prolip.data.files.names import visible
    from prolip.data.records import DataError
    from prolip.interop.errors import SourceError
    from prolip.train.non_finite import NonFiniteError

    lost = distributed.peer_lost(error)
    if isinstance(error, KeyboardInterrupt):
        again = "; run the same command again to resume" if verb == "embed" else ""
        print(f"prolip {verb}: stopped by Ctrl-C{again}", file=sys.stderr)
        return INTERRUPTED
    if lost is not None:
        code, error = PEER_LOST, lost
    elif isinstance(error, LeaseHeld):
        code = RESTART if error.passes else USER_ERROR
    elif isinstance(error, ConfigError | DataError | CheckpointError | SourceError | OSError):
        code = USER_ERROR
    elif isinstance(error, NonFiniteError):
        code = NOT_FINITE
    else:
        return None
    print(f"prolip {verb}: {visible(_disk(error) or error, lines=True)}", file=sys.stderr)
    return code


def _disk(error: BaseException) -> str | None:
    """The sentence for a full disk or one that can't be written; None for other errors."""
    from prolip.checkpoint.errors import is_disk_full

    path = getattr(error, "filename", None)
    if not isinstance(error, OSError) or path is None:
        return None
    if is_disk_full(error):
        return f"the disk of {path} is full; free space there and run the same command again"
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return f"{path} can't be read or written: {error.strerror}"
    return None


if __name__ == "__main__":
    sys.exit(main())
