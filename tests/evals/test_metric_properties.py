"""Properties of all metrics: slow, obvious versions, orders, no answers, duplicates, no numbers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import prolip.evals
from prolip.evals import correlation, metrics
from prolip.evals.benchmarks import flickr30k
from prolip.evals.inclusion import inclusion_metrics
from prolip.evals.uncertainty import text_uncertainty
from prolip.evals.zero_shot import zero_shot
from prolip.gaussian import Gaussian, inclusion, similarity

KS = (1, 2, 5)
SCORES = st.sampled_from([-1.0, 0.0, 0.5, 1.0])


@st.composite
def problems(draw):
    """Scores, and for each query a set of its positives, which may be empty."""
    queries, targets = draw(st.integers(1, 6)), draw(st.integers(1, 12))
    row = st.lists(SCORES, min_size=targets, max_size=targets)
    scores = draw(st.lists(row, min_size=queries, max_size=queries))
    match = st.sets(st.integers(0, targets - 1))
    positives = draw(st.lists(match, min_size=queries, max_size=queries))
    return np.array(scores), [sorted(own) for own in positives]


def measured(scores, positives):
    return metrics.retrieval_metrics(scores, positives, KS)


def same(a, b):
    return a == pytest.approx(b, abs=1e-12, nan_ok=True)


@settings(max_examples=100, deadline=None)
@given(problems(), st.randoms(use_true_random=False))
def test_the_order_of_queries_does_not_matter_with_ties(problem, random):
    scores, positives = problem
    order = list(range(len(scores)))
    random.shuffle(order)
    shuffled = measured(scores[order], [positives[i] for i in order])
    assert same(shuffled, measured(scores, positives))


@settings(max_examples=100, deadline=None)
@given(problems(), st.integers(0, 10**6))
def test_the_order_of_targets_does_not_matter_without_ties(problem, seed):
    scores, positives = problem
    rng = np.random.default_rng(seed)
    scores = np.stack([rng.permutation(row.size) for row in scores]).astype(float)
    order = rng.permutation(scores.shape[1])
    place = np.argsort(order)
    shuffled = measured(scores[:, order], [place[own] for own in positives])
    assert same(shuffled, measured(scores, positives))


@settings(max_examples=100, deadline=None)
@given(problems())
def test_queries_without_a_positive_change_nothing_but_their_count(problem):
    scores, positives = problem
    kept = [i for i, own in enumerate(positives) if own]
    result = measured(scores, positives)
    alone = measured(scores[kept], [positives[i] for i in kept])
    assert result.pop("num_without_positives") == len(scores) - len(kept)
    assert alone.pop("num_without_positives") == 0
    assert same(result, alone)


@settings(max_examples=100, deadline=None)
@given(problems())
def test_a_positive_that_is_listed_twice_counts_once(problem):
    scores, positives = problem
    assert same(measured(scores, [own * 2 for own in positives]), measured(scores, positives))


@settings(max_examples=100, deadline=None)
@given(problems(), st.integers(0, 5), st.integers(0, 11))
def test_a_positive_that_moves_up_lowers_nothing(problem, query, target):
    scores, positives = problem
    query, target = query % len(scores), target % scores.shape[1]
    positives[query] = sorted({*positives[query], target})
    before = measured(scores, positives)
    scores = scores.copy()
    scores[query, target] += 1
    after = measured(scores, positives)
    # Other positives may fall behind it, so the mean rank of all may not rise; these never fall.
    for name in ("recall@1", "recall@2", "recall@5", "r_precision", "map_at_r", "ndcg@5"):
        assert after[name] >= before[name] - 1e-12
    assert after["median_rank"] <= before["median_rank"]


@settings(max_examples=100, deadline=None)
@given(problems(), st.integers(0, 10**6))
def test_a_ranking_with_a_target_twice_is_refused_wherever_it_is(problem, seed):
    scores, positives = problem
    rng = np.random.default_rng(seed)
    rankings = np.stack([rng.permutation(20) for _ in scores])
    query, (first, second) = rng.integers(len(scores)), rng.choice(20, 2, replace=False)
    rankings[query, second] = rankings[query, first]
    with pytest.raises(ValueError, match=f"query {query}: its ranking holds a target more than"):
        metrics.retrieval_metrics(rankings, positives, KS)


@settings(max_examples=50, deadline=None)
@given(problems(), st.integers(0, 5), st.integers(0, 11))
def test_a_score_that_is_no_number_is_refused_with_its_query(problem, query, target):
    scores, positives = problem
    query = query % len(scores)
    scores[query, target % scores.shape[1]] = np.nan
    with pytest.raises(ValueError, match=f"query {query} has NaN scores"):
        measured(scores, positives)


def gaussians(rng, count, dim=4):
    mean = rng.normal(size=(count, dim)).astype(np.float32)
    return Gaussian(mean, rng.normal(-3, 1, (count, dim)).astype(np.float32))


@pytest.mark.parametrize("field", [0, 1])
@pytest.mark.parametrize("side", ["image", "text"])
def test_embeddings_that_are_no_numbers_are_refused_with_the_item(rng, side, field):
    sides = {"image": gaussians(rng, 6), "text": gaussians(rng, 9)}
    sides[side][field][4, 2] = np.nan
    with pytest.raises(ValueError, match=rf"{side} 4 .*not a number"):
        prolip.evals.retrieval(sides["image"], sides["text"], np.eye(9, 6, dtype=bool))
    images, texts = rng.normal(size=(1000, 3)), rng.normal(size=(5000, 3))
    (images if side == "image" else texts)[17, 1] = np.nan
    with pytest.raises(ValueError, match=f"{side} 17 is not a number"):
        flickr30k(images, texts)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(SCORES, st.integers(0, 4)), min_size=1, max_size=25), st.integers(1, 6))
def test_bins_of_uncertainty_equal_the_obvious_loop(items, bins):
    values, doubt = map(list, zip(*items, strict=True))
    size = len(values) // bins
    if not size:
        with pytest.raises(ValueError, match="do not fill"):
            correlation.uncertainty_bins(values, doubt, bins)
        return
    order = sorted(range(len(values)), key=lambda i: doubt[i])  # Stable: equal ones keep order.
    parts = [order[b * size : (b + 1) * size] for b in range(bins)]
    found = correlation.uncertainty_bins(values, doubt, bins)
    expected = [sum(values[i] for i in part) / size for part in parts]
    assert found.metric.tolist() == pytest.approx(expected)
    doubts = [sum(doubt[i] for i in part) / size for part in parts]
    assert found.uncertainty.tolist() == pytest.approx(doubts)
    if bins > 1 and len(set(expected)) > 1 and np.ptp(expected) > 1e-9:
        slope = stats.pearsonr(range(bins), expected).statistic
        assert found.pearson == pytest.approx(slope, abs=1e-9)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(-3, 3), min_size=1, max_size=30))
def test_ranks_equal_those_of_scipy(values):
    assert correlation.mean_ranks(np.array(values)).tolist() == stats.rankdata(values).tolist()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 4)), min_size=1, max_size=30))
def test_the_mean_over_classes_equals_the_obvious_loop(items):
    correct, labels = map(np.array, zip(*items, strict=True))
    own = [[c for c, label in items if label == k] for k in sorted({k for _, k in items})]
    expected = np.mean([sum(row) / len(row) for row in own])
    assert metrics.class_mean(correct, labels) == pytest.approx(expected)


WHOLE = st.integers(-2, 2)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.lists(WHOLE, min_size=3, max_size=3), st.integers(0, 6)), min_size=1),
    st.lists(st.lists(WHOLE, min_size=3, max_size=3), min_size=7, max_size=7),
    st.lists(st.integers(1, 3), min_size=7, max_size=7),
    st.integers(1, 4),
)
def test_zero_shot_accuracies_equal_the_obvious_loop_with_ties(items, classes, traces, block):
    mean = np.array([point for point, _ in items], np.float32)
    labels = np.array([label for _, label in items])
    # Sums of three equal variances, exact in float32: many logits tie.
    images = Gaussian(mean, np.full(mean.shape, -3, np.float32))
    spread = np.log(np.array(traces, np.float64)[:, None] * 2 / 3 * np.ones(3))
    found = zero_shot(images, Gaussian(np.array(classes, np.float32), spread), labels, block=block)
    for variant, weight in (("", 1), ("mean/", 0)):
        hits = []
        for point, label in items:
            logits = [
                sum(a * b - b * b / 2 for a, b in zip(point, other, strict=True)) - weight * trace
                for other, trace in zip(classes, traces, strict=True)
            ]
            order = sorted(range(7), key=lambda c: (-logits[c], c))
            hits.append((order[0] == label, label in order[:5]))
        first, five = map(list, zip(*hits, strict=True))
        assert found[f"{variant}top1"] == pytest.approx(np.mean(first))
        assert found[f"{variant}top5"] == pytest.approx(np.mean(five))
        own = [
            np.mean([h for h, k in zip(first, labels, strict=True) if k == c]) for c in {*labels}
        ]
        assert found[f"{variant}class_top1"] == pytest.approx(np.mean(own))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 5), st.integers(1, 4), st.sampled_from("abc"), st.integers(1, 9)),
        min_size=3,
        max_size=20,
    )
)
def test_correlations_of_uncertainty_are_those_of_scipy(captions):
    doubt, matches, levels, lengths = map(np.array, zip(*captions, strict=True))
    found = text_uncertainty(doubt.astype(float), matches, levels.tolist(), lengths)
    general = {
        k: np.mean([m for m, level in zip(matches, levels, strict=True) if level == k])
        for k in {*levels.tolist()}
    }
    order = sorted(general, key=lambda k: (-general[k], k))
    rank = [-order.index(level) for level in levels.tolist()]
    several = matches > 1
    for name, x, y in (
        ("matches_spearman", doubt, matches),
        ("matches_spearman_multiple", doubt[several], matches[several]),
        ("level_spearman", doubt, rank),
        ("length_spearman", doubt, lengths),
    ):
        if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
            assert np.isnan(found[name])
        else:
            assert found[name] == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_inclusion_metrics_equal_the_obvious_loop(seed):
    rng = np.random.default_rng(seed)
    images, texts = gaussians(rng, 7), gaussians(rng, 9)
    positives = [np.flatnonzero(rng.random(7) < 0.4) for _ in range(9)]
    positives[2], positives[3] = np.zeros(0, np.int64), np.arange(7)
    test, near = np.asarray(inclusion(images, texts)), np.asarray(similarity(texts, images)).T
    own = [test[image, text] for text, row in enumerate(positives) for image in row]
    others, areas = [], {"inclusion_auc": [], "similarity_auc": []}
    for text, row in enumerate(positives):
        rest = [image for image in range(7) if image not in row]
        if not len(row) or not rest:
            continue
        others += [np.mean([test[image, text] > 0 for image in rest])] * len(row)
        for name, scores in zip(areas, (test[:, text], near[:, text]), strict=True):
            areas[name].append(np.mean([scores[i] > scores[j] for i in row for j in rest]))
    found = inclusion_metrics(images, texts, positives, block=3)
    assert found["inclusion_rate"] == pytest.approx(np.mean([value > 0 for value in own]))
    assert found["inclusion_median"] == pytest.approx(np.median(own), rel=1e-4)
    assert found["num_pairs"] == len(own)
    assert found["inclusion_rate_others"] == pytest.approx(np.mean(others))
    for name, values in areas.items():
        assert found[name] == pytest.approx(np.mean(values))
