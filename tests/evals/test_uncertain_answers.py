"""Risk and coverage, calibration, probes and false negatives against slow, obvious versions."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prolip.evals import calibration, multiplicity, probe
from prolip.evals.selective import risk_coverage
from prolip.gaussian import Gaussian

EIGHTHS = st.integers(0, 8).map(lambda i: i / 8)


def obvious_aurc(errors, doubt):
    """Mean over every order in which equal doubts can come."""
    orders = [
        order
        for order in itertools.permutations(range(len(errors)))
        if all(doubt[a] <= doubt[b] for a, b in itertools.pairwise(order))
    ]
    areas = []
    for order in orders:
        risks = [sum(errors[i] for i in order[:k]) / k for k in range(1, len(order) + 1)]
        areas.append(sum(risks) / len(risks))
    return sum(areas) / len(areas)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(EIGHTHS, st.integers(0, 3)), min_size=1, max_size=6))
def test_aurc_is_the_mean_over_all_orders_of_equal_doubt(items):
    errors, doubt = zip(*items, strict=True)
    curve = risk_coverage(errors, doubt)
    assert curve.aurc == pytest.approx(obvious_aurc(errors, doubt), abs=1e-12)
    best = obvious_aurc(errors, errors)
    assert curve.excess == pytest.approx(curve.aurc - best, abs=1e-12)
    assert curve.risk[-1] == pytest.approx(np.mean(errors))
    backwards = risk_coverage(errors[::-1], doubt[::-1])
    assert backwards.aurc == pytest.approx(curve.aurc, abs=1e-12)


def test_gain_is_one_for_perfect_doubt_and_nothing_for_none():
    errors = np.array([0.0, 0, 0, 1, 1])
    assert risk_coverage(errors, errors).gain == pytest.approx(1)
    assert risk_coverage(errors, np.zeros(5)).gain == pytest.approx(0)
    assert risk_coverage(errors, -errors).gain < 0
    assert np.isnan(risk_coverage(np.zeros(5), np.arange(5)).gain)


def test_faulty_items_are_named():
    with pytest.raises(ValueError, match="item 1 is not a number"):
        risk_coverage([0.0, np.nan], [1.0, 2.0])
    with pytest.raises(ValueError, match="as many errors"):
        risk_coverage([0.0], [1.0, 2.0])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(EIGHTHS, st.booleans()), min_size=1, max_size=40), st.integers(1, 9))
def test_ece_equals_the_obvious_loop(pairs, bins):
    p, match = zip(*pairs, strict=True)
    total = 0.0
    for number in range(bins):
        inside = [i for i, q in enumerate(p) if min(int(q * bins), bins - 1) == number]
        total += abs(sum(match[i] for i in inside) - sum(p[i] for i in inside))
    found = calibration.reliability(p, match, bins)
    assert found.ece == pytest.approx(total / len(p), abs=1e-12)


def test_pairs_in_blocks_are_those_of_the_whole_matrix(rng):
    images, texts = (
        Gaussian(rng.normal(size=(n, 4)).astype(np.float32), rng.normal(-2, 1, (n, 4)))
        for n in (30, 21)
    )
    relevant = rng.random((21, 30)) < 0.2
    lists = [np.flatnonzero(row) for row in relevant]
    traces = [np.exp(g.log_var).sum(1) / 2 for g in (texts, images)]
    logits = 3 * (texts.mean @ images.mean.T - traces[0][:, None] - traces[1][None]) - 1
    p = 1 / (1 + np.exp(-logits))
    expected = calibration.reliability(p, relevant)
    rate = relevant.mean()
    brier = 1 - ((p - relevant) ** 2).mean() / (rate * (1 - rate))
    entropy = -rate * np.log(rate) - (1 - rate) * np.log(1 - rate)
    log_skill = 1 + np.where(relevant, np.log(p), np.log(1 - p)).mean() / entropy
    for block in (5, 64):
        found = calibration.pair_calibration(images, texts, lists, 3.0, -1.0, block=block)
        np.testing.assert_array_equal(found.all.pairs, expected.pairs)
        np.testing.assert_array_equal(found.all.matches, expected.matches)
        np.testing.assert_allclose(found.all.probability, expected.probability, rtol=1e-5)
        assert found.brier_skill == pytest.approx(brier, abs=1e-5)
        assert found.log_skill == pytest.approx(log_skill, abs=1e-5)
        likely = p >= found.threshold
        assert found.threshold == pytest.approx(2 * rate)
        assert found.likely.pairs.sum() == likely.sum()
        assert found.likely.matches.sum() == relevant[likely].sum()


def test_likely_pairs_are_merged_into_bins_of_equally_many(rng):
    fine = calibration.Reliability(rng.integers(0, 9, 500), rng.random(500), rng.random(500))
    merged = fine.merged(10)
    for one, other in zip(merged, fine, strict=True):
        assert one.sum() == pytest.approx(other.sum())
    assert np.ptp(merged.pairs) < 20


def test_calibration_of_what_is_not_a_number_is_refused(rng):
    side = Gaussian(np.array([[1.0, 0.0], [np.nan, 0.0]], np.float32), np.zeros((2, 2)))
    with pytest.raises(ValueError, match="image 1 is not a number"):
        calibration.pair_calibration(side, side, [[0], [1]], 1.0, 0.0)


def test_probabilities_that_are_true_have_a_small_error(rng):
    p = rng.random(200_000)
    assert calibration.reliability(p, rng.random(200_000) < p).ece < 0.005
    assert calibration.reliability(p, rng.random(200_000) < p**2).ece > 0.1
    with pytest.raises(ValueError, match="from 0 to 1"):
        calibration.reliability([np.nan], [True])


def test_probe_chooses_its_penalty_by_leaving_each_row_out(rng):
    x, labels = rng.normal(size=(14, 5)), rng.integers(0, 3, 14)
    x = (x - x.mean(0)) / x.std(0)
    y = np.eye(3)[labels]
    errors = []
    for penalty in probe.PENALTIES:
        total = 0.0
        for i in range(14):
            kept = np.arange(14) != i
            # An offset is a constant feature without a penalty.
            a = np.column_stack([x[kept], np.ones(13)])
            ridge = np.diag([14 * penalty] * 5 + [0.0])
            w = np.linalg.solve(a.T @ a + ridge, a.T @ y[kept])
            total += ((y[i] - np.append(x[i], 1) @ w) ** 2).sum()
        errors.append(total)
    found = probe.fit(x, labels, 3)
    assert found.penalty == probe.PENALTIES[int(np.argmin(errors))]
    a = np.column_stack([x, np.ones(14)])
    w = np.linalg.solve(a.T @ a + np.diag([14 * found.penalty] * 5 + [0.0]), a.T @ y)
    np.testing.assert_allclose(found.weights, w[:5], atol=1e-9)
    np.testing.assert_allclose(found.offset, w[5], atol=1e-9)


def test_probe_finds_what_is_there_and_nothing_where_nothing_is(rng):
    labels = rng.integers(0, 4, 400)
    x = rng.normal(size=(400, 10))
    assert np.mean(probe.cross_validated(x, labels) == labels) < 0.4
    x[:, :4] += 3 * np.eye(4)[labels]
    assert np.mean(probe.cross_validated(x, labels) == labels) > 0.9
    accuracy, classes = probe.few_shot(x, labels, 5)
    assert accuracy > 0.6 and classes == 4


def test_few_shot_leaves_out_classes_without_a_row_to_spare(rng):
    labels = np.array([0] * 9 + [1] * 9 + [2] * 3)
    assert probe.few_shot(rng.normal(size=(21, 3)), labels, 5)[1] == 2
    accuracy, classes = probe.few_shot(rng.normal(size=(21, 3)), labels, 10)
    assert np.isnan(accuracy) and classes == 0


def test_false_negatives_are_those_of_all_draws(rng):
    relevant = rng.random((7, 6)) < 0.3
    relevant[0] = True
    lists = [np.flatnonzero(row) for row in relevant]
    draws = []
    for j in range(6):
        captions = np.flatnonzero(relevant[:, j])
        draws.append(np.mean([relevant[c, i] for c in captions for i in range(6) if i != j]))
    rate = multiplicity.false_negative_rate(lists, 6)
    assert rate == pytest.approx(np.mean(draws))
    missed, share = multiplicity.expected_false_negatives(rate, 10)
    assert missed == pytest.approx(90 * rate) and share == pytest.approx(missed / (missed + 10))
    assert multiplicity.false_negative_rate([np.array([i]) for i in range(6)], 6) == 0
    assert np.isnan(multiplicity.false_negative_rate([np.array([0])], 1))
