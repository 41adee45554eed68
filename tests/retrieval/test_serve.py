"""What the page shows, without gradio: answers, sentences, and whom it listens to."""

import json
import math
import re
import shutil

import numpy as np
import pytest
from served import COUNT, address, desk, make
from small_model import encoded, picture, png, small_model

import prolip
from prolip.cli.main import main
from prolip.data.records import DataError
from prolip.retrieval import serve
from prolip.retrieval.embeddings import read_manifest
from prolip.retrieval.page import asking, cards
from prolip.retrieval.page.asking import Settings
from prolip.retrieval.page.layout import Limit

NO_LIMIT = Settings(k=5)


@pytest.fixture(scope="module")
def model():
    return small_model()


@pytest.fixture(scope="module")
def directory(model, tmp_path_factory):
    return make(model, tmp_path_factory.mktemp("images"))


def shown(page):
    """Names on the cards, in order."""
    return re.findall(r'class="name">([^<]*)<', page)


def test_the_page_shows_what_a_search_finds(model, directory):
    index, page = prolip.Index.open(directory), desk(model, directory)
    asked = page.ask_text("  a text about thing number 3 ")
    for by in ("csd", "mean"):
        found = page.search(asked, Settings(by=by, k=5))
        [answer] = index.search("a text about thing number 3", 5, by=by, model=model)
        assert found.answer == answer and len(found.answer.hits) == 5
        html = cards.answer(found, page)
        assert shown(html) == answer.ids
        assert html.count("data:image/jpeg;base64,") == 5
        assert f"<b>{cards.number(answer.uncertainty)}</b>" in html


def test_an_image_finds_itself(model, directory):
    page = desk(model, directory)
    for number in (0, 7):
        asked = page.ask_image(address(png(number)))
        found = page.search(asked, Settings(by="mean", k=1))
        assert found.answer.ids == [f"{number:02}.png"]
        assert 'alt="the image that was asked for"' in cards.answer(found, page)
    [answer] = prolip.Index.open(directory).search(picture(7), 1, model=model)
    assert found.answer.uncertainty == pytest.approx(answer.uncertainty)


def test_items_above_the_limit_are_left_out_and_counted(model, directory):
    page = desk(model, directory)
    limit = float(page.uncertainties[COUNT // 3])
    found = page.search(page.ask_text("thing"), Settings(k=100, max_item_uncertainty=limit))
    assert len(found.answer.hits) == COUNT // 3 + 1 == COUNT - found.left_out
    assert all(hit.uncertainty <= limit for hit in found.answer.hits)
    html = cards.answer(found, page)
    assert f"{found.left_out} more uncertain than {cards.number(limit)} are left out." in html
    none = page.search(page.ask_text("thing"), Settings(max_item_uncertainty=0.0))
    assert "No item passes" in cards.answer(none, page)


def test_the_page_abstains_above_the_limit_and_says_why(model, directory):
    page = desk(model, directory)
    asked = page.ask_text("thing")
    own = page.search(asked, NO_LIMIT).answer.uncertainty
    found = page.search(asked, Settings(max_query_uncertainty=own * 0.9))
    html = cards.answer(found, page)
    assert "Abstained" in html and cards.number(own) in html and cards.number(own * 0.9) in html
    assert "<li" not in html
    assert "Abstained" not in cards.answer(page.search(asked, NO_LIMIT), page)


def test_sums_of_variances_are_enough(model, tmp_path):
    page = desk(model, make(model, tmp_path, variance="uncertainty"))
    assert len(page.search(page.ask_text("thing"), NO_LIMIT).answer.hits) == 5


def test_texts_are_shown_as_texts(model, tmp_path):
    (tmp_path / "texts.txt").write_text("thing number 1\n<b>thing</b> number 2\n")
    page = desk(model, make(model, tmp_path, data=tmp_path / "texts.txt"))
    html = cards.answer(page.search(page.ask_text("thing number 1"), NO_LIMIT), page)
    assert "&lt;b&gt;thing&lt;/b&gt; number 2" in html and "<img" not in html
    assert "<b>2</b> texts" in cards.heading(page)
    found = page.search(page.ask_image(address(png(0))), NO_LIMIT)
    assert len(found.answer.hits) == 2


def test_a_picture_that_is_gone_has_a_place_with_its_id(model, tmp_path):
    page = desk(model, make(model, tmp_path))
    (tmp_path / "pictures/03.png").unlink()
    html = cards.answer(page.search(page.ask_text("thing"), Settings(k=COUNT)), page)
    assert re.findall(r"no picture<br>([^<]*)<", html) == ["03.png"]
    assert html.count("data:image/jpeg") == COUNT - 1


def test_nothing_of_a_collection_is_taken_for_a_part_of_the_page(model, tmp_path):
    name = "<img src=x onerror=alert(1)>${alert(2)}{{value}}`'\".png"
    (tmp_path / "evil").mkdir()
    (tmp_path / "evil" / name).write_bytes(png(0))
    page = desk(model, make(model, tmp_path, data=tmp_path / "evil"))
    asked = page.ask_text("<script>alert(3)</script>${alert(4)}")
    for html in (
        cards.answer(page.search(asked, NO_LIMIT), page),
        cards.answer(page.search(asked, Settings(max_query_uncertainty=0.0)), page),
        cards.error(f"{name} is not there"),
        cards.heading(page),
    ):
        assert not re.search(r"[$`]|\{|<script|<img src=x", html)
    assert "&lt;img src=x onerror=alert(1)&gt;" in cards.answer(page.search(asked, NO_LIMIT), page)


@pytest.mark.parametrize(
    ("upload", "sentence"),
    [
        ("", "not an image file"),
        ("too large", "more than 20 MiB"),
        ("https://example.org/a.png", "not an image file"),
        ("file:///etc/passwd", "not an image file"),
        ("data:image/png,abc", "not an image file"),
        ("data:image/png;base64,####", "damaged on its way"),
        ("data:image/png;base64,", "empty image"),
        (address(b"root:x:0:0"), "not a JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF"),
        (address(encoded(picture(0), "TGA")), "not a JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF"),
        (address(png(0)[:300]), "damaged image"),
    ],
)
def test_an_image_that_can_t_be_used_is_told_in_a_sentence(model, directory, upload, sentence):
    with pytest.raises(DataError, match=sentence):
        desk(model, directory).ask_image(upload)


def test_limits_of_images_and_texts_that_are_asked_for(model, directory, monkeypatch):
    page = desk(model, directory)
    with pytest.raises(DataError, match="Type a caption first"):
        page.ask_text(" \n ")
    for text in ("!!!", "\ufeff"):
        with pytest.raises(DataError, match="nothing to search for"):
            page.ask_text(text)
    with pytest.raises(DataError, match="10,000 characters"):
        page.ask_text("a" * 10_001)
    assert page.ask_text("\ud800 lone").text == "? lone"
    monkeypatch.setattr(asking, "MAX_PIXELS", 100)
    with pytest.raises(DataError, match="too many pixels"):
        page.ask_image(address(png(0)))
    monkeypatch.setattr(asking, "MAX_UPLOAD", 100)
    with pytest.raises(DataError, match="more than"):
        page.ask_image(address(png(0)))


def test_another_model_is_refused(directory):
    with pytest.raises(DataError, match="not the model of the collection"):
        desk(small_model(seed=1), directory)
    with pytest.raises(DataError, match="there is no graph"):
        desk(small_model(), directory, approximate=True)


def test_pictures_are_read_once(model, directory, monkeypatch):
    page = desk(model, directory)
    monkeypatch.setattr(asking, "KEPT", 10)
    asked = page.ask_text("thing")
    first = page.search(asked, Settings(k=10))
    monkeypatch.setattr(page._pictures, "of", None)
    assert page.search(asked, Settings(k=10)).pictures == first.pictures
    monkeypatch.undo()
    assert len(page.search(asked, Settings(k=COUNT)).pictures) == COUNT
    assert len(page._kept) <= max(10, asking.KEPT)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0014, "0.00140"),
        (0.5, "0.500"),
        (12.345, "12.3"),
        (20345.3, "20,345"),
        (-0.25, "\N{MINUS SIGN}0.250"),
        (3e-12, "3.00e\N{MINUS SIGN}12"),
        (0.0, "0"),
        (math.inf, "inf"),
    ],
)
def test_numbers_have_the_digits_that_matter(value, text):
    assert cards.number(value) == text


