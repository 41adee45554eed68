"""Exact search of a large collection against one plain matrix product; FAISS against exact search.

    python benchmarks/search.py --items 1000000 --dim 768
    python benchmarks/search.py --items 100000 --faiss

Makes a random clustered collection in a temporary folder (it needs twice its size), indexes it, and
prints Markdown tables. A second process then times both sides in turn; its peak memory is read
before the matrix of the plain product is loaded.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from timing import in_turn, json_argument, peak_memory, print_header, print_row, save

from prolip.gaussian import Gaussian
from prolip.retrieval import embeddings, index_files
from prolip.retrieval.approximate import Hnsw
from prolip.retrieval.embeddings import Identity, Manifest, Rows
from prolip.retrieval.index import Index

PART = 50_000
CLUSTERS = 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=768)
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--width", choices=("float32", "float16"), default="float32")
    parser.add_argument("--by", choices=("csd", "mean"), default="csd")
    parser.add_argument("--faiss", action="store_true", help="also build a graph and ask it")
    parser.add_argument("--hnsw-m", type=int, default=Hnsw.m)
    parser.add_argument("--ef-construction", type=int, default=Hnsw.ef_construction)
    parser.add_argument("--ef-search", type=int, default=Hnsw.ef_search)
    parser.add_argument(
        "--folder", type=Path, help="for the temporary files; default: the system's"
    )
    json_argument(parser)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        measure(Index.open(args.measure), args.measure, args)
        return
    with tempfile.TemporaryDirectory(dir=args.folder, prefix="prolip-search-") as folder:
        directory = Path(folder)
        make_collection(directory, args)
        graph = Hnsw(m=args.hnsw_m, ef_construction=args.ef_construction, ef_search=args.ef_search)
        start = time.perf_counter()
        Index.build(directory, hnsw=graph if args.faiss else None)
        print(f"index built in {time.perf_counter() - start:.0f} s", flush=True)
        command = [sys.executable, __file__, *sys.argv[1:], "--measure", folder]
        subprocess.run(command, check=True)


def make_collection(directory: Path, args: argparse.Namespace) -> None:
    """Unit means around a thousand centres, uncertainties that differ by item."""
    rng = np.random.default_rng(0)
    centres = unit(rng.standard_normal((CLUSTERS, args.dim), np.float32))
    parts = []
    for first in range(0, args.items, PART):
        count = min(PART, args.items - first)
        noise = unit(rng.standard_normal((count, args.dim), np.float32))
        mean = unit(centres[rng.integers(0, CLUSTERS, count)] + 0.8 * noise)
        level = rng.normal(-8, 0.5, (count, 1)).astype(np.float32)
        log_var = level + 0.3 * rng.standard_normal((count, args.dim), np.float32)
        ids = tuple(f"item {first + i}" for i in range(count))
        none = (None,) * count
        rows = Rows(ids, Gaussian(mean, log_var), np.exp(log_var).sum(-1), none, none, none)
        path = directory / embeddings.part_name(len(parts))
        embeddings.write_part(
            path, rows, [], first_item=first, items=count, width=args.width, variance="uncertainty"
        )
        parts.append(embeddings.describe_part(path)[0])
    manifest = Manifest(
        format=embeddings.FORMAT,
        kind="image",
        count=args.items,
        failed=0,
        dim=args.dim,
        width=args.width,
        variance="uncertainty",
        model=Identity("random", "", ""),
        checkpoint="none",
        source="random",
        parts=tuple(parts),
    )
    embeddings.write_manifest(directory, manifest)


def measure(index: Index, directory: Path, args: argparse.Namespace) -> None:
    folder = directory / index_files.FOLDER / index.description.folder
    queries = some_queries(folder, args)

    def search(approximate: bool = False) -> list:
        return index.search(queries, k=10, by=args.by, approximate=approximate)

    first = seconds(search)
    forget(folder)
    cold = seconds(search)
    seconds(search)
    memory = peak_memory()

    matrix = np.fromfile(folder / index_files.MEAN, index_files.DTYPES[args.width])
    matrix = jnp.asarray(matrix.reshape(-1, args.dim), jnp.float32)
    asked = jnp.asarray(queries.mean)
    product = jax.jit(lambda a, b: jnp.matmul(a, b.T, precision=jax.lax.Precision.HIGHEST))
    host = np.asarray(matrix)
    ways = {
        "exact": search,
        "JAX": lambda: product(asked, matrix).block_until_ready(),
        "NumPy": lambda: queries.mean @ host.T,
    }
    times = in_turn(ways, args.repeats)
    fastest = min(times["JAX"].seconds, times["NumPy"].seconds)
    row = {
        "items": args.items,
        "dim": args.dim,
        "product": times["JAX"].seconds,
        "product_numpy": times["NumPy"].seconds,
        "seconds": times["exact"].seconds,
        "of_product": times["exact"].seconds / fastest,
        "cpu_of_product": times["exact"].cpu / times["JAX"].cpu,
        "first": first,
        "not_in_memory": cold,
        "peak_memory": memory,
    }
    print(f"\n{args.queries} queries, by {args.by}, {args.width}, median of {args.repeats}:\n")
    print_header(
        *("N", "D", "plain product: JAX, NumPy", "exact search, files in memory"),
        *("ratio to the faster product", "ratio of CPU time to JAX's product", "first search"),
        *("files not in memory", "peak memory"),
    )
    print_row(
        f"{args.items:,}",
        args.dim,
        f"{row['product']:.2f} s, {row['product_numpy']:.2f} s",
        f"{row['seconds']:.2f} s",
        f"{row['of_product']:.2f}",
        f"{row['cpu_of_product']:.2f}",
        f"{first:.2f} s",
        f"{cold:.2f} s",
        f"{memory / 2**30:.2f} GiB",
    )
    if args.faiss:
        asked_again = [seconds(lambda: search(approximate=True)) for _ in range(args.repeats + 1)]
        graph = index.description.approximate
        approximate, recall = statistics.median(asked_again[1:]), index.recall(queries)
        row |= {"approximate": approximate, "recall_at_10": recall}
        print()
        print_header(
            *("N", "m, ef_construction, ef_search", "recall@10", f"{args.queries} queries"),
            "exact search",
        )
        print_row(
            f"{args.items:,}",
            f"{graph.m}, {graph.ef_construction}, {graph.ef_search}",
            f"{recall:.3f}",
            f"{approximate * 1e3:.0f} ms",
            f"{row['seconds'] * 1e3:.0f} ms",
        )
    save(args.json, [row], sys.argv[1:-2])  # Without `--measure`.


def some_queries(folder: Path, args: argparse.Namespace) -> Gaussian:
    """Items, moved by noise of half their length."""
    rng = np.random.default_rng(1)
    dtype = index_files.DTYPES[args.width]
    stored = np.memmap(folder / index_files.MEAN, dtype, "r").reshape(-1, args.dim)
    mean = stored[np.sort(rng.choice(args.items, args.queries))].astype(np.float32)
    mean = unit(mean + unit(rng.standard_normal(mean.shape, np.float32)) / 2)
    return Gaussian(mean, np.full_like(mean, -7.5))


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def seconds(way: Callable[[], object]) -> float:
    start = time.perf_counter()
    way()
    return time.perf_counter() - start


def forget(folder: Path) -> None:
    """Asks the system to drop its copies of the files."""
    os.sync()
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


if __name__ == "__main__":
    main()
