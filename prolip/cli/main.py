"""`prolip VERB ...`: finds the verb, and turns errors of the user into a sentence."""

import argparse
import importlib
import sys
from collections.abc import Sequence

from prolip import __version__

# Verb -> what it does. Each is a module here with `arguments(parser)` and `run(args) -> int`;
# only the one that is asked for is imported.
VERBS = {
    "demo": "train, evaluate and report on the shipped emoji data, in a few minutes",
    "train": "train from a configuration; goes on where the workdir's last checkpoint is",
    "eval": "evaluate the checkpoints of a workdir, also while it is being written",
    "report": "write a workdir's report.html",
    "embed": "embed images or texts in bulk; goes on where it was stopped",
    "index": "make an embedded collection searchable",
    "search": "find the items of a collection that a caption or an image is nearest to",
    "serve": "a local page that searches a collection",
    "convert": "a checkpoint to the Hub's layout, or from it",
    "prepare": "make or check the data set of a configuration",
    "describe": "print parameters, FLOPs and layout of a configuration, or all named sizes",
    "compile": "compile the train step for a TPU or GPU topology that is not here",
}
COMPILES = ("train", "eval", "embed", "search", "serve")
USER_ERROR = 1
TRY_AGAIN = 75
DESCRIPTION = "Probabilistic image-text pre-training in JAX."


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line; returns the exit code.

    0: done. 1: something that the message says how to mend. 3: a step was not finite.
    75: stopped by a signal and saved, or another process is letting go of the workdir: start again
    to go on. 130: Ctrl-C, saved.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(prog="prolip", description=DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"prolip {__version__}")
    subparsers = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    asked = next((word for word in argv if not word.startswith("-")), None)
    for verb, text in VERBS.items():
        sub = subparsers.add_parser(
            verb, help=text, description=text, formatter_class=argparse.RawTextHelpFormatter
        )
        if verb == asked:
            module = importlib.import_module(f"prolip.cli.{verb}")
            module.arguments(sub)
            sub.set_defaults(run=module.run)
    args, rest = parser.parse_known_args(argv)
    if rest and getattr(args, "overrides", None) is None:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    args.overrides = rest
    return _run(args)


def _run(args: argparse.Namespace) -> int:
    # Imported late: `prolip --help` needs none of them.
    from prolip.checkpoint.errors import CheckpointError, LeaseHeld
    from prolip.cli import compilation
    from prolip.config import ConfigError
    from prolip.data.records import DataError
    from prolip.interop.errors import SourceError
    from prolip.train.non_finite import NonFiniteError

    try:
        if args.verb in COMPILES:
            compilation.keep()
        return args.run(args)
    except LeaseHeld as error:
        print(f"prolip {args.verb}: {error}", file=sys.stderr)
        return TRY_AGAIN if error.passes else USER_ERROR
    except (ConfigError, DataError, CheckpointError, SourceError, OSError) as error:
        print(f"prolip {args.verb}: {error}", file=sys.stderr)
        return USER_ERROR
    except NonFiniteError as error:
        print(f"prolip {args.verb}: {error}", file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
