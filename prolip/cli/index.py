"""`prolip index`."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prolip.retrieval.rounding import Rounding


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("directory", metavar="DIR", help="a collection of `prolip embed`")
    parser.add_argument(
        "--width",
        choices=("float32", "float16"),
        help="of the stored numbers. float16 halves the files, and changes the order of items\n"
        "that are near each other: how often is measured and printed. Default: as the collection",
    )
    parser.add_argument(
        "--check", action="store_true", help="read all files of the index and compare their hashes"
    )
    graph = parser.add_argument_group(
        "approximate search",
        "Exact search needs none of this. Needs `pip install 'prolip[faiss]'`.",
    )
    graph.add_argument(
        "--approximate", choices=("hnsw",), help="also build a graph, and measure its recall"
    )
    graph.add_argument(
        "--by", choices=("csd", "mean"), default="csd", help="what the graph ranks by; default: csd"
    )
    graph.add_argument("--hnsw-m", type=int, default=32, metavar="M", help="neighbours of an item")
    graph.add_argument(
        "--ef-construction", type=int, default=100, metavar="N", help="more: slower, better graph"
    )
    graph.add_argument(
        "--ef-search", type=int, default=128, metavar="N", help="more: slower, better answers"
    )


def run(args: argparse.Namespace) -> int:
    """Indexes, or checks an index."""
    from pathlib import Path

    from rich.console import Console
    from rich.progress import Progress

    from prolip.retrieval import embeddings
    from prolip.retrieval.approximate import ENOUGH_RECALL, RECALL_AT, Hnsw
    from prolip.retrieval.index import Index
    from prolip.retrieval.index_files import FOLDER

    console, directory = Console(), Path(args.directory)
    if args.check:
        index = Index.open(directory)
        index.check()
        console.print(f"All files of the index are as they were written ({len(index):,} items).")
        return 0
    hnsw = None
    if args.approximate:
        hnsw = Hnsw(args.by, args.hnsw_m, args.ef_construction, args.ef_search)
    count = embeddings.read_manifest(directory).count
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("indexing", total=count)
        index = Index.build(
            directory,
            width=args.width,
            hnsw=hnsw,
            progress=lambda rows: progress.advance(task, rows),
        )
    about = index.description
    assert about is not None
    size = sum(file.bytes for file in about.files)
    console.print(
        f"Indexed {about.count:,} items of dimension {about.dim} in {about.width}: "
        f"{size / 1e6:,.1f} MB in {directory / FOLDER}"
    )
    if about.uncertainty:
        quantiles = ", ".join(f"{name} {value:.3g}" for name, value in about.uncertainty.items())
        console.print(f"Uncertainty of the items: {quantiles}")
    if about.rounding is not None:
        console.print(rounding_sentence(about.rounding))
    graph = about.approximate
    if graph is None:
        return 0
    console.print(
        f"Recall@{RECALL_AT} of the graph against exact search: {graph.recall:.3f} "
        f"({graph.queries} of {graph.points:,} distinct items moved by noise; by {graph.by})"
    )
    if graph.recall < ENOUGH_RECALL:
        console.print(
            f"[yellow]Below {ENOUGH_RECALL}: raise --ef-search (now {graph.ef_search}), then "
            f"--hnsw-m ({graph.m}) or --ef-construction ({graph.ef_construction}).[/yellow]"
        )
    return 0


def rounding_sentence(rounding: "Rounding") -> str:
    """Says how much half precision changes, and how to keep the order."""
    if rounding.measured:
        start, keep = f"{rounding.changed:.0%}", "`--width float32` keeps it"
    else:
        start = f"an estimated {rounding.changed:.0%}"
        keep = "the collection itself has float16, and only `prolip embed --width float32` keeps it"
    return (
        f"Half precision changes the order of {start} of top-10 lists, of {rounding.queries} items "
        f"moved by noise; {keep}."
    )
