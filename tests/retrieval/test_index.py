"""An index gives the collection's own items, refuses what it can't answer, and names damage.

Long because every case asks or damages the one small index that is made here.
"""

import dataclasses
import json
import shutil
import types

import numpy as np
import pyarrow.parquet as pq
import pytest
from gaussians import MODEL, gaussians, write_collection
from PIL import Image

import prolip
from prolip import Index
from prolip.data.records import DataError
from prolip.gaussian import Gaussian
from prolip.retrieval import embeddings, index_files
from prolip.retrieval.embeddings import Identity
from prolip.retrieval.items import Item

COUNT = 23


@pytest.fixture(scope="module")
def gaussian():
    return gaussians(np.random.default_rng(0), COUNT)


@pytest.fixture(scope="module")
def built(tmp_path_factory, gaussian):
    directory = tmp_path_factory.mktemp("index") / "collection"
    write_collection(
        directory,
        gaussian,
        parts=3,
        texts=["a cat" if i % 3 == 0 else None for i in range(COUNT)],
        uris=[f"/pictures/{i}.png" for i in range(COUNT)],
        thumbnails=[None if i == 4 else bytes([i]) for i in range(COUNT)],
    )
    Index.build(directory)
    return directory


@pytest.fixture
def directory(built, tmp_path):
    return shutil.copytree(built, tmp_path / "copy")


@pytest.fixture(scope="module")
def index(built):
    return Index.open(built)


@pytest.fixture
def queries():
    return gaussians(np.random.default_rng(1), 3, level=-3)


def test_a_built_index_answers_as_one_in_memory(index, gaussian, queries):
    memory = Index.from_gaussians(
        gaussian,
        [f"item {i}" for i in range(COUNT)],
        uris=[f"/pictures/{i}.png" for i in range(COUNT)],
        texts=["a cat" if i % 3 == 0 else None for i in range(COUNT)],
    )
    for by in ("csd", "mean"):
        assert index.search(queries, by=by) == memory.search(queries, by=by)
    assert (len(index), index.dim) == (COUNT, 8)


def test_an_answer_holds_what_is_known(index, gaussian, queries):
    distance = np.asarray(prolip.csd(queries, gaussian))
    product, own = np.asarray(queries.mean) @ gaussian.mean.T, np.exp(gaussian.log_var).sum(-1)
    for i, answer in enumerate(index.search(queries, 4)):
        assert answer.exact and not answer.abstained
        assert answer.uncertainty == pytest.approx(np.exp(queries.log_var[i]).sum())
        assert [hit.row for hit in answer.hits] == np.argsort(distance[i])[:4].tolist()
        for hit in answer.hits:
            assert hit.id == f"item {hit.row}"
            assert hit.uri == f"/pictures/{hit.row}.png"
            assert hit.text == ("a cat" if hit.row % 3 == 0 else None)
            assert hit.uncertainty == pytest.approx(own[hit.row])
            assert hit.score == pytest.approx(product[i, hit.row] - own[hit.row] / 2)
            assert hit.csd == pytest.approx(distance[i, hit.row], rel=1e-5)
        assert answer.ids == [hit.id for hit in answer.hits]
        assert json.loads(json.dumps(answer.to_dict()))["hits"][0]["id"] == answer.ids[0]


def test_too_uncertain_queries_and_items_are_left_out(index, gaussian, queries):
    own = np.exp(queries.log_var.astype(np.float64)).sum(-1)
    answers = index.search(queries, max_query_uncertainty=float(np.sort(own)[1]))
    assert [answer.abstained for answer in answers] == (own > np.sort(own)[1]).tolist()
    for answer, uncertainty, full in zip(answers, own, index.search(queries), strict=True):
        assert answer.uncertainty == pytest.approx(uncertainty)
        assert answer.hits == (() if answer.abstained else full.hits)
    items = np.exp(gaussian.log_var).sum(-1)
    (answer, *_) = index.search(queries, COUNT, max_item_uncertainty=float(np.median(items)))
    assert {hit.row for hit in answer.hits} == set(np.flatnonzero(items <= np.median(items)))


