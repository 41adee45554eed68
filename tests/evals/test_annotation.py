"""What one annotated match would say: by drawing every annotation there can be."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prolip.config import EvalConfig
from prolip.evals.annotation import BINS, annotated, bin_name, evaluate
from prolip.evals.context import Context, host_gaussian
from prolip.evals.metrics import blocked_retrieval

scores_and_matches = st.integers(2, 4).flatmap(
    lambda targets: st.lists(
        st.tuples(
            st.permutations(range(targets)),
            st.sets(st.integers(0, targets - 1), min_size=1),
        ),
        min_size=1,
        max_size=3,
    )
)


def rows_of(orders, positives):
    scores = np.zeros((len(orders), len(orders[0])), np.float32)
    for query, order in enumerate(orders):
        scores[query, list(order)] = -np.arange(len(order), dtype=np.float32)
    return blocked_retrieval(lambda rows: scores[rows], len(scores), positives)


@settings(max_examples=60, deadline=None)
@given(scores_and_matches)
def test_the_expectation_is_the_mean_over_every_way_to_annotate_one_match(drawn):
    orders = [order for order, _ in drawn]
    positives = [np.array(sorted(matches)) for _, matches in drawn]
    found = annotated(rows_of(orders, positives))
    hits, called_wrong, right_but_wrong = [], 0.0, 0.0
    ways = list(itertools.product(*(matches.tolist() for matches in positives)))
    for way in ways:
        for order, annotation, matches in zip(orders, way, positives, strict=True):
            hit = order[0] == annotation
            hits.append(hit)
            called_wrong += not hit
            right_but_wrong += not hit and order[0] in matches
    assert found["annotated_recall@1"] == pytest.approx(np.mean(hits))
    if called_wrong:
        assert found["wrongly_wrong"] == pytest.approx(right_but_wrong / called_wrong)
    else:
        assert "wrongly_wrong" not in found
    assert found["annotated_recall@1"] <= found["recall@1"]


def test_with_one_match_each_nothing_is_wrongly_wrong():
    rows = rows_of([(0, 1), (0, 1)], [np.array([0]), np.array([1])])
    found = annotated(rows)
    assert found["annotated_recall@1"] == found["recall@1"] == 0.5
    assert found["wrongly_wrong"] == 0


def test_bins_hold_every_number_of_matches_once():
    for number in range(1, 50):
        assert sum(low <= number <= high for low, high in BINS) == 1
    assert [bin_name(*b) for b in BINS] == ["1", "2-3", "4-9", "10+"]


def test_queries_go_to_the_bin_of_their_matches(rng):
    def points(count):
        mean = rng.normal(size=(count, 4)).astype(np.float32)
        mean /= np.linalg.norm(mean, axis=-1, keepdims=True)
        return host_gaussian(mean, np.full((count, 4), -5, np.float32))

    matches = (1, 1, 2, 3, 4, 9, 10, 20)
    context = Context(
        images=points(24),
        texts=points(len(matches)),
        captions=[str(n) for n in matches],
        levels=["all"] * len(matches),
        positives=[np.sort(rng.permutation(24)[:n]) for n in matches],
        labels={},
        encode_text=lambda texts: points(len(texts)),
        config=EvalConfig(block=3),
    )
    metrics = evaluate(context).metrics
    matches = np.array([len(row) for row in context.positives])
    total = 0.0
    for low, high in BINS:
        name = f"annotation/text_to_image/{bin_name(low, high)}/queries"
        expected = ((low <= matches) & (matches <= high)).sum()
        assert metrics.get(name, 0) == expected
        total += metrics.get(name, 0)
    assert total == metrics["annotation/text_to_image/queries"] == (matches > 0).sum()
