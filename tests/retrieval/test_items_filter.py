"""Patterns of a filter are those of a shell: all but * and ? stands for itself."""

import random
import re

import pytest

from prolip.data.records import DataError
from prolip.retrieval.items import Items


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*\\cat.png", ["d\\cat.png"]),
        ("a\\", ["a\\"]),
        ("a\\\n", ["a\\\n"]),
        ("5%", ["5%"]),
        ("a_b", ["a_b"]),
        ("[x]", ["[x]"]),
        ("?", ["\n"]),
    ],
)
def test_letters_stand_for_themselves(pattern, expected):
    ids = ["d\\cat.png", "d/cat.png", "a\\", "a\\\n", "5%", "50", "a_b", "acb", "[x]", "x!", "\n"]
    mask = Items.of(ids).mask(f"id={pattern}")
    assert [id_ for id_, kept in zip(ids, mask, strict=True) if kept] == expected


def test_random_patterns_agree_with_a_reference():
    rng = random.Random(0)
    letters = list("ab\\%_[].\n\0é*?(){}^$|")
    ids = ["".join(rng.choices(letters, k=rng.randint(0, 5))) for _ in range(200)]
    items, wild = Items.of(ids), {"*": ".*", "?": "."}
    for _ in range(300):
        pattern = "".join(rng.choices([*letters, "*"], k=rng.randint(0, 5)))
        reference = re.compile("".join(wild.get(c) or re.escape(c) for c in pattern), re.DOTALL)
        assert items.mask(f"id={pattern}").tolist() == [
            reference.fullmatch(id_) is not None for id_ in ids
        ], pattern


def test_patterns_that_are_too_long_are_refused():
    with pytest.raises(DataError, match="can't be used"):
        Items.of(["a"]).mask("id=" + "?a*" * 200_000)
