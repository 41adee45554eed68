"""`prolip search`."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from prolip.data.records import DataError

if TYPE_CHECKING:
    from rich.table import Table

    from prolip.retrieval.answers import Answer

OTHER_IMAGES = (".heic", ".heif", ".jp2", ".jxl")  # Which are not decoded.


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("directory", metavar="DIR", help="a collection that `prolip index` indexed")
    parser.add_argument(
        "queries", nargs="+", metavar="QUERY", help="a caption, or the path of an image file"
    )
    parser.add_argument("--k", type=int, default=10, help="items of an answer; default: 10")
    parser.add_argument(
        "--by",
        choices=("csd", "mean", "inclusion"),
        metavar="{csd,mean}",
        default="csd",
        help="csd: the sampled distance, which counts the items' uncertainty (default);\n"
        "mean: without it. Equal scores are in the order of the collection",
    )
    # Both are gone; who types them is told why.
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--direction", help=argparse.SUPPRESS)
    parser.add_argument(
        "--max-query-uncertainty",
        type=float,
        default=float("inf"),
        metavar="U",
        help="abstain from queries that are more uncertain",
    )
    parser.add_argument(
        "--max-item-uncertainty",
        type=float,
        default=float("inf"),
        metavar="U",
        help="leave out items that are more uncertain",
    )
    parser.add_argument(
        "--filter",
        action="append",
        default=[],
        metavar="COLUMN=PATTERN",
        help="only items whose id, uri or text is like this, as in 'id=cat*'; may be repeated",
    )
    parser.add_argument(
        "--ids",
        metavar="FILE",
        help="only items with these ids: a text file with one a line, or .npy, .parquet, .jsonl",
    )
    parser.add_argument(
        "--approximate",
        action="store_true",
        help="ask the graph; may miss some: see `prolip index`",
    )
    parser.add_argument(
        "--checkpoint", metavar="SRC", help="of the model; default: where the collection says"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object for each query")


def run(args: argparse.Namespace) -> int:
    """Searches and prints the answers."""
    import numpy as np
    from rich.console import Console
    from rich.text import Text

    import prolip
    from prolip.checkpoint.errors import CheckpointError, LeaseHeld
    from prolip.config import ConfigError
    from prolip.interop.errors import SourceError
    from prolip.retrieval.rankings import NO_INCLUSION

    if args.inside or args.direction or args.by == "inclusion":
        raise ConfigError(NO_INCLUSION)
    index = prolip.Index.open(args.directory)
    manifest = index.manifest
    assert manifest is not None  # Only an index in memory has none.
    queries = [_query(query) for query in args.queries]
    try:
        checkpoint, form = args.checkpoint or manifest.checkpoint, manifest.model.image_form
        model = prolip.load(checkpoint, image_form=form)
    except (CheckpointError, SourceError) as error:
        if args.checkpoint or isinstance(error, LeaseHeld):
            raise
        raise DataError(
            f"{error}. The collection names {manifest.checkpoint} as the place of its model; "
            "--checkpoint names another one."
        ) from error
    masks = [index.items.mask(text) for text in args.filter]
    if args.ids:
        masks.append(index.items.mask(_ids(Path(args.ids))))
    answers: dict[int, Answer] = {}
    for kind in (str, Path):  # Texts and images are searched for apart, each in one pass.
        chosen = [i for i, query in enumerate(queries) if isinstance(query, kind)]
        found = index.search(
            [queries[i] for i in chosen],
            args.k,
            by=args.by,
            max_query_uncertainty=args.max_query_uncertainty,
            max_item_uncertainty=args.max_item_uncertainty,
            filter=np.logical_and.reduce(masks) if masks else None,
            approximate=args.approximate,
            model=model,
        )
        answers |= dict(zip(chosen, found, strict=True))
    console = Console()
    for i, words in enumerate(args.queries):
        if args.json:
            print(json.dumps({"query": words, **answers[i].to_dict()}))
            continue
        console.print(Text(words, style="bold"), f" uncertainty {answers[i].uncertainty:.4g}")
        if answers[i].abstained:
            limit = args.max_query_uncertainty
            console.print(f"  Abstained: the query is more uncertain than {limit:.4g}.\n")
        elif not answers[i].hits:
            console.print("  No item passes.\n")
        else:
            console.print(_table(answers[i]))
    return 0


def _ids(path: Path) -> list[str]:
    from prolip.data.files.decoding import decoded
    from prolip.data.records import BadRecord
    from prolip.data.sources.keys import read_keys

    if path.suffix.lower() in (".npy", ".parquet", ".jsonl"):
        return read_keys(path).to_pylist()
    try:  # Blanks at the ends of a line are part of an id.
        return decoded(path.read_bytes()).replace("\r\n", "\n").split("\n")
    except BadRecord as error:
        raise DataError(f"{path}: {error}") from error


def _query(words: str) -> "str | Path":
    """The path of an image that is there, else a text."""
    from prolip.data.files.names import IMAGE_EXTENSIONS

    path = Path(words)
    if path.suffix.lower() not in (*IMAGE_EXTENSIONS, *OTHER_IMAGES):
        return words
    if not path.is_file():
        raise DataError(f"{words} looks like an image file, but does not exist")
    return path


def _table(answer: "Answer") -> "Table":
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from prolip.data.files.names import visible

    columns: dict[str, list[str]] = {
        "": [str(rank) for rank in range(1, len(answer.hits) + 1)],
        "score": [f"{hit.score:.4f}" for hit in answer.hits],
        "distance": [f"{hit.csd:.4f}" for hit in answer.hits],
        "uncertainty": [f"{hit.uncertainty:.4g}" for hit in answer.hits],
    }
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name, cells in columns.items():  # Narrow terminals cut words, not numbers.
        table.add_column(name, justify="right", min_width=max(map(len, [name, *cells])))
    columns["id"] = [hit.id for hit in answer.hits]
    columns["text"] = [hit.text or "" for hit in answer.hits]
    # The path of a file that its id already names would only take its room.
    columns["uri"] = [
        "" if hit.uri is None or hit.uri.endswith(hit.id) else hit.uri for hit in answer.hits
    ]
    for name in ("id", "text", "uri"):
        if name != "id" and not any(columns[name]):
            del columns[name]
            continue
        table.add_column(name)
    for row in zip(*columns.values(), strict=True):
        table.add_row(*(Text(visible(cell), no_wrap=True, overflow="ellipsis") for cell in row))
    return table
