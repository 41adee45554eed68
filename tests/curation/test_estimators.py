"""Over many drawn pools and samples, intervals of an audit hold the rate that is known."""

import json

import numpy as np
import pytest

from prolip.curation import measure, sampling
from prolip.curation.estimators import (
    Labelled,
    bootstrap_interval,
    horvitz_thompson,
    stratified_wilson,
)
from prolip.curation.labels import NONE, UNSURE
from prolip.curation.measure import Asked
from prolip.curation.pool import Pool, annotated_found, pool
from prolip.curation.sampling import draw

K = 12


def drawn_pool(rng, queries):
    """Matches become rarer with the rank; some queries have many, as vague captions do."""
    vague = rng.beta(0.5, 1.5, queries)
    query, rank = np.repeat(np.arange(queries), K), np.tile(np.arange(1, K + 1), queries)
    match = rng.random(queries * K) < vague[query] * np.exp(-rank / 8)
    return query, rank, match


def labelled_sample(query, rank, match, size, design, seed):
    sample = draw(query, rank, size, design, seed)
    cluster = query[sample.pair]
    return match[sample.pair], Labelled(cluster, sample.stratum, sample.sizes)


@pytest.mark.parametrize("design", ["pairs", "rank"])
def test_interval_of_this_pool_holds_its_rate_95_times_of_100(design):
    rng = np.random.default_rng(2)
    query, rank, match = drawn_pool(rng, 400)
    inside, values = [], []
    for seed in range(1500):
        labels, labelled = labelled_sample(query, rank, match, 200, design, seed)
        low, high = stratified_wilson(labels, labelled, 0.95)
        inside.append(low <= match.mean() <= high)
        values.append(horvitz_thompson(labels[None], labelled)[0] / len(match))
    assert np.mean(values) == pytest.approx(match.mean(), rel=0.02)  # Unbiased.
    assert 0.935 < np.mean(inside) < 0.97


def test_interval_over_queries_holds_the_rate_of_all_queries():
    """Labels of a query depend on each other: as if independent, it would hold half as often."""
    rng = np.random.default_rng(3)
    truth = np.concatenate([drawn_pool(rng, 20_000)[2] for _ in range(3)]).mean()
    inside, naive = [], []
    for seed in range(300):
        query, rank, match = drawn_pool(rng, 150)
        labels, labelled = labelled_sample(query, rank, match, 60 * K, "queries", seed)
        low, high = bootstrap_interval(labels, labelled, 0.95, seed, repeats=400)
        inside.append(low <= truth * len(match) <= high)
        low, high = stratified_wilson(labels, labelled, 0.95)
        naive.append(low <= truth <= high)
    assert 0.91 < np.mean(inside) < 0.98
    assert np.mean(naive) < 0.85


def test_stratified_interval_of_one_stratum_is_wilsons():
    labels = np.arange(50) < 7
    labelled = Labelled(np.arange(50), np.zeros(50, int), np.array([900]))
    from prolip.curation.intervals import wilson

    np.testing.assert_allclose(stratified_wilson(labels, labelled, 0.9), wilson(7, 50, 0.9))


def test_a_sample_without_a_match_still_has_an_upper_end():
    labelled = Labelled(np.arange(300), np.zeros(300, int), np.array([3000]))
    low, high = bootstrap_interval(np.zeros(300, bool), labelled, 0.9, seed=0)
    assert low == 0 and high / 3000 == pytest.approx(0.0099, abs=2e-4)  # One-sided 95 %.


def test_rank_stratified_sample_is_spread_evenly_and_weighted_back():
    query, rank, match = drawn_pool(np.random.default_rng(0), 40)
    sample = draw(query, rank, 120, "rank", 0)
    counts = np.bincount(sample.stratum)
    assert counts.tolist() == [30, 30, 30, 30] and sample.sizes.tolist() == [40, 160, 200, 80]
    labelled = Labelled(query[sample.pair], sample.stratum, sample.sizes)
    np.testing.assert_allclose(horvitz_thompson(np.ones((1, 120)), labelled), len(query))
    everything = draw(query, rank, 10**6, "rank", 0)
    labels = match[everything.pair][None]
    labelled = Labelled(query[everything.pair], everything.stratum, everything.sizes)
    np.testing.assert_allclose(horvitz_thompson(labels, labelled), match.sum())


