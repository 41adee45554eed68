"""How uncertainty relates to matches, levels and mistakes."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from prolip.report import plots, words
from prolip.report.read import Artefact, Run

Values = dict[str, Any]
SHOWN_EXTREMES = 12
INCLUSION_METRICS = ("inclusion_rate", "inclusion_rate_others", "inclusion_auc", "similarity_auc")


def uncertainty(run: Run) -> Values:
    """How uncertainty relates to matches, levels and mistakes."""
    own, metrics = run.artefact("uncertainty"), run.metrics
    if not own.has("caption_uncertainty", "caption_matches", "caption_level", "levels"):
        return {"state": "missing"}
    values, matches = own.arrays["caption_uncertainty"], own.arrays["caption_matches"]
    level, levels = own.arrays["caption_level"], [str(name) for name in own.notes["levels"]]
    if not len(values) or not np.isfinite(values).all() or np.ptp(values) == 0:
        return {"state": "deterministic"}
    sentences = words.multiplicity(metrics)
    groups = {
        f"{name} (n = {(level == i).sum():,})": values[level == i]
        for i, name in enumerate(levels)
        if (level == i).any()
    }
    return {
        "state": "known",
        "sentences": sentences,
        "scatter": plots.scatter(
            np.maximum(matches, 1), values, level, levels, " ".join(sentences)
        ),
        "boxes": plots.boxes(groups, "Uncertainty by level of the caption"),
        "bins": [*_bins(own, metrics)],
        "inclusion": _inclusion(metrics),
    }


def extremes(run: Run) -> Values:
    """The most and the least certain images and captions."""
    own = run.artefact("uncertainty")
    if not own.has("captions", "caption_uncertainty", "image_uncertainty", "caption_matches"):
        return {}
    captions, levels = own.notes["captions"], own.notes.get("levels", [])
    arrays = own.arrays
    if np.ptp(arrays["caption_uncertainty"]) == 0 and np.ptp(arrays["image_uncertainty"]) == 0:
        return {}

    def caption(i: int) -> Values:
        return {
            "text": captions[i],
            "level": levels[int(arrays["caption_level"][i])] if own.has("caption_level") else "",
            "matches": int(arrays["caption_matches"][i]),
            "uncertainty": words.number(float(arrays["caption_uncertainty"][i])),
        }

    def image(i: int) -> Values:
        value = words.number(float(arrays["image_uncertainty"][i]))
        return {"index": int(i), "uncertainty": value}

    shown = {
        f"{which}_{kind}": [
            make(i) for i in own.notes.get(f"{which}_certain_{kind}", [])[:SHOWN_EXTREMES]
        ]
        for which in ("most", "least")
        for kind, make in (("captions", caption), ("images", image))
    }
    return shown if any(shown.values()) else {}


def _bins(own: Artefact, metrics: dict[str, float]) -> Iterator[Values]:
    titles = {
        "text": "Captions, all",
        "text_multiple": "Captions with several matches",
        "image": "Images",
    }
    for name, title in titles.items():
        accuracy = own.arrays.get(f"{name}_bins_recall@1")
        if accuracy is not None and np.isfinite(accuracy).any():
            sentence = words.accuracy_by_certainty(
                metrics.get(f"uncertainty/{name}/bins_spearman_recall@1")
            )
            yield {
                "title": title,
                "note": "R@1 by uncertainty of the query; dashed: mean",
                "svg": plots.bins(accuracy, f"R@1 by uncertainty. {title}: {sentence}"),
                "sentence": sentence,
            }


def _inclusion(metrics: dict[str, float]) -> list[str]:
    named = {
        "": "a matching image inside the caption",
        "masked_image/": "an image inside its masked view",
        "masked_text/": "a text inside its masked view",
    }
    return [
        words.inclusion(
            text, *(metrics.get(f"uncertainty/{name}{key}") for key in INCLUSION_METRICS)
        )
        for name, text in named.items()
        if f"uncertainty/{name}inclusion_rate" in metrics
    ]
