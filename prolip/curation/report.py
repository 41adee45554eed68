"""The figures of an audit as JSON, and as Markdown that people read."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def as_json(figures: Mapping[str, Any]) -> str:
    """JSON, intervals as lists."""
    return json.dumps(figures, indent=1, allow_nan=False, default=float) + "\n"


def as_markdown(figures: Mapping[str, Any]) -> str:
    """The report."""
    parts = [["# Audit", "", _data(figures)]]
    parts.append([f"- {note}" for note in figures["notes"]])
    if "estimates" in figures:
        parts += _estimates(figures)
    else:
        parts.append(
            [
                f"{figures['sampled']:,} candidates wait for labels: open `label.html`, label, "
                "save, and give the same command with `--labels FILE`."
            ]
        )
    if "truth" in figures:
        parts.append(_truth(figures["truth"]))
    parts += _underspecified(figures)
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def _data(figures: Mapping[str, Any]) -> str:
    options, pool = figures["options"], figures["pool"]
    by_model = ", ".join(
        f"{name} {_percent(share)}"
        for name, share in zip(figures["models"], pool["annotated_found_by"], strict=True)
    )
    return (
        f"{figures['queries']:,} of {figures['texts']:,} texts ({figures['distinct_queries']:,} "
        f"distinct) and {figures['images']:,} images. Candidates: the first {options['k']} images "
        f"of a text by each model, without its own, {pool['pairs']:,} pairs, "
        f"{pool['per_text']:.1f} a text. Among the first {options['k']} are "
        f"{_percent(pool['annotated_found'])} of the annotated pairs ({by_model}); where models "
        "were trained on them, other matches are found less often."
    )


def _estimates(figures: Mapping[str, Any]) -> list[list[str]]:
    found, options = figures["estimates"], figures["options"]
    level = f"{100 * options['confidence']:g} %"
    rate, missed = found["match_rate"], found["missed_pairs"]
    rows: list[Sequence[Any]] = []
    for name, title in (
        ("wilson", "of this pool: Wilson"),
        ("clopper_pearson", "of this pool: Clopper–Pearson"),
        ("bootstrap", "of texts like these: bootstrap over texts"),
    ):
        if name in rate:
            low, high = rate[name]
            rows.append(
                (f"candidates that match, {title}", *map(_percent, (rate["value"], low, high)))
            )
    ends = [(title, found[key], form) for title, key, form in _QUANTITIES]
    rows += [
        (title, *(form(values[key]) for key in ("value", "low", "high")))
        for title, values, form in ends
    ]
    unsure = f", {found['unsure']:,} unsure and left out" if found["unsure"] else ""
    parts = [
        [
            "## Matches that nobody annotated",
            "",
            f"Of {figures['sampled']:,} sampled candidates (`{options['design']}`, seed "
            f"{options['seed']}) {found['labelled']:,} are labelled, {found['matches']:,} of them "
            f"matches{unsure}. Intervals of {level}.",
            "",
            *table(("", "estimate", "from", "to"), rows),
        ]
    ]
    if "if_unsure" in found:
        no, yes = map(_percent, found["if_unsure"])
        parts.append([f"Match rate if no unsure candidate matched: {no}; if all did: {yes}."])
    parts.append(_batches(found["batches"]))
    if len(found["strata"]) > 1:
        parts.append(_strata(found["strata"]))
    parts.append(_completeness(found["completeness"], figures, missed))
    if "matches_of_texts" in found:
        parts.append(_distribution(found["matches_of_texts"], "of the labelled texts"))
    else:
        parts.append(
            [
                "How matches are spread over texts needs all candidates of some texts: "
                "`--design queries`."
            ]
        )
    return parts


def _truth(truth: Mapping[str, Any]) -> list[str]:
    complete = truth["completeness"]
    found = "there is none" if complete is None else f"the pool has {_percent(complete)} of them"
    return [
        "## All known matches",
        "",
        f"{truth['missed_anywhere']:,} matches are known that are not annotated; {found}. Of the "
        f"candidates {_percent(truth['match_rate'])} match. Of all pairs that are not annotated "
        f"{_percent(truth['false_negative_rate'])} match, those of the pool alone "
        f"{_percent(truth['false_negative_rate_of_pool'])}.",
        "",
        *_distribution(truth["matches_of_texts"], "of all asked texts"),
    ]


def _batches(batches: Mapping[str, Sequence[float]]) -> list[str]:
    listed = ", ".join(
        f"{_number(missed)} in a batch of {int(size):,} ({_percent(share)} of its matches)"
        for size, (missed, share) in batches.items()
    )
    return [f"Trained as mismatches, expected: {listed}."]


def _strata(strata: Iterable[Mapping[str, Any]]) -> list[str]:
    rows = []
    for row in strata:
        ends = [_percent(row[key]) if key in row else "–" for key in ("match_rate", "low", "high")]
        rows.append((row["name"], f"{row['pairs']:,}", f"{row['labelled']:,}", *ends))
    return table(("stratum", "candidates", "labelled", "match", "from", "to"), rows)


def _completeness(
    rows: Sequence[Mapping[str, Any]], figures: Mapping[str, Any], missed: Mapping[str, float]
) -> list[str]:
    share, models = figures["pool"]["annotated_found"], figures["models"]
    by_annotated = (
        "What is above counts matches among candidates only. If they are found as often as the "
        f"annotated pairs, {_percent(share)}, {missed['value'] / share:,.0f} are missed in all."
        if share
        else "No annotated pair is among the candidates: the models can't find matches."
    )
    if not rows:
        return [f"{by_annotated} Matches by two models would tell more."]
    lines = table(
        ("models", "first", "second", "both", "share of matches found", "from", "to"),
        [
            (
                " and ".join(f"{model} `{models[model]}`" for model in row["models"]),
                *(f"{count:.1f}" for count in row["counts"]),
                *(_percent(row[key]) for key in ("completeness", "low", "high")),
            )
            for row in rows
        ],
    )
    least = min(row["completeness"] for row in rows)
    return [
        by_annotated,
        "",
        *lines,
        "",
        f"By the lowest of these (Chapman), {missed['value'] / least:,.0f} are missed in all. "
        "Models that err alike, and texts with more matches than candidates, make the pool look "
        "more complete than it is.",
    ]


def _distribution(spread: Mapping[str, Any], of: str) -> list[str]:
    quantiles = ", ".join(f"{100 * float(q):g} % {v:g}" for q, v in spread["quantiles"].items())
    shares = ", ".join(f"{name}: {_percent(share)}" for name, share in spread["shares"].items())
    return [
        f"K, the matches of a text, {of} ({spread['texts']:,}): mean {spread['mean']:.2f}; "
        f"quantiles {quantiles}; shares {shares}."
    ]


def _underspecified(figures: Mapping[str, Any]) -> list[list[str]]:
    counted = "known" if "truth" in figures else "labelled"
    parts = []
    for key, title in (
        ("by_uncertainty", "Texts of the largest uncertainty"),
        ("by_matches", f"Texts with most {counted} other matches"),
    ):
        rows = [
            (cell(r["text"]), f"`{r['id']}`", f"{r['uncertainty']:.4g}", _count(r["other_matches"]))
            for r in figures["underspecified"][key]
        ]
        if rows:
            header = ("text", "id", "uncertainty", f"other matches, {counted}")
            parts.append([f"## {title}", "", *table(header, rows)])
    return parts


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    """Lines of a table."""
    lines = [" | ".join(map(str, cells)) for cells in (header, ["---"] * len(header), *rows)]
    return [f"| {line} |" for line in lines]


def cell(text: str | None) -> str:
    """A text in a table: no line breaks, no ends of cells, not as long as a page."""
    flat = " ".join((text or "").split()).replace("|", "\\|").replace("<", "&lt;")
    return flat if len(flat) <= 100 else flat[:99] + "…"


def _count(number: int | None) -> str:
    return "–" if number is None else f"{number:,}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


_QUANTITIES = (
    ("missed pairs among the candidates", "missed_pairs", _number),
    ("K, matches of a text, mean", "matches_per_text", _number),
    ("matches of an image, mean", "matches_per_image", _number),
    ("a pair that is not annotated matches", "false_negative_rate", _percent),
)