@pytest.mark.parametrize("design", sampling.typing.get_args(sampling.Design))
def test_equal_seeds_draw_equal_samples(design):
    query, rank, _ = drawn_pool(np.random.default_rng(0), 30)
    first, again, other = (draw(query, rank, 60, design, seed).pair for seed in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert len(set(first.tolist())) == len(first)
    assert first.tolist() != other.tolist()


def test_whole_queries_come_one_after_the_other():
    query, rank, _ = drawn_pool(np.random.default_rng(0), 30)
    pairs = draw(query, rank, 5 * K, "queries", 0).pair
    assert (query[pairs].reshape(5, K) == query[pairs].reshape(5, K)[:, :1]).all()


def test_pool_is_the_union_without_the_annotated():
    rankings = [np.array([[0, 1], [2, -1]]), np.array([[1, 3], [0, 2]])]
    found = pool(rankings, np.array([0, 2]))
    assert list(zip(found.query.tolist(), found.target.tolist(), strict=True)) == [
        (0, 1), (0, 3), (1, 0),
    ]  # fmt: skip
    assert found.rank.tolist() == [[2, 1], [0, 2], [0, 1]]
    assert found.best_rank.tolist() == [1, 2, 1]
    assert annotated_found(rankings, np.array([0, 3])) == [0.5, 0.5, 0.0]


def asked(queries=50, images=200, seed=0):
    query, rank, match = drawn_pool(np.random.default_rng(seed), queries)
    return Asked(Pool(query, rank, rank[:, None]), np.arange(queries), images, queries), match


def test_everything_labelled_is_the_truth():
    data, match = asked()
    sample = draw(data.pool.query, data.pool.best_rank, 10**6, "queries", 0)
    label = match[sample.pair].astype(int)
    found = measure.estimates(data, sample, label, "queries", 0.95, 0)
    known = np.sort(data.pool.query * data.images + data.pool.target)[match]
    truth = measure.truth(data, known)
    assert found["match_rate"]["value"] == pytest.approx(truth["match_rate"])
    assert found["missed_pairs"]["value"] == pytest.approx(truth["missed_pairs"]) == match.sum()
    assert found["matches_of_texts"] == truth["matches_of_texts"]
    rate = found["false_negative_rate"]["value"]
    assert rate == pytest.approx(match.sum() / (50 * 199)) == truth["false_negative_rate"]


def test_texts_that_are_drawn_tell_of_all_texts():
    """All are labelled of 2,000 texts; 500 of them, drawn, say the same of images and batches."""
    texts, images = 2000, 200
    query, rank, match = drawn_pool(np.random.default_rng(0), texts)
    drawn = np.sort(np.random.default_rng(1).choice(texts, 500, replace=False))
    figures = []
    for chosen in (np.arange(texts), drawn):
        keep = np.isin(query, chosen)
        own = np.searchsorted(chosen, query[keep])
        data = Asked(
            Pool(own, rank[keep], rank[keep][:, None]), np.arange(len(chosen)), images, texts
        )
        sample = draw(own, rank[keep], 10**6, "queries", 0)
        label = match[keep][sample.pair].astype(int)
        figures.append(measure.estimates(data, sample, label, "queries", 0.95, 0))
    whole, part = figures
    assert whole["matches_per_image"]["value"] == pytest.approx((texts + match.sum()) / images)
    drawn_mean = part["matches_per_image"]
    assert drawn_mean["value"] == pytest.approx(whole["matches_per_image"]["value"], rel=0.1)
    assert drawn_mean["low"] < whole["matches_per_image"]["value"] < drawn_mean["high"]
    assert part["batches"].keys() == whole["batches"].keys()


def test_two_models_that_found_no_match_say_nothing_of_completeness():
    query = np.repeat(np.arange(20), 2)
    rank = np.tile([[1, 1, 0], [0, 0, 1]], (20, 1))
    data = Asked(Pool(query, np.tile([30, 31], 20), rank), np.arange(20), 40, 20)
    sample = draw(query, data.pool.best_rank, 40, "pairs", 0)
    label = np.where(data.pool.target[sample.pair] == 31, 1, 0)
    rows = measure.estimates(data, sample, label, "pairs", 0.95, 0)["completeness"]
    assert [row["models"] for row in rows] == [[0, 2], [1, 2]]
    assert all(0 < row["completeness"] <= 1 for row in rows)
    json.dumps(rows, allow_nan=False)


def test_labels_that_stop_early_or_are_unsure_leave_their_weight_to_the_others():
    data, match = asked()
    sample = draw(data.pool.query, data.pool.best_rank, 300, "pairs", 1)
    label = match[sample.pair].astype(int)
    label[200:] = NONE
    label[:20] = UNSURE
    found = measure.estimates(data, sample, label, "pairs", 0.95, 0)
    assert (found["labelled"], found["unsure"]) == (180, 20)
    assert found["match_rate"]["value"] == pytest.approx(match[sample.pair][20:200].mean())
    no, yes = found["if_unsure"]
    assert no < found["match_rate"]["value"] < yes
