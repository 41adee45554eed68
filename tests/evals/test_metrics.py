"""Retrieval metrics against the published implementation and against slow, obvious loops."""

import math
import tracemalloc
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from prolip.evals import correlation, metrics


def obvious(scores, positives, ks):
    """One query at a time, sorted by Python."""
    rows = []
    for row, matches in zip(scores, positives, strict=True):
        if not matches:
            continue
        ranking = sorted(range(len(row)), key=lambda t: (-row[t], t))
        count = len(matches)
        found, average = 0, 0.0
        for i, target in enumerate(ranking[:count], 1):
            if target in matches:
                found += 1
                average += found / i
        hit = [any(t in matches for t in ranking[:k]) for k in ks]
        rank = 1 + min(ranking.index(t) for t in matches)
        gains = [1 / math.log2(i + 1) for i, t in enumerate(ranking, 1) if t in matches and i <= 5]
        ideal = [1 / math.log2(i + 1) for i in range(1, 1 + min(count, 5))]
        rows.append([*hit, found / count, average / count, sum(gains) / sum(ideal), rank])
    if not rows:
        return None
    table = np.array(rows, float)
    return [*table[:, :-1].mean(0), np.median(table[:, -1])]


@st.composite
def problems(draw):
    queries, targets = draw(st.integers(1, 6)), draw(st.integers(1, 30))
    # Few distinct values, so that ties are common; infinities are scores too.
    value = st.sampled_from([-np.inf, -1.0, 0.0, 0.5, 1.0, np.inf])
    row = st.lists(value, min_size=targets, max_size=targets)
    scores = draw(st.lists(row, min_size=queries, max_size=queries))
    match = st.sets(st.integers(0, targets - 1))
    positives = draw(st.lists(match, min_size=queries, max_size=queries))
    return np.array(scores, np.float32), positives


@settings(max_examples=200, deadline=None)
@given(problems(), st.integers(1, 7))
def test_equals_the_obvious_loop_with_ties_in_any_block_size(problem, block):
    scores, positives = problem
    ks = (1, 2, 5)
    expected = obvious(scores.tolist(), positives, ks)
    lists = [sorted(p) for p in positives]
    matrix = np.array([[t in p for t in range(scores.shape[1])] for p in positives])
    rows = metrics.blocked_retrieval(lambda b: scores[b], len(scores), lists, ks, block)
    results = [
        metrics.retrieval_metrics(scores, lists, ks),
        metrics.retrieval_metrics(scores, matrix, ks),
        metrics.summary(rows, len(scores), ks),
    ]
    for result in results:
        assert result["num_without_positives"] == sum(not p for p in positives)
        if expected is None:
            assert np.isnan(result["map_at_r"])
            continue
        names = [*(f"recall@{k}" for k in ks), "r_precision", "map_at_r", "ndcg@5", "median_rank"]
        assert [result[name] for name in names] == pytest.approx(expected, abs=1e-12)


@settings(max_examples=50, deadline=None)
@given(problems(), st.integers(1, 40))
def test_top_k_is_the_head_of_a_stable_sort(problem, k):
    scores, _ = problem
    expected = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(metrics.top_k(scores, k), expected)


@pytest.mark.parametrize("decimals", [0, 8])  # With many ties, and with none.
def test_scores_and_their_rankings_give_the_same_metrics(rng, decimals):
    scores = rng.normal(size=(40, 60)).round(decimals)
    positives = [rng.choice(60, rng.integers(1, 15), replace=False) for _ in range(40)]
    ranked = metrics.retrieval_metrics(np.argsort(-scores, axis=1, kind="stable"), positives)
    assert ranked == metrics.retrieval_metrics(scores, positives)


def test_order_of_queries_and_of_targets_does_not_matter(rng):
    scores = rng.normal(size=(30, 50))
    relevant = rng.random((30, 50)) < 0.1
    queries, targets = rng.permutation(30), rng.permutation(50)
    shuffled = metrics.retrieval_metrics(scores[queries][:, targets], relevant[queries][:, targets])
    assert shuffled == pytest.approx(metrics.retrieval_metrics(scores, relevant), abs=1e-12)


def test_agrees_with_eccv_caption_on_its_own_ground_truth(rng):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # It asks for a faster JSON reader.
        from eccv_caption import Metrics

        package = Metrics()
    for direction, other in (("i2t", "t2i"), ("t2i", "i2t")):
        truth = package.eccv_gts[direction]
        gallery = np.array(sorted({t for row in truth.values() for t in row}))
        rankings = {}
        for query, matches in truth.items():
            # Between random and perfect: each positive moves to the front with a chance of half.
            score = rng.random(len(gallery)) + np.isin(gallery, matches) * (
                rng.random(len(gallery)) < 0.5
            )
            rankings[query] = gallery[np.argsort(-score)[:60]]
        lists = {direction: {q: r.tolist() for q, r in rankings.items()}, other: {}}
        expected = {k: v[direction] for k, v in package.eccv_metrics(lists, direction).items()}
        result = metrics.retrieval_metrics(np.stack(list(rankings.values())), list(truth.values()))
        assert 0.2 < result["map_at_r"] < 0.8
        assert result["map_at_r"] == pytest.approx(expected["eccv_map_at_r"], abs=1e-12)
        assert result["r_precision"] == pytest.approx(expected["eccv_rprecision"], abs=1e-12)
        assert result["recall@1"] == pytest.approx(expected["eccv_r1"], abs=1e-12)
        for k in (5, 10):
            recall = package.eccv_recalls(lists, direction, K=k)[direction]
            assert result[f"recall@{k}"] == pytest.approx(recall, abs=1e-12)


