"""Cleaning as the released code does it, and ids of captions."""

import json
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prolip.data.text import as_texts, cached_by_text, caption_id, clean, is_blank, is_json

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


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "text",
    ["", "   ", "\ufeff", "\u2028", "\u200b\u200d", "\u00ad", "\u2060 \u200e", "\t\r\n", "\ufe0f"],
)
def test_what_shows_nothing_is_blank(text, kind):
    assert is_blank(clean(text, kind))


def test_marks_are_blank_where_cleaning_takes_them():
    for text in ("!!!", "?", "...", "_", "&nbsp;!", "！？"):
        assert is_blank(clean(text, "canonicalize"))
    assert not is_blank(clean("!!!", "lower"))
    for text in ("a", "5", "猫", "\N{CAT FACE}", "\U0001faea", "…", "\ue000x"):  # One is new.
        assert not is_blank(clean(text, "canonicalize"))


@pytest.mark.parametrize("value", [None, float("nan"), 3, b"a", ["a"], Path("a")])
def test_what_is_no_string_is_named_with_its_position(value):
    with pytest.raises(ValueError, match=rf"text 2 is not a string but {type(value).__name__}"):
        as_texts(["a", "b", value])


def test_json_is_told_from_captions():
    for text in ('{"caption": "a cat"}', ' ["a", "b"]', "{}", '[{"a": 1}]'):
        assert is_json(text)
    for text in ("a cat", "[a cat]", "{cat}", "[1]", '"a cat"', "[" * 100_000, "", "5"):
        assert not is_json(text)


def test_the_cache_of_long_texts_is_small():
    double = cached_by_text(lambda text: text + text)
    tracemalloc.start()
    for number in range(3000):
        double(f"{number:04}" + "word " * 360)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert held < 2 << 20  # All of them would be 16 MiB.


def test_cached_functions_take_keywords():
    assert clean("A Cat", cleaning="lower") == clean("A Cat", "lower") == "a cat"
