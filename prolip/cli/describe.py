"""`prolip describe`."""

import argparse

from prolip.cli import configuration
from prolip.config import ConfigError


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    configuration.arguments(parser, default="all")


def run(args: argparse.Namespace) -> int:
    """Prints the table of parameters and FLOPs."""
    from rich.console import Console
    from rich.table import Table

    from prolip.models import count, sizes

    models = sizes.SIZES
    if args.config == "all" and args.overrides:
        raise ConfigError(f"{args.overrides[0]} needs --config, to know which one to change")
    if args.config != "all":
        models = {args.config: configuration.load(args.config, args.overrides).model}
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
    Console().print(table)
    return 0
