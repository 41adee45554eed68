"""`prolip serve`."""

import argparse


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("directory", metavar="DIR", help="a collection that `prolip index` indexed")
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="to listen at; default: 127.0.0.1, which only this machine reaches",
    )
    parser.add_argument("--port", type=int, default=7860, help="default: 7860; 0 takes a free one")
    parser.add_argument(
        "--checkpoint",
        default="",
        metavar="SRC",
        help="of the model; default: where the collection says",
    )
    parser.add_argument(
        "--column",
        default="",
        metavar="NAME",
        help="where the pictures are, if it was given to `prolip embed`\n"
        "and no thumbnails were kept",
    )
    parser.add_argument("--data-dir", default="", metavar="DIR", help="of prepared TFDS data")
    parser.add_argument(
        "--approximate",
        action="store_true",
        help="ask the graph for the ranking that it was built for; may miss some",
    )


def run(args: argparse.Namespace) -> int:
    """Serves until Ctrl-C."""
    from prolip.retrieval.serve import serve

    serve(
        args.directory,
        host=args.host,
        port=args.port,
        checkpoint=args.checkpoint,
        column=args.column,
        data_dir=args.data_dir,
        approximate=args.approximate,
    )
    return 0
