"""Results of retrieval to look at: the good ones and the bad ones."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from prolip.report.read import Run

Values = dict[str, Any]
SHOWN_PER_LEVEL = 3
SHOWN_IMAGES = 8


def caption_examples(run: Run) -> list[Values]:
    """For each level the best, the middle and the worst of the captions that were drawn."""
    drawn = run.artefact("retrieval").notes.get("captions", [])
    levels: dict[str, list[Values]] = {}
    for example in drawn:
        possible = max(1, min(int(example["matches"]), len(example["images"])))
        result = {"found": sum(map(bool, example["hits"])), "possible": possible}
        levels.setdefault(str(example["level"]), []).append(example | result)
    chosen = []
    for name, examples in sorted(levels.items(), key=lambda item: -_mean_matches(item[1])):
        ranked = sorted(examples, key=lambda e: (-_score(e), e["index"]))
        chosen.append(
            {
                "level": name,
                "drawn": len(ranked),
                "examples": [ranked[i] for i in evenly(len(ranked), SHOWN_PER_LEVEL)],
            }
        )
    return chosen


def image_examples(run: Run) -> list[Values]:
    """Images from those whose captions were found best to those where most went wrong."""
    drawn = run.artefact("retrieval").notes.get("images", [])
    ranked = sorted(drawn, key=lambda e: (-sum(map(bool, e["hits"][:6])), e["index"]))
    return [
        {
            "index": int(e["index"]),
            "captions": [*zip(e["captions"], e["levels"], e["hits"], strict=True)][:6],
        }
        for e in (ranked[i] for i in evenly(len(ranked), SHOWN_IMAGES))
    ]


def evenly(count: int, shown: int) -> list[int]:
    """At most `shown` positions out of `count`, the first and the last among them."""
    return sorted({round(x) for x in np.linspace(0, count - 1, min(count, shown))}) if count else []


def _mean_matches(examples: Sequence[Values]) -> float:
    return sum(float(e["matches"]) for e in examples) / len(examples)


def _score(example: Values) -> float:
    """Average precision over what is shown: early hits are a better result than late ones."""
    hits = [bool(hit) for hit in example["hits"]]
    at_hits = [sum(hits[: rank + 1]) / (rank + 1) for rank, hit in enumerate(hits) if hit]
    return sum(at_hits) / float(example["possible"])
