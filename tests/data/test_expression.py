"""Conditions mean what Python means by them, and nothing else is run."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prolip.config import ConfigError
from prolip.data.expression import Expression, Lacking

VALUES = {"a": 3, "b": -2.5, "c": 7}
NUMBERS = st.one_of(st.sampled_from(["a", "b", "c"]), st.integers(-9, 9).map(str))
TERMS = st.recursive(
    NUMBERS,
    lambda inner: st.one_of(
        st.builds("({} {} {})".format, inner, st.sampled_from(["+", "-", "*"]), inner),
        st.builds("min({}, {})".format, inner, inner),
        st.builds("max({}, {})".format, inner, inner),
        st.builds("-({})".format, inner),
    ),
    max_leaves=6,
)
TESTS = st.builds(
    "({} {} {})".format, TERMS, st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), TERMS
)
CONDITIONS = st.recursive(
    TESTS,
    lambda inner: st.one_of(
        st.builds("({} {} {})".format, inner, st.sampled_from(["and", "or"]), inner),
        st.builds("not {}".format, inner),
    ),
    max_leaves=5,
)


@given(CONDITIONS)
def test_a_condition_means_what_python_means(text):
    assert Expression(text)(VALUES) == bool(eval(text, {"min": min, "max": max}, dict(VALUES)))


@given(st.text(max_size=60))
def test_any_text_is_a_condition_or_an_error_that_names_the_key(text):
    try:
        Expression(text)
    except ConfigError as error:
        assert "data.filter" in str(error)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('x')", "a.b > 1", "a[0] > 1", "lambda: 1", "[x for x in a]",
        "a ** 9", "open('x')", "f'{a}'", "min(a)", "a if b else c", "(a := 1)", "max(*a)",
        "a is b", "{1: 2}",
        "min(a, key=b)", "~a", "a @ b", "1j", "None", "b'x'", "", "a >", "(" * 300,
        "-" * 5000 + "1",
    ],
)  # fmt: skip
def test_all_else_is_refused(text):
    with pytest.raises(ConfigError, match=r"data\.filter"):
        Expression(text)


def test_texts_and_lists_can_be_compared():
    values = {"license": "cc-by", "caption": "a cat sat"}
    assert Expression("license in ('cc0', 'cc-by') and 'cat' in caption")(values)
    assert not Expression("license not in ['cc-by']")(values)


@pytest.mark.parametrize("text", ["zzz > 1", "name > 1", "name * 9 > 1", "a / 0 > 1", "a in a"])
def test_a_value_that_is_missing_or_of_another_kind_cannot_be_judged(text):
    with pytest.raises(Lacking):
        Expression(text)({"a": 1, "name": "x"})


def test_names_are_known_before_a_record_is_read():
    expression = Expression("similarty >= 0.28 and min(width, height) >= 200")
    assert expression.names == ("similarty", "width", "height")
    with pytest.raises(ConfigError, match="did you mean 'similarity'"):
        expression.check(["similarity", "width", "height"])
