"""COCO, CxC and ECCV Caption: the time of this package beside that of `eccv-caption`.

    python benchmarks/eccv.py

Both get the same full rankings of 5,000 images and 25,000 captions and compute the same metrics:
R@1, R@5, R@10 of COCO 1K, COCO 5K and CxC; mAP@R, R-Precision and R@1 of ECCV Caption. The numbers
are compared. The package's input, dictionaries of lists, is made before its clock starts. A third
row ranks embeddings as well. Prints a Markdown table.
"""

import argparse
import time
import warnings

import numpy as np

from prolip.evals.benchmarks import annotations, coco, coco_rankings
from prolip.gaussian import Gaussian

WAYS = {"i2t": "image_to_text", "t2i": "text_to_image"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    truth = annotations.read()
    images, texts = embeddings(truth, args.dim)
    rankings = ranked(images, texts, truth.caption_ids), ranked(texts, images, truth.image_ids)
    ids = truth.image_ids, truth.caption_ids

    times = []
    for _ in range(args.repeats):
        start = time.perf_counter()
        own = coco_rankings(*rankings, *ids, annotations=truth)
        times.append(time.perf_counter() - start)
    from_embeddings = []
    for _ in range(args.repeats):
        start = time.perf_counter()
        coco(images, texts, *ids, annotations=truth)
        from_embeddings.append(time.perf_counter() - start)
    package, difference = reference(rankings, ids, own)

    least = min(times)
    print("| | seconds | of the package's |\n|---|---|---|")
    print(f"| `eccv-caption`, full rankings | {package:.1f} | 1 |")
    print(f"| `coco_rankings`, full rankings | {least:.2f} | 1/{package / least:.0f} |")
    least = min(from_embeddings)
    print(f"| `coco`, both rankings of {args.dim}-dimensional Gaussians | {least:.2f} | ", end="")
    print(f"1/{package / least:.0f} |\n\nLargest difference of a metric: {difference:.1e}")


def embeddings(truth: annotations.Annotations, dim: int) -> tuple[Gaussian, Gaussian]:
    """Captions near their image, with noise, so that the metrics are neither 0 nor 1."""
    random = np.random.default_rng(0)
    image = random.normal(size=(len(truth.image_ids), dim)).astype(np.float32)
    image /= np.linalg.norm(image, axis=1, keepdims=True)
    own = np.searchsorted(truth.image_ids, truth.image_of_caption)
    text = image[own] + random.normal(0, 4 / dim**0.5, (len(own), dim)).astype(np.float32)
    text /= np.linalg.norm(text, axis=1, keepdims=True)
    log_vars = [random.uniform(-11, -9, x.shape).astype(np.float32) for x in (image, text)]
    return Gaussian(image, log_vars[0]), Gaussian(text, log_vars[1])


def ranked(queries: Gaussian, gallery: Gaussian, ids: np.ndarray) -> np.ndarray:
    """Int32[queries, gallery]: ids from the best on."""
    result = np.empty((len(queries.mean), len(ids)), np.int32)
    for start in range(0, len(result), 512):
        scores = queries.mean[start : start + 512] @ gallery.mean.T
        result[start : start + 512] = ids[np.argsort(-scores, axis=1)]
    return result


def reference(rankings, ids, own: dict[str, float]) -> tuple[float, float]:
    """Seconds of the package, and how far its metrics are from ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from eccv_caption import Metrics
    # One object for each id: lists of 250 million references, not of as many numbers.
    objects = {int(i): int(i) for side in ids for i in side}
    lists = [
        {query: [objects[i] for i in row] for query, row in zip(side.tolist(), table, strict=True)}
        for side, table in zip(ids, rankings, strict=True)
    ]
    metrics = Metrics()
    benchmarks = ["coco_1k", "coco_5k", "cxc"]
    start = time.perf_counter()
    found = metrics.compute_all_metrics(
        *lists,
        [*(f"{b}_recalls" for b in benchmarks), "eccv_map_at_r", "eccv_rprecision", "eccv_r1"],
    )
    seconds = time.perf_counter() - start
    differences = [
        abs(value - own[name_of(metric, way)])
        for metric, ways in found.items()
        for way, value in ways.items()
    ]
    return seconds, max(differences)


def name_of(metric: str, way: str) -> str:
    """Our name of a metric of the package."""
    if metric.startswith("eccv"):
        names = {"map_at_r": "map_at_r", "rprecision": "r_precision", "r1": "recall@1"}
        return f"eccv/{WAYS[way]}/{names[metric.removeprefix('eccv_')]}"
    benchmark, k = metric.rsplit("_r", 1)
    return f"{benchmark}/{WAYS[way]}/recall@{k}"


if __name__ == "__main__":
    main()
