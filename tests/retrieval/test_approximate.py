"""A graph over D + 1 dimensions ranks as the sampled distance does, and says what it misses."""

import json
import sys

import numpy as np
import pytest
from gaussians import gaussians, write_collection

pytest.importorskip("faiss")

from prolip import Index
from prolip.cli.main import main
from prolip.data.records import DataError
from prolip.gaussian import Gaussian
from prolip.retrieval import approximate
from prolip.retrieval.approximate import Hnsw
from prolip.retrieval.index_files import FOLDER
from prolip.retrieval.search import Best

COUNT, DIM = 3000, 16


def clustered(rng, count=COUNT, dim=DIM):
    """Items of which the uncertain ones are far from all queries, however near their means are."""
    centres = gaussians(rng, 40, dim).mean
    mean = centres[rng.integers(0, 40, count)] + 0.4 * gaussians(rng, count, dim).mean
    mean /= np.linalg.norm(mean, axis=1, keepdims=True)
    log_var = rng.normal(-4, 1, (count, 1)) + rng.normal(0, 0.3, (count, dim))
    return Gaussian(mean, log_var.astype(np.float32))


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    directory = tmp_path_factory.mktemp("approximate") / "collection"
    return write_collection(directory, clustered(np.random.default_rng(0)))


@pytest.fixture(scope="module")
def index(collection):
    return Index.build(collection, hnsw=Hnsw())


@pytest.fixture(scope="module")
def queries():
    return clustered(np.random.default_rng(1), 30)


def test_the_graph_finds_what_exact_search_finds(index, queries):
    found, exact = (index.search(queries, approximate=way) for way in (True, False))
    assert index.recall(queries) > 0.99
    assert index.description.approximate.recall > 0.99
    by_mean = index.search(queries, by="mean")
    same = [a.ids == b.ids for a, b in zip(found, exact, strict=True)]
    assert np.mean(same) > 0.9
    assert np.mean([a.ids == b.ids for a, b in zip(found, by_mean, strict=True)]) < 0.1
    assert not any(answer.exact for answer in found)
    for i in np.flatnonzero(same):  # Scores are exact too, not those of the graph.
        assert found[i].hits == exact[i].hits


def test_a_graph_serves_one_ranking(index, queries, tmp_path):
    with pytest.raises(DataError, match=r"built for 'csd'.*--by mean"):
        index.search(queries, by="mean", approximate=True)
    for options in ({"by": "inclusion"}, {"inside": True}):
        with pytest.raises(DataError, match="no graph finds it"):
            index.search(queries, approximate=True, **options)
    directory = write_collection(tmp_path / "mean", clustered(np.random.default_rng(0), 500))
    mean = Index.build(directory, hnsw=Hnsw(by="mean"))
    assert mean.recall(queries) > 0.99
    found = mean.search(queries, by="mean", approximate=True)
    for answer, exact in zip(found, mean.search(queries, by="mean"), strict=True):
        assert answer.ids == exact.ids


def test_without_a_graph_approximate_search_says_so(tmp_path, queries):
    gaussian = clustered(np.random.default_rng(0), 5)
    index = Index.build(write_collection(tmp_path / "c", gaussian))
    memory = Index.from_gaussians(gaussian, list("abcde"))
    for one in (index, memory):
        with pytest.raises(DataError, match="--approximate hnsw"):
            one.search(queries, approximate=True)


@pytest.mark.parametrize("share", [0.5, 0.2, 0.02])
def test_filters_hold_and_are_exact_where_few_pass(index, queries, share):
    keep = np.random.default_rng(2).random(COUNT) < share
    found = index.search(queries, filter=keep, approximate=True)
    exact = index.search(queries, filter=keep)
    assert all(keep[hit.row] for answer in found for hit in answer.hits)
    assert {answer.exact for answer in found} == {share < approximate.LEAST_SHARE}
    assert np.mean([a.ids == b.ids for a, b in zip(found, exact, strict=True)]) > 0.9


def test_uncertain_items_are_left_out_of_the_graphs_answers(index, queries):
    limit = index.description.uncertainty["median"]
    for answer in index.search(queries, approximate=True, max_item_uncertainty=limit):
        assert len(answer.hits) == 10
        assert max(hit.uncertainty for hit in answer.hits) <= limit


def test_more_hits_than_the_graph_leads_to_are_found_exactly(tmp_path, queries):
    """Copies of one item: the graph of equal points falls apart."""
    gaussian = clustered(np.random.default_rng(0), 400)
    for x in gaussian:
        x[100:] = x[:1]
    index = Index.build(
        write_collection(tmp_path / "c", gaussian), hnsw=Hnsw(m=2, ef_construction=4, ef_search=1)
    )
    for k in (10, 300, 1000):
        for answer in index.search(queries, k, approximate=True):
            assert len(answer.hits) == min(k, 400)
            assert len(set(answer.ids)) == len(answer.ids)


def test_recall_counts_equal_scores_as_found():
    exact = Best(np.array([[0, 1, 2]]), np.array([[3.0, 2.0, 2.0]]))
    found = Best(np.array([[0, 7, -1]]), np.array([[3.0, 2.0, -np.inf]]))
    assert approximate.recall(found, exact) == pytest.approx(2 / 3)
    assert approximate.recall(exact, exact) == 1


def test_damaged_graphs_are_named(collection, index, queries):
    path = collection / FOLDER / index.description.folder / "hnsw.faiss"
    whole = path.read_bytes()
    try:
        path.write_bytes(whole[:-1])
        with pytest.raises(DataError, match=r"hnsw\.faiss has"):
            Index.open(collection)
        path.write_bytes(b"nons" + whole[4:])
        damaged = Index.open(collection)
        with pytest.raises(DataError, match=r"hnsw\.faiss can't be read"):
            damaged.search(queries, approximate=True)
    finally:
        path.write_bytes(whole)


@pytest.mark.parametrize("options", [{"m": 1}, {"ef_construction": 0}, {"ef_search": -1}])
def test_graphs_that_cannot_be_are_refused(options):
    with pytest.raises(DataError, match="at least"):
        Hnsw(**options)


def test_faiss_that_is_missing_is_named_before_the_work(collection, monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    before = (collection / FOLDER / "index.json").read_bytes()
    with pytest.raises(DataError, match=r"pip install 'prolip\[faiss\]'"):
        Index.build(collection, hnsw=Hnsw())
    assert (collection / FOLDER / "index.json").read_bytes() == before
    assert Index.open(collection).search(clustered(np.random.default_rng(3), 1))


def test_the_command_reports_recall_and_how_to_raise_it(tmp_path, capsys):
    directory = write_collection(tmp_path / "c", gaussians(np.random.default_rng(0), 2000, 32))
    words = ["index", str(directory), "--approximate", "hnsw"]
    assert main([*words, "--hnsw-m", "2", "--ef-construction", "2", "--ef-search", "1"]) == 0
    said = capsys.readouterr().out
    assert "Recall@10" in said and "--ef-search (now 1)" in said
    about = json.loads((directory / FOLDER / "index.json").read_text())["approximate"]
    assert about["recall"] < 0.95
    assert main(words) == 0
    assert "--ef-search" not in capsys.readouterr().out
