"""Exact search is brute force in float64, however it is cut into blocks and spread over devices."""

import sys
import time
import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gaussians import RANKINGS, ReadColumn, brute_force, gaussians, vectors, with_ties
from hypothesis import given, settings
from hypothesis import strategies as st

import prolip
from prolip.data.records import DataError
from prolip.gaussian import Gaussian
from prolip.retrieval import search
from prolip.retrieval.rankings import bounds, csd_of_pairs, exact
from prolip.retrieval.search import exact_search
from prolip.retrieval.vectors import Block, FileColumn, Vectors

ONE = jax.devices()[:1]


def same(best, expected):
    np.testing.assert_array_equal(best.row, expected[0])
    # The test's formula and the code's differ in their rounding.
    np.testing.assert_allclose(best.score, expected[1], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("by", RANKINGS)
def test_search_is_brute_force_for_any_block_size(by):
    rng = np.random.default_rng(0)
    some, ties = gaussians(rng, 60), with_ties(rng, 37)
    both = Gaussian(*(np.concatenate(x) for x in zip(ties, some, strict=True)))
    items, read = vectors(both), vectors(both, column=ReadColumn)
    queries = gaussians(rng, 6, level=-3.5)
    queries.mean[0], queries.log_var[0] = ties.mean[0], ties.log_var[0] + 1
    expected = brute_force(items, queries, 10, by)
    assert (expected[0] >= 0).any()
    for block_rows in (1, 33, 97, None):
        for form in (items, read):
            best = exact_search(form, queries, 10, by, block_rows=block_rows, devices=ONE)
            same(best, expected)


@pytest.mark.parametrize("by", RANKINGS)
def test_any_number_of_devices_finds_the_same(by):
    rng = np.random.default_rng(1)
    items, queries = vectors(gaussians(rng, 300)), gaussians(rng, 5)
    results = [
        exact_search(items, queries, 7, by, block_rows=32, devices=jax.devices()[:count])
        for count in (1, 2, 3, 8)
    ]
    same(results[0], brute_force(items, queries, 7, by))
    for result in results[1:]:
        np.testing.assert_array_equal(result.row, results[0].row)
        np.testing.assert_array_equal(result.score, results[0].score)


def test_a_mesh_that_is_set_is_no_matter():
    rng = np.random.default_rng(1)
    items, queries = vectors(gaussians(rng, 60)), gaussians(rng, 3)
    with jax.set_mesh(jax.make_mesh((8,), ("data",))):
        best = exact_search(items, queries, 7, "csd", block_rows=32, devices=jax.devices()[:2])
    same(best, brute_force(items, queries, 7, "csd"))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    different=st.integers(1, 5),
    k=st.sampled_from([1, 9, 40]),
    block_rows=st.sampled_from([8, 40]),
)
def test_ties_go_to_the_lower_row(seed, different, k, block_rows):
    rng = np.random.default_rng(seed)
    items, queries = vectors(with_ties(rng, 40, different=different)), gaussians(rng, 3)
    keep = rng.random(40) < 0.8
    best = exact_search(items, queries, k, "csd", keep=keep, block_rows=block_rows, devices=ONE)
    same(best, brute_force(items, queries, k, "csd", keep))


def test_rows_that_float32_cannot_tell_apart_are_ranked():
    """A thousand products that differ by less than the rounding of one float32 product."""
    rng = np.random.default_rng(2)
    dim = 64
    one = gaussians(rng, 1, dim)
    # The last bit of one small coordinate changes.
    mean = np.repeat(one.mean, 1000, axis=0)
    mean[:, 0] = 1e-3
    mean[:, 0] += rng.permutation(1000).astype(np.float32) * np.float32(1e-10)
    items = vectors(Gaussian(mean, np.repeat(one.log_var, 1000, axis=0)))
    queries = Gaussian(one.mean.copy(), one.log_var)
    queries.mean[0, 0] = 0.5
    expected = brute_force(items, queries, 10, "csd")
    scores = (queries.mean @ mean.T)[0]
    assert len(np.unique(scores[expected[0][0]])) < 10  # Else float32 would do.
    for block_rows in (100, 1000):
        found = exact_search(items, queries, 10, "csd", block_rows=block_rows, devices=ONE)
        same(found, expected)