@pytest.mark.parametrize(
    ("given_scores", "positives", "message"),
    [
        ([[0.0, 1.0], [0.0, np.nan]], [[0], [1]], "query 1 has NaN"),
        ([[0.0, 1.0]], [[2]], "query 0 has the positive 2"),
        ([[0.0, 1.0]], [[-1]], "query 0 has the positive -1"),
        ([[0.0, 1.0]], [[0], [1]], "1 queries but positives of 2"),
        ([[1, 2, 3], [4, 4, 5]], [[1], [4]], "query 1: its ranking holds a target more than once"),
        ([[1, 2, 3]], [[4, 5, 6, 7]], "query 0: its ranking of 3 is shorter than its 4"),
        ([[True, False]], [[0]], "booleans"),
        ([0.5], [[0]], "two axes"),
    ],
)
def test_faulty_input_is_named(given_scores, positives, message):
    with pytest.raises(ValueError, match=message):
        metrics.retrieval_metrics(np.array(given_scores), positives, ks=(1, 2))


def test_a_ranking_shorter_than_k_is_named_but_a_small_gallery_is_not_short():
    with pytest.raises(ValueError, match="shorter than K = 5"):
        metrics.retrieval_metrics(np.array([[3, 1]]), [[3]], ks=(1, 5))
    assert metrics.retrieval_metrics(np.array([[0.1, 0.2]]), [[0]], ks=(5,))["recall@5"] == 1


def test_a_positive_outside_the_gallery_counts_in_r():
    # Two of ECCV Caption's are such.
    result = metrics.retrieval_metrics(np.array([[7, 1, 2]]), [[7, 99]], ks=(1,))
    assert result["map_at_r"] == result["r_precision"] == 0.5


@pytest.mark.parametrize(
    ("ranking", "positives", "message"),
    [
        ([[0, 1], [2, -1]], [[1], [3]], "query 1: its ranking holds the target -1"),
        ([[-1, -1], [0, 1]], [[1], [1]], "query 0: its ranking holds the target -1"),
        ([[0, 1], [0, 1]], [[1], [-1, 0]], "query 1 has the positive -1"),
    ],
)
def test_negative_ids_are_named_and_match_nothing(ranking, positives, message):
    with pytest.raises(ValueError, match=message):
        metrics.retrieval_metrics(np.array(ranking), positives, ks=(1, 2))


@pytest.mark.parametrize("first", [10**8, 10**12])
def test_large_ids_need_no_table_of_all_ids(rng, first):
    rankings = np.argsort(rng.random((20, 50)), axis=1)
    positives = [rng.choice(50, 1 + i % 5, replace=False) for i in range(20)]
    expected = metrics.retrieval_metrics(rankings, positives)
    tracemalloc.start()
    found = metrics.retrieval_metrics(rankings + first, [p + first for p in positives])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found == expected and peak < 1e6


def test_memory_of_blocked_retrieval_is_one_block():
    seen = []

    def score_block(rows):
        seen.append(rows.stop - rows.start)
        return np.zeros((rows.stop - rows.start, 8), np.float32)

    rows = metrics.blocked_retrieval(score_block, 1000, [[0]] * 1000, block=64)
    assert max(seen) == 64 and sum(seen) == 1000
    assert rows.recall.all()  # Equal scores: target 0 is first by the rule of ties.


def test_uncertainty_bins_follow_the_released_code():
    values = np.array([1, 1, 1, 0, 1, 0, 0, 9])
    bins = correlation.uncertainty_bins(values, np.arange(8), bins=3)
    np.testing.assert_array_equal(bins.metric, [1, 0.5, 0.5])  # The two most uncertain drop out.
    np.testing.assert_array_equal(bins.uncertainty, [0.5, 2.5, 4.5])
    assert bins.pearson == pytest.approx(-np.sqrt(3) / 2)
    with pytest.raises(ValueError, match="fewer bins"):
        correlation.uncertainty_bins([1.0], [1.0])


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=3, max_size=30))
def test_spearman_equals_scipy_with_ties(pairs):
    x, y = np.array(pairs, float).T
    result = correlation.spearman(x, y)
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        assert np.isnan(result)
    else:
        assert result == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-9)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=3, max_size=30))
def test_kendall_equals_scipy_with_ties(pairs):
    x, y = np.array(pairs, float).T
    result = correlation.kendall(x, y)
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        assert np.isnan(result)
    else:
        assert result == pytest.approx(stats.kendalltau(x, y).statistic, abs=1e-9)


def test_top_k_correct_and_class_mean():
    scores = np.array([[0.2, 0.5, 0.5], [0.9, 0.0, 0.1], [0.3, 0.2, 0.1]])
    labels = np.array([2, 0, 2])
    first = metrics.top_k_correct(scores, labels)
    np.testing.assert_array_equal(first, [False, True, False])  # The tie goes to class 1.
    np.testing.assert_array_equal(metrics.top_k_correct(scores, labels, 2), [True, True, False])
    assert metrics.class_mean(first, labels) == 0.5
