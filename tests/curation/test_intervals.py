"""Intervals cover the truth as often as they say: summed exactly over all outcomes, not drawn."""

import numpy as np
import pytest
from scipy import stats

from prolip.curation.capture import chapman
from prolip.curation.intervals import Interval, clopper_pearson, wilson


def coverage(interval, trials, share):
    outcomes = np.arange(trials + 1)
    ends = np.array([interval(int(x), trials) for x in outcomes])
    inside = (ends[:, 0] <= share) & (share <= ends[:, 1])
    return stats.binom.pmf(outcomes, trials, share)[inside].sum()


@pytest.mark.parametrize(("successes", "trials"), [(0, 7), (1, 1), (3, 20), (25, 500), (499, 500)])
def test_clopper_pearson_is_that_of_the_beta_distribution(successes, trials):
    low = stats.beta.ppf(0.025, successes, trials - successes + 1) if successes else 0.0
    high = stats.beta.ppf(0.975, successes + 1, trials - successes) if successes < trials else 1.0
    np.testing.assert_allclose(clopper_pearson(successes, trials), (low, high), atol=1e-12)


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.99])
def test_wilson_is_that_of_scipy(confidence):
    for successes in (0, 4, 50):
        expected = stats.binomtest(successes, 50).proportion_ci(confidence, "wilson")
        np.testing.assert_allclose(wilson(successes, 50, confidence), expected, atol=1e-12)


def test_observed_shares_have_the_published_intervals():
    np.testing.assert_allclose(clopper_pearson(10, 200), (0.024, 0.090), atol=5e-4)
    np.testing.assert_allclose(clopper_pearson(100, 500), (0.166, 0.238), atol=5e-4)


@pytest.mark.parametrize("share", [0.01, 0.05, 0.2, 0.5])
def test_exact_interval_never_covers_less_and_wilson_about_as_often_as_it_says(share):
    assert coverage(clopper_pearson, 200, share) >= 0.95
    # Over neighbouring shares: of a single one the coverage jumps with the outcomes.
    near = [coverage(wilson, 200, share * factor) for factor in np.linspace(0.8, 1.2, 21)]
    assert 0.94 < np.mean(near) < 0.97


@pytest.mark.parametrize("numbers", [(3, 2), (-1, 5), (0, 0)])
def test_impossible_counts_are_refused(numbers):
    with pytest.raises(ValueError, match="no proportion"):
        wilson(*numbers)
    with pytest.raises(ValueError, match="confidence"):
        clopper_pearson(1, 2, 1.0)


def test_recapture_finds_the_number_where_searches_are_independent():
    rng = np.random.default_rng(0)
    number, found = 400, []
    for _ in range(1000):
        first, second = rng.random(number) < 0.5, rng.random(number) < 0.4
        found.append(chapman(first.sum(), second.sum(), (first & second).sum()))
    assert np.mean([f.number for f in found]) == pytest.approx(number, rel=0.01)
    inside = [f.interval.low <= number <= f.interval.high for f in found]
    assert 0.935 < np.mean(inside) < 0.965
    shares = [f.completeness for f in found]
    assert np.mean(shares) == pytest.approx(0.7, abs=0.01)  # 1 - 0.5 * 0.6.


def test_recapture_is_too_low_where_searches_like_the_same():
    rng = np.random.default_rng(1)
    easy = rng.random(2000) < 0.3
    first, second = (rng.random(2000) < np.where(easy, 0.9, 0.1) for _ in range(2))
    assert chapman(first.sum(), second.sum(), (first & second).sum()).number < 1000


def test_one_search_inside_the_other_does_not_make_it_certain():
    found = chapman(24, 23, 23)
    assert found.number == found.seen == 24
    assert found.completeness_interval.low < 0.9 and found.completeness_interval.high == 1
    assert chapman(10, 0, 0).completeness_interval == Interval(0.0, 1.0)
    with pytest.raises(ValueError, match="both found"):
        chapman(2, 3, 3)