@pytest.mark.parametrize("count", [0, 1, 5])
@pytest.mark.parametrize("num_queries", [0, 3])
def test_small_collections_and_none(count, num_queries):
    rng = np.random.default_rng(3)
    items, queries = vectors(gaussians(rng, count)), gaussians(rng, num_queries)
    best = exact_search(items, queries, 10, "csd")
    assert best.row.shape == (num_queries, count)
    same(best, brute_force(items, queries, 10, "csd"))


def test_many_queries_go_in_several_passes(monkeypatch):
    monkeypatch.setattr(search, "QUERIES", 4)
    rng = np.random.default_rng(4)
    items, queries = vectors(gaussians(rng, 50)), gaussians(rng, 11)
    best = exact_search(items, queries, 3, "mean")
    same(best, brute_force(items, queries, 3, "mean"))


def test_half_precision_is_widened_not_computed_in():
    rng = np.random.default_rng(5)
    items, queries = vectors(gaussians(rng, 200, 32), np.float16), gaussians(rng, 4, 32)
    for by in RANKINGS:
        best = exact_search(items, queries, 10, by, block_rows=64, devices=ONE)
        same(best, brute_force(items, queries, 10, by))


def test_left_out_rows_are_left_out_before_the_ranking():
    rng = np.random.default_rng(6)
    items, queries = vectors(gaussians(rng, 90)), gaussians(rng, 4)
    uncertainty = items.uncertainty.take(np.arange(90))
    limit = float(np.sort(uncertainty)[30])  # Equal to one of them, which stays.
    keep = rng.random(90) < 0.5
    best = exact_search(
        items, queries, 40, "csd", keep=keep, max_uncertainty=limit, block_rows=32, devices=ONE
    )
    allowed = keep & (uncertainty <= limit)
    assert (best.row >= 0).sum() == 4 * allowed.sum() < 4 * 40
    same(best, brute_force(items, queries, 40, "csd", allowed))


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    level=st.sampled_from([-90.0, -40.0, -12.0, -7.0, 0.0, 30.0]),
    other=st.sampled_from([-50.0, -7.0, 3.0]),
    spread=st.sampled_from([0.01, 1.0, 20.0]),
)
def test_the_exact_score_is_within_the_bounds(seed, level, other, spread):
    rng = np.random.default_rng(seed)
    dim = 48
    items, queries = gaussians(rng, 32, dim, level, spread), gaussians(rng, 4, dim, other, 1)
    items.mean[:4] = queries.mean  # Distances of zero, too.
    items.log_var[4:8] = queries.log_var
    uncertainty = np.minimum(np.exp(items.log_var.astype(np.float64)).sum(-1), 1e30)
    uncertainty = uncertainty.astype(np.float32)
    for by in RANKINGS:
        lower, upper = jitted(by, queries.mean, items.mean, uncertainty)
        for i in range(4):
            query = Gaussian(*(np.repeat(x[i : i + 1], 32, 0) for x in queries))
            score = exact(by, query, Block(items.mean, uncertainty))
            assert (np.asarray(lower[i]) <= score).all()
            assert (score <= np.asarray(upper[i])).all()


def test_the_bounds_are_narrow_for_usual_embeddings():
    """Wide ones would be as right, and search would score everything twice."""
    rng = np.random.default_rng(7)
    items, queries = gaussians(rng, 64, 768, -7), gaussians(rng, 4, 768, -6)
    uncertainty = np.exp(items.log_var).sum(-1)
    lower, upper = jitted("csd", queries.mean, items.mean, uncertainty)
    assert 0 < float((upper - lower).max()) < 3e-4


jitted = jax.jit(bounds, static_argnums=0)


