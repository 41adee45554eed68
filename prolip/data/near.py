"""Sentences about names that are not there."""

import difflib
from collections.abc import Iterable

MOST = 12  # Names that are listed.


def unknown(name: str, known: Iterable[str], what: str) -> str:
    """`what`, the name, and the nearest one that is there, or all of them.

    Args:
      name: That is not there.
      known: Those that are.
      what: Begins the sentence: "the table has no column".
    """
    listed = list(known)
    near = difflib.get_close_matches(name, listed, n=1, cutoff=0.5)
    more = ", ..." if len(listed) > MOST else ""
    hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(listed[:MOST])}{more}"
    return f"{what} {name!r}; {hint}"