@pytest.mark.parametrize(
    ("keep", "rows"),
    [
        ("id=item 1*", [1, *range(10, 20)]),
        ("id=item ?", range(10)),
        ("text=*cat", range(0, COUNT, 3)),
        ("uri=/pictures/2?.png", [20, 21, 22]),
        ("uri=2_.png", []),
        (["item 7", "item 3", "a stranger"], [3, 7]),
        (lambda item: item.text is None and item.id.endswith("1"), [1, 11]),
        (np.arange(COUNT) > 20, [21, 22]),
    ],
)
def test_filters_choose_before_the_ranking(index, queries, keep, rows):
    for answer in index.search(queries, COUNT, filter=keep):
        assert sorted(hit.row for hit in answer.hits) == list(rows)


@pytest.mark.parametrize(
    ("keep", "words"),
    [
        ("name=x", "id, uri, text"),
        ("cat", "COLUMN=PATTERN"),
        (["x.png"], "'x.png', while the first item is 'item 0'"),
        (np.ones(5, bool), r"\[5\]; the collection has 23"),
    ],
)
def test_filters_that_are_mistakes_are_named(index, queries, keep, words):
    with pytest.raises(DataError, match=words):
        index.search(queries, filter=keep)


def test_letters_of_patterns_mean_themselves():
    odd = ["100%", "a_b", "a\\b", "a[b]", "aXb"]
    items = Index.from_gaussians(gaussians(np.random.default_rng(0), 5), odd).items
    for id_ in odd:
        assert [items[row].id for row in np.flatnonzero(items.mask(f"id={id_}"))] == [id_]
    assert items[3] == Item("a[b]", None, None)


def test_thumbnails_come_from_their_part(index):
    assert index.thumbnails([22, 0, 4, 9, 0]) == [b"\x16", b"\x00", None, b"\x09", b"\x00"]


@pytest.mark.parametrize("width", ["float32", "float16"])
def test_half_the_width_is_half_the_file(directory, gaussian, queries, width):
    index = Index.build(directory, width=width)
    folder = directory / "index" / index.description.folder
    assert (folder / "mean").stat().st_size == COUNT * 8 * np.dtype(width).itemsize
    rounded = Gaussian(*(x.astype(width).astype(np.float32) for x in gaussian))
    distance = np.asarray(prolip.csd(queries, rounded))
    answers = index.search(queries, COUNT, by="csd")
    found = [[hit.csd for hit in answer.hits] for answer in answers]
    np.testing.assert_allclose(found, np.sort(distance), rtol=2e-3 if width == "float16" else 1e-5)


def test_sums_of_variances_are_enough(tmp_path, gaussian, queries):
    directory = write_collection(tmp_path / "c", gaussian, variance="uncertainty")
    index = Index.build(directory)
    full = Index.from_gaussians(gaussian, [f"item {i}" for i in range(COUNT)])
    for by in ("csd", "mean"):
        for mine, other in zip(
            index.search(queries, by=by), full.search(queries, by=by), strict=True
        ):
            assert mine.ids == other.ids


def test_empty_collections_and_no_queries(tmp_path, queries):
    nothing = gaussians(np.random.default_rng(0), 0)
    index = Index.build(write_collection(tmp_path / "c", nothing, parts=1))
    assert [answer.hits for answer in index.search(queries)] == [()] * 3
    assert index.search(Gaussian(queries.mean[:0], queries.log_var[:0])) == []


@pytest.mark.parametrize("name", ["mean", "uncertainty", "items.arrow"])
def test_missing_short_and_damaged_files_are_named(directory, name):
    path = directory / "index" / Index.open(directory).description.folder / name
    whole = path.read_bytes()
    Index.open(directory).check()
    path.write_bytes(whole[:20] + bytes([whole[20] ^ 1]) + whole[21:])
    with pytest.raises(DataError, match=f"{name} is not as it was written"):
        Index.open(directory).check()
    path.write_bytes(whole[:-1])
    with pytest.raises(DataError, match=rf"{name} has \d+ bytes of {len(whole)}"):
        Index.open(directory)
    path.unlink()
    with pytest.raises(DataError, match=f"{name} is missing"):
        Index.open(directory)