def test_pairs_are_scored_as_the_public_comparisons_do():
    rng = np.random.default_rng(8)
    items, queries = gaussians(rng, 20), gaussians(rng, 20, level=-3)
    block = Block(items.mean, np.exp(items.log_var).sum(-1))
    np.testing.assert_allclose(
        csd_of_pairs(queries, block), prolip.csd_paired(queries, items), rtol=1e-5
    )
    similarity = exact("csd", queries, block)
    np.testing.assert_allclose(similarity, prolip.similarity_paired(queries, items), rtol=1e-5)


@pytest.mark.parametrize("rows", [1, 6, 64, 96, 1000, 1024])
@pytest.mark.parametrize("k", [1, 3, 20])
def test_tiles_find_what_top_k_finds(rows, k):
    k = min(k, rows)
    scores = np.random.default_rng(9).integers(0, 30, (5, rows)).astype(np.float32)
    scores[0] = -np.inf
    best, place = search._top_k(jnp.asarray(scores), k)
    expected, expected_place = jax.lax.top_k(scores, k)
    np.testing.assert_array_equal(best, expected)
    np.testing.assert_array_equal(place, expected_place)


def test_a_buffer_is_kept_until_its_block_is_done():
    """As long as a caller may work on a block, no later block is read into its buffer."""
    rows, buffers = 4, 4
    mean = np.arange(80, dtype=np.float32).reshape(40, 2)
    items = Vectors(ReadColumn(mean), ReadColumn(mean[:, 0]))
    held = []
    for i, (first, block, number) in enumerate(search._stream(items, rows, buffers)):
        held.append((first, block))
        time.sleep(0.02)  # The reader goes as far ahead as it may.
        for start, kept in held[max(0, i + 2 - buffers) :]:
            np.testing.assert_array_equal(kept.mean, mean[start : start + number])
    assert len(held) == 10
    assert len({id(block.mean) for _, block in held}) == buffers


@pytest.mark.parametrize("system", [sys.platform, "other"])
def test_files_give_the_blocks_that_arrays_give(tmp_path, monkeypatch, system):
    """Mapped at any place in a page, or read where the system has no way to map safely."""
    monkeypatch.setattr("sys.platform", system)
    array = np.random.default_rng(10).normal(size=(5000, 3)).astype(np.float32)
    array.tofile(tmp_path / "mean")
    column = FileColumn(tmp_path / "mean", array.dtype, array.shape)
    for start, rows in ((0, 5000), (1, 4000), (4999, 1), (341, 0), (1365, 2)):
        out = np.zeros((rows, 3), np.float32)
        block = column.block(start, out)
        np.testing.assert_array_equal(block, array[start : start + rows])
        assert (block is out) == (system != "linux" or rows == 0)
    np.testing.assert_array_equal(column.take(np.array([4999, 0])), array[[4999, 0]])


def test_a_file_that_was_cut_short_is_an_error_not_a_signal(tmp_path):
    array = np.ones((5000, 3), np.float32)
    array.tofile(tmp_path / "mean")
    column = FileColumn(tmp_path / "mean", array.dtype, array.shape)
    with (tmp_path / "mean").open("rb+") as file:
        file.truncate(30_001)
    with pytest.raises(DataError, match="mean is damaged: it ends at byte 30001"):
        column.block(2000, np.zeros((3000, 3), np.float32))


def test_memory_does_not_grow_with_the_collection():
    class Made:
        """Rows that are made when they are read."""

        def __init__(self, *shape):
            self.shape, self.dtype = shape, np.dtype(np.float32)

        def block(self, start, out):
            out[:] = (start % 7) / 7
            return out

        def read(self, start, out):
            out[:] = 0

    peaks = []
    for count in (20_000, 20_000, 80_000):  # The first one also compiles.
        items = Vectors(Made(count, 32), Made(count))
        queries = gaussians(np.random.default_rng(0), 3, 32)
        tracemalloc.start()
        exact_search(items, queries, 5, "csd", block_rows=2048, devices=ONE)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] > 3 * 2048 * 32 * 4  # The buffers are seen.
    assert peaks[2] < 1.1 * peaks[1]
