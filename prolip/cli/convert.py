"""`prolip convert`."""

import argparse


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("source", help="workdir, directory in the Hub's layout, or Hub id")
    parser.add_argument("destination", help="new directory")
    parser.add_argument(
        "--to",
        required=True,
        choices=("orbax", "hub"),
        help="hub: config.json and model.safetensors, which the PyTorch code loads;\n"
        "orbax: a workdir with one checkpoint, for `prolip embed` or config.init_from",
    )
    parser.add_argument("--step", type=int, help="of a workdir; default: the newest")
    parser.add_argument(
        "--hub-id", default="", help="where it will be published: named as the tokenizer's place"
    )


def run(args: argparse.Namespace) -> int:
    """Converts."""
    from prolip.convert import convert

    convert(args.source, args.destination, args.to, step=args.step, hub_id=args.hub_id)
    print(f"wrote {args.destination}")
    return 0
