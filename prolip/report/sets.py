"""Ready sets that were measured beside the split, as tables."""

from typing import Any

from prolip.report import words
from prolip.report.read import Artefact, Run

Values = dict[str, Any]
CLASSIFIED = {
    "top1": "top 1",
    "mean/top1": "top 1, mean only",
    "top5": "top 5",
    "class_top1": "mean of classes",
    "real/top1": "ReaL, top 1",
    "map": "mAP",
}
RECALLS = ("recall@1", "recall@5", "recall@10")
WAYS = ("text_to_image", "image_to_text")
# Benchmarks within a set, by the part of the name that they stand under.
WITHIN = {
    "": "",
    "coco_1k/": "COCO 1K",
    "cxc/": "CxC",
    "eccv/": "ECCV Caption",
}
RANKINGS = (("uncertainty-aware", ""), ("mean only", "mean/"))
# Ends of the way from an image that finds captions of a hierarchy.
ROOTS = (
    ("half-way to the including caption", ""),
    ("the including caption", "including/"),
    ("the empty caption, mean only", "mean/"),
)


def sets(run: Run) -> Values:
    """Rows of sets with classes, with captions, and with hierarchies; nothing if none is there."""
    names = dict.fromkeys(name.split("/")[1] for name in run.metrics if name.startswith("sets/"))
    about = _about(run)
    classified: list[Values] = []
    retrieved: list[Values] = []
    hierarchies: list[Values] = []
    for name in names:
        own = {
            key.removeprefix(f"sets/{name}/"): value
            for key, value in run.metrics.items()
            if key.startswith(f"sets/{name}/")
        }
        note = _note(about.get(name, {}))
        if "top1" in own or "map" in own:
            classified.append({"name": name, "note": note, "own": own})
        if rows := _retrieved(own):
            retrieved.append({"name": name, "note": note, "rows": rows})
        if rows := _traversed(own):
            hierarchies.append({"name": name, "note": note, "rows": rows})
    if not (classified or retrieved or hierarchies):
        return {}
    # Only what at least one of them has.
    columns = [name for name in CLASSIFIED if any(name in row["own"] for row in classified)]
    for row in classified:
        row["values"] = [words.number(row["own"].get(name)) for name in columns]
    return {
        "columns": [CLASSIFIED[name] for name in columns],
        "classified": classified,
        "retrieved": retrieved,
        "hierarchies": hierarchies,
    }


def _retrieved(own: dict[str, float]) -> list[Values]:
    rows = []
    for prefix, title in WITHIN.items():
        for ranking, variant in RANKINGS:
            found = [
                own.get(f"{prefix}{way}/{variant}{m}")
                for way in WAYS
                for m in (*RECALLS, "map_at_r")
            ]
            if any(value is not None for value in found):
                total = own.get(f"{prefix}{variant}rsum")
                rows.append(
                    {
                        "title": title,
                        "ranking": ranking,
                        "values": [
                            *map(words.number, found),
                            words.DASH if total is None else f"{total:.1f}",
                        ],
                    }
                )
    return rows


def _traversed(own: dict[str, float]) -> list[Values]:
    rows = []
    for root, variant in ROOTS:
        found = [own.get(f"traversal/{variant}{m}") for m in ("precision", "recall")]
        if any(value is not None for value in found):
            rows.append({"root": root, "values": [*map(words.number, found)]})
    return rows


def _about(run: Run) -> dict[str, Values]:
    """What was measured, by name of the set; the evaluators' names have a hash at their end."""
    found = {}
    for evaluator, artefact in run.artefacts.items():
        if evaluator.startswith("set-"):
            name = evaluator.removeprefix("set-").rpartition("-")[0]
            found[name] = _noted(artefact)
    return found


def _noted(artefact: Artefact) -> Values:
    about = artefact.notes.get("about", {})
    return about if isinstance(about, dict) else {}


def _note(about: Values) -> str:
    parts = []
    for key in ("images", "classes", "captions"):
        if isinstance(about.get(key), int):
            parts.append(f"{about[key]:,} {key}")
    if about.get("prompts"):
        parts.append(f"prompts {about['prompts']}")
    if about.get("partial"):
        parts.append(f"a part of {about.get('expected', 'the set')}")
    return ", ".join(parts)
