"""What a filter did, for people: quantiles, the line, and examples of what it drops."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from prolip.curation.report import cell, table
from prolip.curation.thresholds import Kept

if TYPE_CHECKING:
    from prolip.curation.filtering import FilterOptions, Records

QUANTILES = (0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1)
EXAMPLES = 10


def as_markdown(
    options: "FilterOptions",
    out: Path,
    records: "Records",
    own: np.ndarray,
    good: np.ndarray,
    kept: Kept,
) -> str:
    """The report.

    Args:
      options: of the filter.
      out: the file of keys.
      records: all of them.
      own: Float[records], the score.
      good: Float[records], the score so that high is good.
      kept: what is kept.
    """
    count, total = int(kept.mask.sum()), len(own)
    said = f"By `{options.by}`, {count:,} of {total:,} records are kept"
    said += f" ({100 * count / total:.3g} %)."
    if kept.threshold is not None:
        end = "at most" if own is not good else "at least"
        said += f" Kept is {end} {kept.threshold:.6g}, and what is equal to it: {kept.ties:,}."
    else:
        bounds = [("at least", options.above), ("at most", options.below)]
        listed = " and ".join(f"{word} {x:g}" for word, x in bounds if x is not None)
        said += f" Kept is {listed}, and what is equal to a bound: {kept.ties:,}."
    lines = ["# Filter", "", said, "", f"Train on them with `--config.data.keep_keys={out}`.", ""]
    named = dict(records.values) if options.by.strip() in records.values else {}
    columns = named or {options.by: own, **records.values}
    rows = [
        (f"`{name}`, {which}", *(f"{x:.4g}" for x in np.quantile(values[mask], QUANTILES)))
        for name, values in columns.items()
        for which, mask in (("all", np.ones(total, bool)), ("kept", kept.mask))
    ]
    lines += table(("score", *(f"{100 * q:g} %" for q in QUANTILES)), rows)
    dropped = np.flatnonzero(~kept.mask)
    if len(dropped):
        # From bounds both ends can be dropped: what is far from the middle of what is kept.
        far = -good if kept.threshold is not None else np.abs(own - np.median(own[kept.mask]))
        order = dropped[np.argsort(-far[dropped], kind="stable")]
        for title, some in (
            ("Dropped, farthest from the line", order[:EXAMPLES]),
            ("Dropped, nearest to it", order[::-1][:EXAMPLES]),
        ):
            lines += ["", f"## {title}", ""]
            lines += table(
                ("key", "record", "score"),
                [(f"`{records.keys[i]}`", cell(records.shown[i]), f"{own[i]:.4g}") for i in some],
            )
    return "\n".join(lines) + "\n"
