"""`prolip describe`."""

import argparse
import dataclasses
import json
from typing import Any

from prolip.cli import configuration
from prolip.config import ConfigError, MeshConfig, TrainConfig

GIB, MIB = 2**30, 2**20


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    configuration.arguments(parser, default="all")
    parser.add_argument(
        "--mesh",
        default="",
        metavar="data=N,fsdp=N,tensor=N",
        help="also the bytes of a device and the exchanges of a step on this mesh",
    )
    parser.add_argument("--json", action="store_true", help="print the layout as JSON")


def run(args: argparse.Namespace) -> int:
    """Prints the table of parameters and FLOPs, and the layout where a mesh is given."""
    from rich.console import Console

    from prolip.models import sizes

    if args.config == "all":
        if args.overrides or args.mesh or args.json:
            word = (*args.overrides, *(["--mesh"] if args.mesh else ["--json"]))[0]
            raise ConfigError(f"{word} needs --config, to know which one to change or describe")
        Console().print(_models(sizes.SIZES))
        return 0
    config = configuration.load(args.config, args.overrides)
    if args.mesh:
        config = dataclasses.replace(config, mesh=mesh_config(args.mesh))
    if args.json:
        from prolip.compile.layout import layout

        found = layout(config)
        values = found._asdict() | {
            "flops": found.flops._asdict(),
            "exchanges": [exchange._asdict() for exchange in found.exchanges],
        }
        print(json.dumps(values, indent=1))
        return 0
    console = Console()
    console.print(_models({args.config: config.model}))
    if args.mesh or any("config.mesh." in word for word in args.overrides):
        _print_layout(config, console)
    return 0


def mesh_config(text: str) -> MeshConfig:
    """`data=2,fsdp=4` to sizes; what is not named is 1.

    Raises:
      ConfigError: another axis, or no number.
    """
    sizes = {"data": 1, "fsdp": 1, "tensor": 1}
    for word in text.split(","):
        axis, _, number = word.strip().partition("=")
        if axis not in sizes or not number.isdecimal():
            raise ConfigError(f"--mesh {text}: write data=2,fsdp=4,tensor=1")
        sizes[axis] = int(number)
    return MeshConfig(**sizes)


def _models(models: dict[str, Any]) -> Any:
    from rich.table import Table

    from prolip.models import count

    table = Table(title="Parameters and FLOPs of one image-text pair (2 per multiply-add)")
    table.add_column("model")
    for name in ("image tower", "text tower", "total", "image forward", "text forward", "training"):
        table.add_column(name, justify="right")
    for name, model in models.items():
        parts = count.count(model)
        table.add_row(
            name,
            *(f"{parts[k].parameters / 1e6:,.1f} M" for k in ("image", "text", "total")),
            *(f"{parts[k].forward_flops / 1e9:,.2f} GF" for k in ("image", "text")),
            f"{count.train_flops_per_pair(model) / 1e9:,.2f} GF",
        )
    return table


def _print_layout(config: TrainConfig, console: Any) -> None:
    from rich.table import Table

    from prolip.compile.layout import layout

    found = layout(config)
    mesh = " ".join(f"{axis}={size}" for axis, size in found.mesh.items())
    table = Table(title=f"One device of the mesh {mesh}, global batch {config.global_batch:,}")
    table.add_column("bytes")
    table.add_column("GiB", justify="right")
    for name in ("parameters", "optimizer", "gradients", "activations", "loss", "batch", "total"):
        label = f"activations, estimated, remat {config.model.remat}"
        table.add_row(label if name == "activations" else name, f"{getattr(found, name) / GIB:.3f}")
    console.print(table)
    exchanges = Table(title="Exchanges between devices in one step")
    for name in ("what", "exchange", "axes"):
        exchanges.add_column(name)
    for name in ("arrays MiB", "sent by a device MiB"):
        exchanges.add_column(name, justify="right")
    for row in found.exchanges:
        numbers = (f"{row.nbytes / MIB:,.1f}", f"{row.moved / MIB:,.1f}")
        exchanges.add_row(row.what, row.kind, row.axes, *numbers)
    console.print(exchanges)
    tera = found.flops.total / 1e12
    devices = found.mesh["data"] * found.mesh["fsdp"] * found.mesh["tensor"]
    console.print(
        f"FLOPs of a step: {tera:,.1f} TF, {tera / devices:,.2f} TF a device. All by arithmetic, "
        "without the padding of layouts; `prolip compile` asks the compiler.",
        highlight=False,
    )
