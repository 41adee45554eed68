"""What do the means of images know? Probes of each label, beside the largest class's share."""

from typing import Any

from prolip.report import plots, words
from prolip.report.read import Run

Values = dict[str, Any]
SHOTS = (1, 5, 10)


def probe(run: Run) -> Values:
    """Bars and a table, a label feature each, in the order of the configuration."""
    metrics = run.metrics
    features = _features(run)
    if not features:
        return {}
    rows, groups = [], {}
    for feature in features:
        own = {
            name: metrics.get(f"probe/{feature}/{name}")
            for name in (
                *("num_classes", "top1", "class_top1", "majority"),
                *(f"{k}_shot" for k in SHOTS),
            )
        }
        table = [own[name] for name in ("class_top1", *(f"{k}_shot" for k in SHOTS))]
        rows.append({"feature": feature, "values": [words.number(v) for v in table]})
        classes = f" ({own['num_classes']:.0f})" if own["num_classes"] else ""
        groups[feature + classes] = (own["top1"] or 0.0, own["majority"] or 0.0)
    known = [name for name in features if _knows(metrics, name) > 0.05]
    label = "Accuracy of a linear probe of each label, beside the share of its largest class"
    return {
        "rows": rows,
        "sentence": words.probed(features, known),
        "svg": plots.shares(groups, ("linear probe", "largest class"), label),
    }


def _features(run: Run) -> list[str]:
    found = {name.split("/")[1] for name in run.metrics if name.startswith("probe/")}
    order = [str(name) for name in run.config.get("eval", {}).get("label_features", ())]
    return [*(name for name in order if name in found), *sorted(found - {*order})]


def _knows(metrics: dict[str, float], feature: str) -> float:
    """Of what the largest class leaves to be known, the part that the probe gets right."""
    top1 = metrics.get(f"probe/{feature}/top1", 0.0)
    majority = metrics.get(f"probe/{feature}/majority", 0.0)
    return (top1 - majority) / (1 - majority) if majority < 1 else 0.0