@pytest.mark.parametrize(
    ("least", "most"), [(0.00034, 0.0014), (0.0, 3.7), (5.0, 5.0), (0.0, 0.0), (120.0, 90000.0)]
)
def test_a_slider_covers_all_and_limits_nothing_at_its_right_end(least, most):
    limit = Limit.of(least, most)
    assert limit.least <= least and limit.most >= most and limit.most > limit.least
    assert limit.value(limit.most) == math.inf
    middle = limit.least + (limit.most - limit.least) / 2
    assert limit.value(middle) == middle
    assert limit.value(math.nan) != math.inf
    steps = (limit.most - limit.least) / limit.step
    assert steps == pytest.approx(round(steps)) and steps <= 2000


def test_only_loopback_is_taken_for_this_machine():
    for host in ("127.0.0.1", "127.8.8.8", "::1", "localhost"):
        assert serve.is_loopback(host)
    for host in ("0.0.0.0", "::", "192.168.1.2", "example.org", "localhost.example.org", ""):
        assert not serve.is_loopback(host)


def test_a_port_that_is_taken_is_told_in_a_sentence():
    with serve.listen("127.0.0.1", 0) as taken:
        assert taken.getsockname()[0] == "127.0.0.1"
        with pytest.raises(DataError, match="give another --port"):
            serve.listen("127.0.0.1", taken.getsockname()[1])
    for port in (70_000, -1):
        with pytest.raises(DataError, match=f"no port {port}"):
            serve.listen("127.0.0.1", port)
    with pytest.raises(DataError, match=r"can't listen at 192\.0\.2\.1"):
        serve.listen("192.0.2.1", 0)


def test_without_gradio_the_command_says_what_to_install(directory, monkeypatch, capsys):
    monkeypatch.setattr(serve.importlib.util, "find_spec", lambda name: None)
    assert main(["serve", str(directory)]) == 1
    text = capsys.readouterr().err
    assert text == "prolip serve: the page needs gradio: `pip install 'prolip[serve]'`\n"


def test_uncertainties_of_the_page_are_those_of_the_index(model, directory):
    page, index = desk(model, directory), prolip.Index.open(directory)
    [answer] = index.search("thing", COUNT, model=model)
    own = sorted(hit.uncertainty for hit in answer.hits)
    np.testing.assert_array_equal(page.uncertainties, np.asarray(own, np.float32))
    assert page.rank(own[0]) == 0 and page.rank(own[-1]) == (COUNT - 1) / COUNT
    assert read_manifest(directory).count == COUNT


@pytest.mark.parametrize("place", ["some/model", "/gone/run"])
def test_a_lost_model_is_named_with_the_way_to_give_another(
    place, directory, tmp_path, monkeypatch
):
    pytest.importorskip("gradio")

    def offline(*args, **kwargs):
        raise ConnectionError("no network")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", offline)
    copy = shutil.copytree(directory, tmp_path / "copy")
    path = copy / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "checkpoint": place}))
    with pytest.raises(DataError, match=f"names {place} .*--checkpoint"):
        serve.application(copy)
