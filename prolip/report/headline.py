"""The few numbers that tell how good the model is, each with what it means."""

from typing import Any

import numpy as np

from prolip.report import words
from prolip.report.quality import zero_shot_features
from prolip.report.read import Run

Values = dict[str, Any]


def headline(run: Run) -> list[Values]:
    """The few numbers that tell how good the model is, each with what it means."""
    metrics, own = run.metrics, run.artefact("uncertainty").arrays
    matches, images = own.get("caption_matches"), own.get("image_matches")
    found = []

    def add(name: str, title: str, meaning: str, chance: float | None = None) -> None:
        if name in metrics:
            value = metrics[name]
            text = meaning.format(of_hundred=words.of_hundred(value), share=words.share(value))
            more = words.times_chance(value, chance)
            found.append({"value": words.share(value), "title": title, "text": f"{text} {more}"})

    several = matches[matches > 1] if matches is not None else np.zeros(0)
    add(
        "retrieval/text_to_image_multiple/recall@1",
        "Text → image, R@1",
        "For {of_hundred} captions that several images match, the first image found is one of "
        "them.",
        float(several.mean()) / len(images) if images is not None and len(several) else None,
    )
    add(
        "retrieval/image_to_text/recall@1",
        "Image → text, R@1",
        "For {of_hundred} images, the first caption found is right.",
        float(images.mean()) / len(matches) if images is not None and matches is not None else None,
    )
    for feature in zero_shot_features(metrics)[:1]:
        count = metrics.get(f"zero_shot/{feature}/num_classes")
        classes = f"{count:.0f} classes" if count else "all classes"
        guess = max(1 / count if count else 0, metrics.get(f"zero_shot/{feature}/majority", 0))
        add(
            f"zero_shot/{feature}/top1",
            f"Zero-shot, {feature}",
            f"{{of_hundred}} images are put into the right one of {classes}, by its name alone.",
            guess or None,
        )
    rho = metrics.get("uncertainty/text/matches_spearman")
    if rho is not None:
        text = words.grows(rho, "The uncertainty of a caption", "the number of images it matches")
        found.append(
            {
                "value": words.signed(rho),
                "title": "Uncertainty and matches",
                "text": text.replace(f" (Spearman{words.SPACE}{words.signed(rho)})", "")
                + " Spearman correlation; +1 would be perfect.",
            }
        )
    return found
