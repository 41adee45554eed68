"""`prolip eval`."""

import argparse
import functools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prolip.cli import processes
from prolip.cli.eval_summary import STDOUT, show


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.epilog = (
        "Several of these may run on one workdir at once, on several machines too: each takes the\n"
        "oldest checkpoint that no other has, with all its evaluators, by a lease that ends with\n"
        "its process. Each checkpoint is evaluated once by each evaluator."
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--workdir", help="of the run")
    what.add_argument(
        "--model",
        metavar="SRC",
        help="measure one model with --set: a directory in the Hub's layout, a Hub id or a workdir",
    )
    what.add_argument(
        "--list",
        nargs="?",
        const="",
        metavar="NAME",
        help="print what can be evaluated, and what it needs; of a set, how to get its files",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="sets",
        metavar="NAME=WHERE",
        help="a ready evaluation set besides, 'imagenet=/data/imagenet/val'; may be repeated",
    )
    parser.add_argument(
        "--evaluators",
        default="",
        metavar="NAME,NAME",
        help="these, instead of the configuration's evaluators and sets: 'calibration,probe';\n"
        "what a step has been evaluated by before stays; --list has the names",
    )
    parser.add_argument(
        "--summary",
        action="store_true",
        help="evaluate nothing; print the table over the steps that have been evaluated, which\n"
        "`prolip eval --workdir` ends with too",
    )
    parser.add_argument(
        "--out",
        metavar="DIR",
        help="where the results go instead of the workdir, e.g. if that can't be written;\n"
        "`prolip report --evals DIR` reads them there",
    )
    parser.add_argument("--step", type=int, help="this checkpoint only; default: all not done yet")
    parser.add_argument(
        "--watch", action="store_true", help="go on until the trainer says that it is done"
    )
    parser.add_argument("--poll-seconds", type=float, default=5.0, metavar="S")
    parser.add_argument("--batch", type=int, default=256, metavar="N", help="images, with --model")
    parser.add_argument(
        "--json",
        nargs="?",
        const=STDOUT,
        metavar="FILE",
        help="all metrics of all steps, or of --model (default: eval.json);\n"
        "without FILE on the standard output instead of the table",
    )
    parser.add_argument(
        "--threads", type=int, default=8, metavar="N", help="that decode, with --model; default: 8"
    )
    processes.arguments(parser, watchdog_seconds=3600.0)


def run(args: argparse.Namespace) -> int:
    """Evaluates; 1 if something failed, 75 after SIGTERM."""
    if args.list is not None:
        from prolip.cli import eval_list

        return eval_list.show(args.list)
    from prolip.config import ConfigError

    if args.summary:
        if args.model or args.watch or args.sets or args.evaluators or args.step is not None:
            raise ConfigError("--summary evaluates nothing: give it --workdir, and --json or not")
        show(args.workdir, args.json, args.out)
        return 0
    if args.out and args.model:
        raise ConfigError("--out is for a --workdir; with --model, --json FILE names the file")
    if args.json not in (None, STDOUT) and not Path(args.json).expanduser().parent.is_dir():
        raise ConfigError(f"--json: {Path(args.json).expanduser().parent} is not a folder")
    return _model(args) if args.model else _workdir(args)


def _names(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for part in text.split(",") if (name := part.strip())))


def _say(args: argparse.Namespace) -> Callable[[str], Any]:
    """`print`, to the side where JSON on the standard output stands alone there."""
    return functools.partial(print, file=sys.stderr if args.json == STDOUT else sys.stdout)


def _workdir(args: argparse.Namespace) -> int:
    import jax

    from prolip.evals.run import evaluate_workdir
    from prolip.workdir import Workdir

    workdir = Workdir(Path(args.workdir))
    with processes.watched(args, workdir.dumps) as watchdog:
        outcome = evaluate_workdir(
            workdir,
            step=args.step,
            watch=args.watch,
            poll_seconds=args.poll_seconds,
            say=_say(args),
            signs=watchdog,
            sets=args.sets,
            results=Path(args.out).expanduser() if args.out else None,
            evaluators=_names(args.evaluators),
        )
    if jax.process_index() == 0 and not outcome.stopped:
        show(args.workdir, args.json, args.out)
    return outcome.exit_code


def _model(args: argparse.Namespace) -> int:
    from prolip.config import ConfigError, EvalConfig
    from prolip.evals.sets.one_model import evaluate_model

    if args.watch:
        raise ConfigError("--watch is for a --workdir; a model does not change")
    if args.evaluators:
        raise ConfigError("--evaluators is for a --workdir, whose configuration names the data")
    if args.batch < 1 or args.threads < 1:
        raise ConfigError("--batch and --threads are at least 1")
    target = Path("eval.json" if args.json in (None, STDOUT) else args.json).expanduser()
    with processes.watched(args, target.parent / "dumps") as watchdog:
        found = evaluate_model(
            args.model,
            args.sets,
            EvalConfig(batch=args.batch),
            step=args.step,
            threads=args.threads,
            alive=watchdog.alive,
            say=_say(args),
        )
    if found and args.json == STDOUT:
        print(json.dumps(found, indent=2))
    elif found:
        target.write_text(json.dumps(found, indent=2) + "\n")
        _table(found)
        print(f"written to {target}")
    return 0


SHOWN = (
    *("top1", "top5", "class_top1", "real/top1", "map"),
    *("filtered/top1", "bprw_transductive/top1"),
    *("text_to_image/recall@1", "text_to_image/recall@5", "text_to_image/recall@10"),
    *("image_to_text/recall@1", "image_to_text/recall@5", "image_to_text/recall@10", "rsum"),
    *("eccv/text_to_image/map_at_r", "eccv/image_to_text/map_at_r"),
    *("traversal/precision", "traversal/recall", "radius/precision", "radius/recall"),
)


def _table(found: dict[str, Any]) -> None:
    """The usual numbers of each set; the file has all."""
    from rich.console import Console
    from rich.table import Table

    table = Table()
    for column in ("set", "metric", "with variances", "by means"):
        table.add_column(column, justify="left" if column in ("set", "metric") else "right")
    metrics = found["metrics"]
    for name in found["sets"]:
        for metric in SHOWN:
            *way, last = metric.split("/")
            path = "/".join([f"sets/{name}", *way])
            values = [metrics.get(f"{path}/{variant}{last}") for variant in ("", "mean/")]
            if any(value is not None for value in values):
                digits = ".1f" if last == "rsum" else ".4f"
                cells = ["" if value is None else f"{value:{digits}}" for value in values]
                table.add_row(name, metric, *cells)
    Console().print(table)
