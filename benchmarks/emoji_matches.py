"""How well the number of matches of a held-out emoji caption can be known at all, without a model.

    python benchmarks/emoji_matches.py

Spearman correlation with the number of held-out pictures that a caption matches, for each held-out
part of the builder. "Known": of the number of training pictures that it matches, which is all that
training tells of it. "Perfect": of a perfect order, which breaks ties at random as uncertainties
do. Over all captions, most of which match one picture, and over those with several.
"""

import argparse

import numpy as np
from emoji_neighbours import drawn
from timing import json_argument, print_header, print_row, save

from prolip.data.emoji.builder import FOLDS, held_out
from prolip.evals.correlation import spearman


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    json_argument(parser)
    args = parser.parse_args()
    rows, captions, names = drawn()
    family = np.array([row["family"] for row in rows])
    found = []
    for fold in range(FOLDS):
        held = np.isin(family, list(held_out(names, fold)))
        inside = np.array([held[matching].sum() for matching in captions.values()])
        outside = np.array([len(matching) for matching in captions.values()]) - inside
        part = "plain" if fold == 0 else f"fold_{fold}"
        found.append({"part": part} | correlations(inside[inside > 0], outside[inside > 0]))
    print_header(*found[0])
    for row in [*found, mean(found)]:
        print_row(*(x if isinstance(x, str | int) else f"{x:.3f}" for x in row.values()))
    save(args.json, [*found, mean(found)])


def correlations(inside: np.ndarray, outside: np.ndarray) -> dict[str, int | float]:
    """Of held-out and of training pictures for each caption of the held-out part."""
    perfect = inside + np.random.default_rng(0).uniform(0, 0.5, len(inside))
    several = inside > 1
    return {
        "captions": len(inside),
        "one match": 1 - float(several.mean()),
        "known, all": spearman(outside, inside),
        "known, several": spearman(outside[several], inside[several]),
        "perfect, all": spearman(perfect, inside),
        "perfect, several": spearman(perfect[several], inside[several]),
    }


def mean(rows: list[dict]) -> dict:
    names = [name for name in rows[0] if name != "part"]
    means = {name: float(np.mean([row[name] for row in rows])) for name in names}
    return {"part": "mean"} | means | {"captions": round(means["captions"])}


if __name__ == "__main__":
    main()
