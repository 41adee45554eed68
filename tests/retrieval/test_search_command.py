"""`prolip embed`, `index` and `search` on a folder of pictures, as a user types them."""

import json

import pytest
from small_model import save, small_model, write_pictures

import prolip
from prolip.cli.main import main
from prolip.data.records import DataError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("command")
    save(small_model(), folder / "run")
    save(small_model(seed=1), folder / "other")
    write_pictures(folder / "pictures", 12)
    words = ["embed", "--checkpoint", folder / "run", "--data", folder / "pictures"]
    assert main([str(word) for word in [*words, "--out", folder / "collection"]]) == 0
    assert main(["index", str(folder / "collection")]) == 0
    return folder


def search(folder, capsys, *words, code=0):
    capsys.readouterr()
    assert main(["search", str(folder / "collection"), *map(str, words)]) == code
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return captured.err if code else captured.out


def answers(folder, capsys, *words):
    return [json.loads(line) for line in search(folder, capsys, "--json", *words).splitlines()]


def test_pictures_find_themselves_and_texts_find_what_python_finds(folder, capsys):
    pictures = [folder / "pictures" / f"{number:02}.png" for number in (3, 8)]
    texts = ["a cat", "thing number 5"]
    found = answers(folder, capsys, pictures[0], texts[0], texts[1], pictures[1], "--by", "mean")
    assert [one["query"] for one in found] == [str(x) for x in (pictures[0], *texts, pictures[1])]
    for one, picture in zip((found[0], found[3]), pictures, strict=True):
        assert picture.name in one["hits"][0]["id"]
        assert one["hits"][0]["score"] == pytest.approx(1, abs=1e-5)
    model = prolip.load(folder / "run")
    index = prolip.Index.open(folder / "collection")
    for one, answer in zip(found[1:3], index.search(texts, by="mean", model=model), strict=True):
        assert [hit["id"] for hit in one["hits"]] == answer.ids
        assert one["uncertainty"] == pytest.approx(answer.uncertainty, rel=1e-5)
        assert len(one["hits"]) == 10


@pytest.mark.parametrize("query", ["", "   ", "!!!", "\ufeff", "\u2028"])
def test_a_query_of_nothing_is_refused(query, folder, capsys):
    assert "nothing to search for" in search(folder, capsys, "a cat", query, code=1)


def test_what_is_no_query_is_named(folder):
    index = prolip.Index.open(folder / "collection")
    model = prolip.load(folder / "run")
    for value in (float("nan"), None, b"cat"):
        with pytest.raises(DataError, match=f"not {type(value).__name__}"):
            index.search(["a cat", value], model=model)


def test_the_table_shows_both_uncertainties(folder, capsys):
    (one,) = answers(folder, capsys, "a cat", "--k", 3)
    said = search(folder, capsys, "a cat", "--k", 3)
    assert f"uncertainty {one['uncertainty']:.4g}" in said
    lines = [line.split() for line in said.splitlines() if line.strip()]
    assert len(lines) == 1 + 2 + 3  # Query, header and its rule, hits.
    for line, hit in zip(lines[3:], one["hits"], strict=True):
        assert line[1] == f"{hit['score']:.4f}"
        assert line[3] == f"{hit['uncertainty']:.4g}"
        assert line[4] == hit["id"]


def test_options_reach_the_search(folder, capsys):
    (full,) = answers(folder, capsys, "a cat", "--k", 12)
    ids = [hit["id"] for hit in full["hits"]]
    (some,) = answers(folder, capsys, "a cat", "--filter", f"id={ids[5]}")
    assert [hit["id"] for hit in some["hits"]] == [ids[5]]
    (folder / "ids.txt").write_text(f"{ids[7]}\n{ids[2]}\n")
    (some,) = answers(folder, capsys, "a cat", "--ids", folder / "ids.txt", "--filter", "id=*")
    assert [hit["id"] for hit in some["hits"]] == [ids[2], ids[7]]
    own = sorted(hit["uncertainty"] for hit in full["hits"])
    (some,) = answers(folder, capsys, "a cat", "--max-item-uncertainty", own[4])
    assert sorted(hit["uncertainty"] for hit in some["hits"]) == own[:5]


@pytest.mark.parametrize(
    "words", [["--inside"], ["--by", "inclusion"], ["--direction", "query-in-item"]]
)
def test_who_asks_for_inclusion_is_told_why_it_is_gone(folder, capsys, words):
    said = search(folder, capsys, "a cat", *words, code=1)
    assert "which of two items is wider" in said and "results/inclusion.md" in said


def test_abstaining_and_finding_nothing_are_said(folder, capsys):
    words = ("a cat", "--max-query-uncertainty", "1e-9")
    (one,) = answers(folder, capsys, *words)
    assert one["abstained"] and one["hits"] == [] and one["uncertainty"] > 1e-9
    assert "Abstained" in search(folder, capsys, *words)
    assert "No item passes" in search(folder, capsys, "a cat", "--filter", "id=nothing*")


def test_another_model_is_refused_and_a_lost_one_is_named(folder, capsys):
    said = search(folder, capsys, "a cat", "--checkpoint", folder / "other", code=1)
    weights = [small_model(seed=seed).identity["weights"][:12] for seed in (0, 1)]
    assert all(one in said for one in weights) and str(folder / "run") in said
    (folder / "run").rename(folder / "moved")
    try:
        said = search(folder, capsys, "a cat", code=1)
        assert "--checkpoint" in said and str(folder / "run") in said
        assert answers(folder, capsys, "a cat", "--checkpoint", folder / "moved")[0]["hits"]
    finally:
        (folder / "moved").rename(folder / "run")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["lost.png"], "lost.png looks like an image file"),
        (["lost.JFIF"], "lost.JFIF looks like an image file"),
        (["a cat", "--k", "0"], "k must be at least 1"),
        (["a cat", "--filter", "cat"], "COLUMN=PATTERN"),
        (["a cat", "--ids", "lost.txt"], "lost.txt"),
        (["a cat", "--approximate"], "--approximate hnsw"),
    ],
)
def test_mistakes_are_a_sentence(folder, capsys, words, said):
    assert said in search(folder, capsys, *words, code=1)


def test_an_image_that_is_damaged_is_named(folder, capsys, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no image")
    assert "can't be read" in search(folder, capsys, tmp_path / "broken.png", code=1)


def test_checking_finds_damage(folder, capsys):
    words = ["index", str(folder / "collection"), "--check"]
    assert main(words) == 0
    assert "12 items" in capsys.readouterr().out
    index = prolip.Index.open(folder / "collection")
    path = folder / "collection" / "index" / index.description.folder / "mean"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    try:
        assert main(words) == 1
        assert "not as it was written" in capsys.readouterr().err
    finally:
        path.write_bytes(whole)


def test_a_folder_that_is_no_collection_is_named(capsys, tmp_path):
    for words in (["index", str(tmp_path)], ["search", str(tmp_path), "a cat"]):
        assert main(words) == 1
        assert str(tmp_path) in capsys.readouterr().err
