"""`prolip compile`."""

import argparse
import json

from prolip.cli import configuration
from prolip.config import ConfigError


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    configuration.arguments(parser)
    parser.add_argument(
        "--topology",
        required=True,
        metavar="KIND:SHAPE",
        help="v5e:16x16, v4:8x8x8, v5p:8x8x4, v6e:16x16; GPUs as slices x hosts x GPUs: h100:1x4x8",
    )
    parser.add_argument(
        "--num-slices", type=int, default=1, metavar="N", help="TPU slices; config.mesh.data spans"
    )
    parser.add_argument(
        "--estimate",
        action="store_true",
        help="also the compiler's own estimate of the time of a step, and MFU by it (TPU)",
    )
    parser.add_argument(
        "--xla",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an option of the compiler; may be given several times",
    )
    parser.add_argument("--hlo", default="", metavar="FILE", help="write the compiled program")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")


def run(args: argparse.Namespace) -> int:
    """Compiles the train step for devices that need not be there; 0 also where it doesn't fit."""
    from prolip.compile import topology

    # Before JAX looks for devices.
    topology.quiet_environment()
    from rich.console import Console

    from prolip import sharding
    from prolip.compile import program, report

    if args.num_slices < 1:
        raise ConfigError(f"--num-slices must be at least 1, got {args.num_slices}")
    config = configuration.load(args.config, args.overrides)
    target = topology.find(args.topology, args.num_slices)
    mesh = sharding.make_mesh(config.mesh, target.devices)
    options = target.options | program.parse_options(args.xla)
    compiled = program.compile_step(config, mesh, options)
    if args.hlo and compiled.executable is not None:
        with open(args.hlo, "w", encoding="utf-8") as file:
            file.write(compiled.executable.as_text())
    summary = report.summarize(config, target, mesh, compiled, estimate=args.estimate)
    if args.json:
        print(json.dumps(summary.to_dict(), indent=1))
    else:
        report.print_report(summary, Console())
    return 0
