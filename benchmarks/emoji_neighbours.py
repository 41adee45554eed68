"""What pixels alone find on the emoji: python benchmarks/emoji_neighbours.py

A vote of the nearest training pictures at 16 pixels, no model: for a caption, the held-out picture
whose nearest training pictures carry it most. Recall@1 over captions with several held-out matches,
for each held-out part of the builder and for random ones: how much the part alone decides.
"""

import io

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from prolip.data.emoji.builder import FOLDS, HELD_OUT, SOURCE, held_out

SIZE, TEMPERATURE, RANDOM = 16, 0.05, 30


def main() -> None:
    rows, captions, names = drawn()
    family = np.array([row["family"] for row in rows])
    similarity = likeness(np.stack([pixels(row["image"]) for row in rows]))
    for fold in range(FOLDS):
        test = np.isin(family, list(held_out(names, fold)))
        print(
            f"{'plain' if fold == 0 else f'fold_{fold}'}: {score(similarity, captions, test):.3f}"
        )
    rng = np.random.default_rng(0)
    ordered, size = sorted(names), round(HELD_OUT * len(names))
    scores = [
        score(similarity, captions, np.isin(family, rng.choice(ordered, size, replace=False)))
        for _ in range(RANDOM)
    ]
    print(f"{RANDOM} random parts: {np.mean(scores):.3f} ± {np.std(scores):.3f}")


def drawn() -> tuple[list[dict], dict[str, list[int]], set[str]]:
    """Pictures without their skin tones and doubles, the pictures of each caption, all families."""
    table = pq.read_table(SOURCE).to_pylist()
    rows = [r for n, r in enumerate(table) if not r["skin_tone"] and r["same_image"] == n]
    rows = [row | {"family": table[row["family"]]["id"]} for row in rows]
    captions: dict[str, list[int]] = {}
    for n, row in enumerate(rows):
        for text in {row["name"], *row["keywords"], row["subgroup"], row["group"]}:
            captions.setdefault(text.lower(), []).append(n)
    return rows, captions, {table[row["family"]]["id"] for row in table}


def pixels(encoded: bytes) -> np.ndarray:
    image = Image.open(io.BytesIO(encoded)).convert("RGB").resize((SIZE, SIZE), Image.BICUBIC)
    darkness = 255 - np.asarray(image, np.float32).ravel()
    return darkness / np.linalg.norm(darkness)


def likeness(vectors: np.ndarray) -> np.ndarray:
    return np.exp((vectors @ vectors.T - 1) / TEMPERATURE)


def score(similarity: np.ndarray, captions: dict[str, list[int]], test: np.ndarray) -> float:
    votes = similarity[test][:, ~test]
    votes = votes / votes.sum(1, keepdims=True)
    number = np.cumsum(~test) - 1  # Of a training picture among the training pictures.
    right = []
    for matching in captions.values():
        inside = np.array(matching)[test[matching]]
        if len(inside) < 2:
            continue
        known = number[[n for n in matching if not test[n]]]
        best = np.flatnonzero(test)[votes[:, known].sum(1).argmax()] if len(known) else -1
        right.append(best in inside)
    return float(np.mean(right))


if __name__ == "__main__":
    main()