def test_a_file_cut_short_during_a_search_is_named(directory, queries):
    index = Index.open(directory)
    path = directory / "index" / index.description.folder / "mean"
    with path.open("rb+") as file:
        file.truncate(100)
    with pytest.raises(DataError, match="mean is damaged: it ends at byte 100"):
        index.search(queries)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": 3}, "format 3"),
        ({"files": 5}, "damaged"),
        ({"files": [{"name": "mean"}]}, "damaged"),
        ({"width": "float8"}, "float8"),
        ({"approximate": {"kind": 1}}, "damaged"),
        ({"stranger": 1}, "stranger"),
        ({"manifest": "0" * 64}, "embedded again since"),
    ],
)
def test_a_damaged_description_is_named(directory, change, words):
    path = directory / "index" / "index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DataError, match=words):
        Index.open(directory)
    path.write_text("{")
    with pytest.raises(DataError, match=r"index\.json is damaged"):
        Index.open(directory)


def test_no_index_and_no_collection_say_what_to_do(directory, tmp_path):
    shutil.rmtree(directory / "index")
    with pytest.raises(DataError, match="no index yet: run `prolip index"):
        Index.open(directory)
    with pytest.raises(DataError, match="no collection"):
        Index.open(tmp_path / "nothing")
    (directory / embeddings.MANIFEST).unlink()
    with pytest.raises(DataError, match="unfinished"):
        Index.build(directory)


def test_a_build_that_fails_leaves_the_old_index(directory, queries, monkeypatch):
    before = Index.open(directory).search(queries)
    names = {path.name for path in (directory / "index").iterdir()}
    with monkeypatch.context() as patch:
        patch.setattr(index_files, "publish", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            Index.build(directory)
    assert {path.name for path in (directory / "index").iterdir()} == names
    part = directory / "part-00001.parquet"
    part.write_bytes(part.read_bytes()[:-9])
    with pytest.raises(DataError, match="part-00001"):
        Index.build(directory)
    assert Index.open(directory).search(queries) == before


def test_a_new_build_does_not_end_a_search_of_the_old_one(directory, queries):
    old = Index.open(directory)
    before = old.search(queries)
    (directory / "index" / "deadbeef").mkdir()  # Of a process that was killed.
    new = Index.build(directory)
    assert old.description.folder != new.description.folder
    assert old.search(queries) == before == new.search(queries)
    folders = [path.name for path in (directory / "index").iterdir() if path.is_dir()]
    assert folders == [new.description.folder]


def test_two_builds_at_a_time_are_refused(directory):
    with (
        index_files.new_folder(directory),
        pytest.raises(DataError, match="another process is indexing"),
    ):
        Index.build(directory)


def test_a_collection_that_changes_during_the_build_is_refused(directory, gaussian, monkeypatch):
    check = index_files.check_gaussians

    def embedded_again(*args):
        write_collection(directory, gaussian, parts=3, model=Identity("other", "", ""))
        check(*args)

    monkeypatch.setattr(index_files, "check_gaussians", embedded_again)
    with pytest.raises(DataError, match=r"embedded again|hash differs"):
        Index.build(directory)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [("mean", np.nan, "not finite"), ("mean", 2.0, "unit length"), ("log_var", np.inf, "finite")],
)
def test_what_is_no_gaussian_is_not_indexed(tmp_path, field, value, words):
    gaussian = gaussians(np.random.default_rng(0), 6)
    getattr(gaussian, field)[4, 2] = value
    directory = write_collection(tmp_path / "c", gaussian)
    for make in (
        lambda: Index.build(directory),
        lambda: Index.from_gaussians(gaussian, [f"item {i}" for i in range(6)]),
    ):
        with pytest.raises(DataError, match=f"'item 4'.*{words}"):
            make()


class FakeModel:
    """Says who it is; embeds anything as one Gaussian."""

    def __init__(self, gaussian, **changes):
        self.identity = dataclasses.asdict(MODEL) | changes
        self.tokenizer = types.SimpleNamespace(cleaning="lower")
        self.encode_text = self.encode_image = lambda given: Gaussian(
            *(np.repeat(x[:1], len(given), axis=0) for x in gaussian)
        )


