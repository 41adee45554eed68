"""`prolip data audit`: from collections to a page, from labels to a report."""

import csv
import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from chromium import PATH, Chromium
from embedded_sets import planted, write
from small_model import small_model

from prolip.cli.main import main

ROOT = Path(__file__).parents[2]
COUNT, VAGUE = 120, 12


@pytest.fixture(scope="module")
def sides(tmp_path_factory):
    """By two models; texts of the first records say `picture`, which is true of any."""
    folder = tmp_path_factory.mktemp("audit")
    first = planted(folder, COUNT, VAGUE, noise=0.8)
    return [*first, *planted(folder, COUNT, VAGUE, noise=0.8, seed=1, model="b")]


def run(capsys, *words, code=0):
    assert main(["data", "audit", *map(str, words)]) == code
    captured = capsys.readouterr()
    return captured.out if code == 0 else captured.err


def shown(out):
    """Pairs of the page."""
    page = (out / "label.html").read_text()
    begin = page.index('id="data">') + len('id="data">')
    return json.loads(page[begin : page.index("</script>", begin)])["pairs"]


def true_label(pair):
    return "y" if pair["caption"] == "picture" else "n"


@pytest.mark.parametrize("form", ["json", "csv"])
@pytest.mark.parametrize("design", ["pairs", "rank", "queries"])
def test_labels_of_the_page_become_an_interval_that_holds_the_truth(
    design, form, sides, tmp_path, capsys
):
    words = [*sides, "--out", tmp_path / "out", "--k", 10, "--sample", 400, "--design", design]
    assert "candidates wait for labels" in run(capsys, *words)
    rows = [(p["text"], p["image"], true_label(p)) for p in shown(tmp_path / "out")]
    labels = tmp_path / f"labels.{form}"
    if form == "csv":
        with labels.open("w", newline="") as file:
            csv.writer(file).writerows([("text", "image", "label"), *rows])
    else:
        keyed = [dict(zip(("text", "image", "label"), row, strict=True)) for row in rows]
        labels.write_text(json.dumps({"labels": keyed}))
    said = run(capsys, *words, "--labels", labels)
    found = json.loads((tmp_path / "out/report.json").read_text())["estimates"]
    pool = pq.read_table(tmp_path / "out/candidates.parquet")
    vague = [int(text.rpartition("/")[2]) < VAGUE for text in pool["text"].to_pylist()]
    low, high = found["match_rate"]["bootstrap" if design == "queries" else "wilson"]
    assert low <= np.mean(vague) <= high < 0.5
    assert found["labelled"] == len(rows) and "Matches that nobody annotated" in said
    assert ("matches_of_texts" in found) == (design == "queries")


def test_known_pairs_give_the_truth_beside_the_estimate(sides, tmp_path, capsys):
    ids = [f"0/{n:05}" for n in range(COUNT)]
    pairs = [(text, image) for text in ids[:VAGUE] for image in ids]
    text, image = zip(*pairs, strict=True)
    pq.write_table(pa.table({"text": text, "image": image}), tmp_path / "known.parquet")
    said = run(capsys, *sides, "--out", tmp_path, "--known", tmp_path / "known.parquet", "--k", 10)
    found = json.loads((tmp_path / "report.json").read_text())
    assert found["truth"]["missed_anywhere"] == VAGUE * (COUNT - 1)
    low, high = found["estimates"]["match_rate"]["wilson"]
    assert low <= found["truth"]["match_rate"] <= high
    spread = found["truth"]["matches_of_texts"]
    assert spread["mean"] == pytest.approx(1 + VAGUE * (COUNT - 1) / COUNT)
    assert spread["shares"]["1"] == pytest.approx(1 - VAGUE / COUNT)
    # Widest and most matched is the planted text, named once.
    for key in ("by_uncertainty", "by_matches"):
        texts = [row["text"] for row in found["underspecified"][key]]
        assert texts[0] == "picture" and texts.count("picture") == 1
    assert f"{VAGUE * (COUNT - 1):,} matches are known" in said


def test_equal_texts_are_matches_of_each_others_images(sides, tmp_path, capsys):
    run(capsys, *sides[:2], "--out", tmp_path, "--known", "equal-texts")
    found = json.loads((tmp_path / "report.json").read_text())
    assert found["truth"]["missed_anywhere"] == VAGUE * (VAGUE - 1)


@pytest.mark.parametrize("uris", [True, False], ids=["by path", "by embedding"])
def test_rows_of_one_image_are_one_target_that_all_their_texts_have(tmp_path, capsys, uris):
    rng = np.random.default_rng(0)
    means = rng.normal(size=(6, 8))
    # A row for each of three captions; by path, even where embeddings differ by rounding.
    rows = np.tile(np.arange(6), 3)
    images = means[rows] + (1e-6 * rng.normal(size=(18, 8)) if uris else 0)
    ids = [str(n) for n in range(18)]
    paths = tuple(f"{n}.png" for n in rows) if uris else None
    titles = [f"title {n} of {image}" for n, image in enumerate(rows)]
    texts = means[rows] + 0.3 * rng.normal(size=(18, 8))
    sides = [
        write(tmp_path / "images", "image", ids, images, -6.0, uris=paths),
        write(tmp_path / "texts", "text", ids, texts, -5.0, titles),
    ]
    known = tmp_path / "known.csv"  # A copy names its image as the first row does.
    known.write_text("text,image\n0,7\n0,13\n0,6\n")
    said = run(capsys, *sides, "--out", tmp_path / "out", "--k", 6, "--known", known)
    found = json.loads((tmp_path / "out/report.json").read_text())
    assert (found["images"], found["texts"], found["pool"]["pairs"]) == (6, 18, 18 * 5)
    assert found["truth"]["missed_anywhere"] == 1
    assert "images repeat: 18 rows hold 6 images" in said
    pool = pq.read_table(tmp_path / "out/candidates.parquet").to_pylist()
    assert all(int(row["image"]) < 6 and int(row["text"]) % 6 != int(row["image"]) for row in pool)


