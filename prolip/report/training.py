"""Curves of what the trainer logged, and the options that it ran with."""

import json
from typing import Any

from prolip.config import TrainConfig, to_dict
from prolip.report import plots, words
from prolip.report.read import Run

Values = dict[str, Any]

SET_BY_RULE = {"Learning rate", "Logit scale", "Logit bias"}  # Without noise to smooth away.
# Title, note, and the logged names that share the plot with how they are labelled there.
CURVES: list[tuple[str, str, dict[str, str]]] = [
    ("Loss", "total, weighted", {"loss": ""}),
    ("PPCL", "pairwise loss of matching and other pairs", {"loss/ppcl": ""}),
    ("SigLIP", "pairwise loss without uncertainty", {"loss/siglip": ""}),
    ("CLIP", "softmax loss", {"loss/clip": ""}),
    ("PCME++", "loss by the sampled distance", {"loss/pcmepp": ""}),
    ("PCME", "loss by samples", {"loss/pcme": ""}),
    ("Triplet", "violations of the margin", {"loss/triplet": ""}),
    ("Bottleneck", "KL to the unit Gaussian, unweighted", {"loss/bottleneck": ""}),
    (
        "Inclusion",
        "in the caption, or in the next general text; unweighted",
        {"loss/inclusion_image_text": "image", "loss/inclusion_text_text": "text"},
    ),
    (
        "Masked inclusion",
        "original in masked, unweighted",
        {"loss/inclusion_masked_image": "image", "loss/inclusion_masked_text": "text"},
    ),
    (
        "Similarity",
        "mean cosine of matching and other pairs",
        {"similarity/positive": "matching", "similarity/negative": "other"},
    ),
    (
        "Uncertainty",
        "mean sum of variances",
        {"uncertainty/image": "image", "uncertainty/text": "text"},
    ),
    (
        "Pushed matches",
        "weight against known matches that were not drawn; gradient beside the ideal one",
        {"mismatch/push": "push", "mismatch/gradient": "gradient"},
    ),
    ("Clean pairs", "mean probability that a drawn pair is right", {"noisy_pairs/clean": ""}),
    ("Logit scale", "", {"logit_scale": ""}),
    ("Logit bias", "", {"logit_bias": ""}),
    ("Learning rate", "", {"learning_rate": ""}),
    ("Gradient norm", "before clipping", {"grad_norm": ""}),
]


def training(run: Run) -> list[Values]:
    """One small plot for each term and state that was logged."""
    found = []
    for title, note, names in CURVES:
        series = {
            label: run.training[name] for name, label in names.items() if name in run.training
        }
        if series:
            last = ", ".join(
                f"{label} {words.number(s.values[-1])}".strip() for label, s in series.items()
            )
            label = f"{title} over training steps; last: {last}"
            svg = plots.curves(series, label, smoothed=title not in SET_BY_RULE)
            found.append({"title": title, "note": note, "svg": svg, "last": last})
    return found


def configuration(run: Run) -> Values:
    """What differs from the defaults, and everything."""
    if not run.config:
        return {}
    # Through JSON, as the run's own values went: a tuple is a list there.
    defaults, own = _flat(json.loads(json.dumps(to_dict(TrainConfig())))), _flat(run.config)
    changed = [
        {"key": key, "value": json.dumps(value), "default": json.dumps(defaults.get(key))}
        for key, value in own.items()
        if key not in defaults or defaults[key] != value
    ]
    return {"changed": changed, "all": json.dumps(run.config, indent=2, ensure_ascii=False)}


def _flat(tree: dict[str, Any], path: str = "") -> Values:
    flat: Values = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{path}{key}.") if isinstance(value, dict) else {path + key: value}
    return flat
