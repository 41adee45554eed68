"""Metrics of retrieval between many images and captions, against the products that they need.

    python benchmarks/retrieval.py --images 5000 --texts 25000 --dim 512

Random Gaussians in clusters, each caption with one image or with several. The product is one of all
captions with all images in float32, a block of captions at a time, by NumPy and by JAX. The metrics
need more than four of them: both ways, with and without variances, and images once more over the
captions with several images. Ratios are of processor seconds. The peak is that of the process,
before the products are made.
"""

import argparse
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from timing import in_turn, json_argument, memory, peak_memory, print_header, print_row, save

from prolip.evals.metrics import blocks
from prolip.evals.retrieval import retrieval
from prolip.gaussian import Gaussian

CLUSTERS = 500
BLOCK = 1024  # Captions at a time; `retrieval` has the same.
METRICS = "metrics"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--texts", type=int, default=25_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--several", type=float, default=0.2, help="part with several images")
    parser.add_argument("--repeats", type=int, default=3)
    json_argument(parser)
    args = parser.parse_args()
    images, texts, positives = collection(args)
    before = memory()
    retrieval(images, texts, positives, block=BLOCK)
    peak = peak_memory()
    ways: dict[str, Callable[[], Any]] = {
        METRICS: lambda: retrieval(images, texts, positives, block=BLOCK)
    }
    ways["one product, NumPy"] = lambda: product(np.matmul, texts.mean, images.mean.T)
    matmul = jax.jit(functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST))
    sides = jnp.asarray(texts.mean), jnp.asarray(images.mean.T)
    ways["one product, JAX"] = lambda: product(matmul, *sides)
    times = in_turn(ways, args.repeats)
    print(f"{args.images:,} images, {args.texts:,} captions, D = {args.dim}\n")
    needed = 2 * (2 + sum(len(row) > 1 for row in positives) / args.texts)
    print_header("", "seconds", "cpu seconds", "metrics / this", f"metrics / {needed:.1f} of this")
    rows = []
    for name, (seconds, cpu) in times.items():
        ratio = times[METRICS].cpu / cpu
        ratios = [f"{r:.1f}" if name != METRICS else "–" for r in (ratio, ratio / needed)]
        print_row(name, f"{seconds:.2f}", f"{cpu:.2f}", *ratios)
        rows.append({"what": name, "seconds": seconds, "cpu": cpu})
    rows[0] |= {"memory_before": before, "peak_memory": peak}
    print(
        f"\nmemory: {before / 2**20:,.0f} MiB before, {peak / 2**20:,.0f} MiB at the peak; all "
        f"scores in float32 would be {4 * args.images * args.texts / 2**20:,.0f} MiB"
    )
    save(args.json, rows)


def collection(args: argparse.Namespace) -> tuple[Gaussian, Gaussian, list[list[int]]]:
    """Images, captions, and for each caption the images that match it."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((CLUSTERS, args.dim), np.float32)

    def gaussians(cluster: np.ndarray) -> Gaussian:
        mean = centres[cluster] + rng.standard_normal((len(cluster), args.dim), np.float32)
        mean /= np.linalg.norm(mean, axis=-1, keepdims=True)
        return Gaussian(mean, rng.normal(-8, 0.5, mean.shape).astype(np.float32))

    own = np.arange(args.texts) % args.images
    cluster = np.arange(args.images) % CLUSTERS
    several = rng.random(args.texts) < args.several
    alike = [np.flatnonzero(cluster == c).tolist() for c in range(CLUSTERS)]
    positives = [
        alike[cluster[image]] if many else [int(image)]
        for image, many in zip(own, several, strict=True)
    ]
    return gaussians(cluster), gaussians(cluster[own]), positives


def product(matmul: Callable[[Any, Any], Any], texts: Any, images: Any) -> Any:
    """All scores, in blocks, of which the last is kept."""
    for rows in blocks(len(texts), BLOCK):
        scores = jax.block_until_ready(matmul(texts[rows], images))
    return scores


if __name__ == "__main__":
    main()
