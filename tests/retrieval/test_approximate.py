"""A graph over D + 1 dimensions ranks as the sampled distance does, and says what it misses."""

import itertools
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
from prolip.retrieval.points import points_of
from prolip.retrieval.search import Best
from prolip.retrieval.vectors import ArrayColumn, Vectors

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


def test_every_distinct_item_is_found_beside_many_equal_ones(tmp_path):
    """Equal points would fill each other's lists of neighbours, and hide what is behind them."""
    rng = np.random.default_rng(0)
    gaussian = gaussians(rng, 5000, DIM)
    copies = np.sort(rng.choice(5000, 2000, replace=False))
    for x in gaussian:
        x[copies] = x[copies[0]]
    index = Index.build(
        write_collection(tmp_path / "c", gaussian), hnsw=Hnsw(by="mean", m=16, ef_construction=40)
    )
    assert index.description.approximate.points == 3001
    assert index.description.approximate.recall > 0.99
    rows = np.setdiff1d(np.arange(5000), copies[1:])
    asked = Gaussian(*(x[rows] for x in gaussian))
    found = index.search(asked, 1, by="mean", approximate=True)
    assert [answer.hits[0].row for answer in found] == rows.tolist()
    one = Gaussian(*(x[copies[:1]] for x in gaussian))
    [answer] = index.search(one, 2003, by="mean", approximate=True)
    assert [hit.row for hit in answer.hits[:2000]] == copies.tolist()  # All, in their order.
    odd = np.arange(5000) % 2 == 1
    [answer] = index.search(one, 7, by="mean", approximate=True, filter=odd)
    assert [hit.row for hit in answer.hits] == copies[copies % 2 == 1][:7].tolist()


def test_a_collection_of_copies_alone_is_one_point(tmp_path, queries):
    gaussian = Gaussian(*(np.repeat(x[:1], 50, 0) for x in clustered(np.random.default_rng(0), 1)))
    index = Index.build(write_collection(tmp_path / "c", gaussian), hnsw=Hnsw())
    assert index.description.approximate.points == 1
    for answer in index.search(queries, 5, approximate=True):
        assert [hit.row for hit in answer.hits] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("by", ["csd", "mean"])
def test_points_are_the_rows_that_a_ranking_cannot_tell_apart(by):
    rng = np.random.default_rng(1)
    few = gaussians(rng, 7, 3)
    mean, uncertainty = few.mean[rng.integers(0, 7, 200)], rng.integers(1, 3, 200)
    mean[mean[:, 0] == few.mean[0, 0], 1] = 0.0
    mean[5:9] = mean[5]
    mean[6, 2], mean[7, 2], mean[8, 2] = 0.0, -0.0, 0.0
    columns = ArrayColumn(mean), ArrayColumn(uncertainty.astype(np.float32))
    points = points_of(Vectors(*columns), by)
    groups = {}
    for row, (numbers, own) in enumerate(zip(mean.tolist(), uncertainty.tolist(), strict=True)):
        groups.setdefault((*numbers, own if by == "csd" else 0), []).append(row)
    cut = [points.rows[a:b].tolist() for a, b in itertools.pairwise(points.starts)]
    assert cut == [*groups.values()]
    assert points.firsts.tolist() == [rows[0] for rows in groups.values()]
    keep = rng.random(200) < 0.3
    rows, place = points.where(keep).members(np.array([2, 0, 2]), 4)
    expected = [[r for r in cut[i] if keep[r]][:4] for i in (2, 0, 2)]
    assert [rows[place == i].tolist() for i in range(3)] == expected


def test_an_empty_collection_has_an_empty_graph(tmp_path, queries):
    nothing = gaussians(np.random.default_rng(0), 0, DIM)
    index = Index.build(write_collection(tmp_path / "c", nothing, parts=1), hnsw=Hnsw())
    assert [answer.hits for answer in index.search(queries, approximate=True)] == [()] * 30


def test_a_graph_of_the_older_format_says_to_build_it_again(tmp_path, queries):
    directory = write_collection(tmp_path / "c", clustered(np.random.default_rng(0), 50))
    index = Index.build(directory, hnsw=Hnsw())
    path = directory / FOLDER / "index.json"
    about = json.loads(path.read_text())
    about["files"] = [f for f in about["files"] if f["name"] not in ("hnsw.rows", "hnsw.starts")]
    (directory / FOLDER / about["folder"] / "hnsw.rows").unlink()
    del about["approximate"]["points"], about["rounding"]
    path.write_text(json.dumps(about | {"format": 1}))
    index = Index.open(directory)
    assert len(index.search(queries)[0].hits) == 10
    with pytest.raises(DataError, match=r"older version.*--approximate hnsw"):
        index.search(queries, approximate=True)


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