def test_equal_seeds_write_equal_files_in_any_order_of_sides(sides, tmp_path, capsys):
    swapped = [sides[1], sides[0], sides[3], sides[2]]
    for out, words in (("a", sides), ("b", swapped)):
        run(capsys, *words, "--out", tmp_path / out, "--seed", 3, "--max-queries", 50)
    for name in ("label.html", "report.md", "report.json", "candidates.parquet"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    run(capsys, *sides, "--out", tmp_path / "c", "--seed", 4)
    assert shown(tmp_path / "a") != shown(tmp_path / "c")


def test_mistakes_are_a_sentence(sides, tmp_path, capsys):
    def said(*words):
        return run(capsys, *words, "--out", tmp_path / "out", code=1)

    assert "name the images of its model too" in said(sides[1])
    assert "are both texts of one model" in said(sides[0], sides[1], sides[1])
    assert "sample is at least 1" in said(*sides, "--sample", "0")
    assert "not both" in said(*sides, "--labels", "x", "--known", "y")
    assert "is no table that is there" in said(*sides, "--known", "nowhere.csv")
    labels = tmp_path / "labels.json"
    labels.write_text("[]")
    assert "labels no pair" in said(*sides, "--labels", labels)
    labels.write_text('[{"text": "0/00001", "image": "0/00001", "label": "y"}]')
    assert "labels 1 pairs that this sample doesn't have" in said(*sides, "--labels", labels)
    labels.write_text('[{"text": "0/00001", "label": "x"}]')
    assert "of y, n or u" in said(*sides, "--labels", labels)
    rng = np.random.default_rng(0)
    ids = ["other"] * 1
    strangers = write(tmp_path / "t", "text", ids, rng.normal(size=(1, 16)), -3.0, ids)
    assert "has the id of an image" in said(sides[0], strangers)


@pytest.mark.skipif(not Path(PATH).exists(), reason=f"needs Chromium at {PATH}")
def test_in_a_browser_keys_label_and_captions_are_no_code(sides, tmp_path, capsys):
    run(capsys, *sides, "--out", tmp_path, "--sample", 5)
    page = tmp_path / "label.html"
    evil = "</script><script>document.title = 'broken'</script><b>"
    first = shown(tmp_path)[0]["caption"]
    page.write_text(
        page.read_text().replace(f'"{first}"', json.dumps(evil).replace("<", "\\u003c"))
    )
    with Chromium(tmp_path / "profile") as browser:
        browser.open(page.as_uri())
        browser.wait_for("document.getElementById('caption')?.textContent")
        assert browser.run("document.getElementById('caption').textContent") == evil
        assert browser.run("document.title") == "Does the caption fit the picture?"
        for key in "yn":
            browser.press(key, ord(key.upper()))
        browser.click("[data-label=u]")
        browser.wait_for("document.getElementById('state').textContent.includes('3 labelled')")
        browser.run(
            "globalThis.saved = ''; URL.createObjectURL = (b) => { saved = b; return '#'; }"
        )
        browser.press("s", ord("S"))
        saved = json.loads(browser.run("saved.text()"))["labels"]
        browser.open(page.as_uri())  # What was labelled is still there.
        browser.wait_for("document.getElementById('state')?.textContent.includes('pair 4 of 5')")
        assert browser.errors == [] and all(u.startswith("file:") for u in browser.requests)
    assert [row["label"] for row in saved] == ["y", "n", "u"]
    assert [row["image"] for row in saved] == [p["image"] for p in shown(tmp_path)[:3]]


def test_planted_captions_of_emoji_from_pictures_to_keys(tmp_path, monkeypatch):
    """The whole way, with a model that knows nothing: intervals hold for any model."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    path = ROOT / "benchmarks" / "planted_captions.py"
    spec = importlib.util.spec_from_file_location("benchmark_planted_captions", path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    monkeypatch.setattr(script.prolip, "load", lambda source: small_model())
    words = ["--split", "test", "--seeds", "1", "--audits", "40", "--sample", "100", "--json"]
    figures = tmp_path / "figures.json"
    monkeypatch.setattr(sys, "argv", ["planted_captions.py", *words, str(figures)])
    script.main()
    rows = json.loads(figures.read_text())["rows"]
    filters = [row for row in rows if "filter" in row]
    assert len(filters) == len(script.FILTERS)
    assert all(row["precision"] == pytest.approx(row["recall"], abs=0.05) for row in filters)
    audits = {row["design"]: row for row in rows if "design" in row}
    for design in ("pairs", "rank"):
        assert audits[design]["holds_wilson"] >= 0.85  # Of 40; below 0.85 by chance 1 in 100.
        assert audits[design]["estimate"] == pytest.approx(audits[design]["truth"], rel=0.15)