def test_another_model_is_refused_for_what_it_would_embed(index, gaussian):
    text, image = "a cat", Image.new("RGB", (4, 4))
    own = FakeModel(gaussian)
    for query in (text, image, [text, text], [image], np.zeros((4, 4, 3), np.uint8)):
        assert index.search(query, model=own)[0].ids[0] == "item 0"
    weights = FakeModel(gaussian, weights="c" * 64)
    for query in (text, image):
        with pytest.raises(DataError, match=f"weights are {'c' * 12}.*{'a' * 12} .*runs/a"):
            index.search(query, model=weights)
    tokenizer = FakeModel(gaussian, tokenizer="")
    assert index.search(image, model=tokenizer)
    with pytest.raises(DataError, match=f"tokenizer is none.*{'b' * 12}"):
        index.search(text, model=tokenizer)
    preprocessing = FakeModel(gaussian, preprocessing='{"size": 32}')
    assert index.search(text, model=preprocessing)
    with pytest.raises(DataError, match=r'"size": 32.*"size": 16'):
        index.search([image], model=preprocessing)


@pytest.mark.parametrize(
    ("query", "options", "words"),
    [
        (Gaussian(np.ones((1, 4)), np.ones((1, 4))), {}, "dimension 4, the collection has 8"),
        (Gaussian(np.ones(8), np.ones(8)), {}, r"got \[8\]"),
        (Gaussian(np.full((1, 8), np.nan), np.ones((1, 8))), {}, "finite"),
        ("a cat", {}, "needs the model"),
        (["a cat", Image.new("RGB", (4, 4))], {}, "not both"),
        ([], {"k": 0}, "k must be at least 1"),
        ([], {"max_item_uncertainty": float("nan")}, "must be a number, got nan"),
        ([], {"by": "cosine"}, "not one of csd, mean$"),
        ([], {"by": "inclusion"}, "taken away: it tells which of two items is wider"),
    ],
)
def test_queries_that_cannot_be_answered_are_named(index, query, options, words):
    with pytest.raises(DataError, match=words):
        index.search(query, **options)


def test_an_index_in_memory_checks_what_it_is_given(gaussian):
    with pytest.raises(DataError, match="23 embeddings but 2 ids"):
        Index.from_gaussians(gaussian, ["a", "b"])
    with pytest.raises(DataError, match="1 texts"):
        Index.from_gaussians(gaussian, list("a" * COUNT), texts=["x"])


def test_indexing_reads_the_parts_once_and_keeps_them(directory):
    part = pq.read_table(directory / "part-00000.parquet")
    done = []
    Index.build(directory, progress=done.append)
    assert sum(done) == COUNT
    assert pq.read_table(directory / "part-00000.parquet") == part


def test_points_are_found(index, gaussian):
    """A deterministic model gives log-variances of minus infinity."""
    points = Gaussian(gaussian.mean, np.full_like(gaussian.log_var, -np.inf))
    of_points = Index.from_gaussians(points, [str(i) for i in range(COUNT)])
    for searched in (of_points, index):
        answers = searched.search(points, 3, by="mean")
        assert [answer.hits[0].row for answer in answers] == list(range(COUNT))
        assert answers[0].uncertainty == 0
    assert of_points.search(points, 1)[0].hits[0].csd == pytest.approx(0, abs=1e-6)


def test_an_index_of_the_older_format_still_answers(directory, gaussian, queries, tmp_path):
    """It also has a file of variances, which nothing reads any more."""
    about = json.loads((directory / "index" / "index.json").read_text())
    expected = Index.open(directory).search(queries)
    extra = directory / "index" / about["folder"] / "log_var"
    extra.write_bytes(gaussian.log_var.tobytes())
    try:
        about["files"].append({"name": "log_var", "bytes": extra.stat().st_size, "sha256": ""})
        del about["rounding"]
        (directory / "index" / "index.json").write_text(json.dumps(about | {"format": 1}))
        assert Index.open(directory).search(queries) == expected
    finally:
        extra.unlink()
        Index.build(directory)
