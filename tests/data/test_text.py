"""Cleaning as the released code does it, and ids of captions."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prolip.data.text import caption_id, clean

FIXTURE = json.loads((Path(__file__).parent / "fixtures" / "text_clean.json").read_text())
KINDS = ("canonicalize", "lower", "whitespace")


@pytest.mark.parametrize("item", FIXTURE["items"], ids=lambda item: repr(item["input"])[:30])
def test_cleaning_is_that_of_the_released_code(item):
    assert {kind: clean(item["input"], kind) for kind in KINDS} == {
        kind: item[f"clean_{kind}"] for kind in KINDS
    }


@given(st.text(st.characters()), st.sampled_from(KINDS))
def test_cleaned_text_has_single_inner_blanks_and_can_be_stored(text, kind):
    cleaned = clean(text, kind)
    assert cleaned == " ".join(cleaned.split(" ")).strip()
    assert cleaned.encode().decode() == cleaned
    assert kind == "whitespace" or cleaned == cleaned.lower()


@given(st.text())
def test_caption_id_is_a_positive_int32(text):
    assert 0 < caption_id(text) < 2**31


def test_caption_ids_do_not_change_between_versions():
    assert (caption_id("grinning face"), caption_id("")) == (1478438977, 154724242)
