"""Images that the released preprocessing reads otherwise than viewers are counted and said."""

import dataclasses
import io

import numpy as np
import pytest
from collected import OPTIONS, rows, run
from PIL import Image
from rich.console import Console
from served import address, desk
from small_model import encoded, picture, png, save, small_model

import prolip
from prolip.cli.main import main
from prolip.data.records import DataError
from prolip.retrieval.embeddings import read_manifest
from prolip.retrieval.page import cards
from prolip.retrieval.page.asking import Settings


def turned():
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(picture(1), "JPEG", exif=exif)


def clear():
    image = picture(2).convert("RGBA")
    image.putalpha(0)
    return encoded(image)


DEEP = encoded(Image.fromarray(np.arange(400, dtype=np.uint16).reshape(20, 20) * 160))
FILES = {"0.png": png(0), "1.jpg": turned(), "2.png": clear(), "3.png": DEEP, "4.png": png(4)}
REASONS = {
    "EXIF rotation ignored": 1,
    "transparency dropped": 1,
    "more than 8 bits clipped to white": 1,
}


@pytest.fixture(scope="module")
def released():
    return small_model().with_image_form("released")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def collection(released, pictures, tmp_path_factory):
    """Of a checkpoint whose form is exact, embedded in the released one, in parts of two."""
    folder = tmp_path_factory.mktemp("collection")
    save(small_model(), folder / "run")
    out = io.StringIO()
    options = dataclasses.replace(OPTIONS, part_size=2, checkpoint=str(folder / "run"))
    run(released, pictures, folder / "out", options, console=Console(file=out, width=400))
    prolip.Index.build(folder / "out")
    return folder / "out", out.getvalue()


def test_embed_counts_them_in_one_line_over_all_parts(released, pictures, collection):
    directory, said = collection
    assert said.count("embedded otherwise") == 1
    assert "3 of 5 images are embedded otherwise than a viewer shows them" in said
    assert all(f"1 x {reason}" in said for reason in REASONS) and "--image-form exact" in said
    manifest = read_manifest(directory)
    assert manifest.departures == REASONS and manifest.model.image_form == "released"
    # Also when all was there already.
    out = io.StringIO()
    options = dataclasses.replace(OPTIONS, part_size=2, checkpoint=manifest.checkpoint)
    run(released, pictures, directory, options, console=Console(file=out, width=400))
    assert "3 of 5 images" in out.getvalue()


def test_as_shown_nothing_is_said_and_equal_pictures_are_equal(pictures, tmp_path):
    out = io.StringIO()
    run(small_model(), pictures, tmp_path / "out", console=Console(file=out, width=400))
    assert "otherwise" not in out.getvalue()
    found, manifest = rows(tmp_path / "out")
    assert not manifest.departures and manifest.model.image_form == "exact"
    assert "departures" not in (tmp_path / "out" / "manifest.json").read_text()
    upright = Image.open(io.BytesIO(FILES["1.jpg"])).transpose(Image.Transpose.ROTATE_270)
    upright.info = {}
    expected = small_model().encode_image([upright])
    np.testing.assert_allclose(found.gaussian.mean[1:2], expected.mean, atol=1e-6)


def test_encode_image_counts_them_in_a_warning(released, pictures):
    paths = sorted(pictures.iterdir())
    with pytest.warns(UserWarning, match=r"3 of 5 images .*image_form='exact'"):
        before = released.encode_image(paths, batch_size=2)
    exact = released.with_image_form("exact")
    assert exact.identity != released.identity and exact.preprocessing.form == "exact"
    after = exact.encode_image(paths)
    same = (np.asarray(before.mean) == np.asarray(after.mean)).all(1)
    assert same.tolist() == [True, False, False, False, True]


def test_a_collection_is_searched_in_the_form_that_it_was_made_in(collection, capsys):
    directory, _ = collection
    assert main(["search", str(directory), "a text about thing number 3", "--json"]) == 0
    assert '"hits"' in capsys.readouterr().out
    with pytest.raises(DataError, match=r"image_form='released'"):
        prolip.Index.open(directory).search(picture(0), 1, model=small_model())
    model = prolip.load(directory.parent / "run", image_form="released")
    [answer] = prolip.Index.open(directory).search(picture(4), 1, by="mean", model=model)
    assert answer.ids == ["4.png"]
    with pytest.raises(ValueError, match="exact, released"):
        prolip.load(directory.parent / "run", image_form="upright")


@pytest.mark.filterwarnings("ignore:.*embedded otherwise")
def test_the_page_says_what_was_embedded_otherwise_than_it_shows(released, collection):
    directory, _ = collection
    page = desk(released, directory)
    assert "<b" in cards.heading(page) and "embedded otherwise than shown" in cards.heading(page)
    for content, reason in ((turned(), "EXIF rotation ignored"), (png(0), "")):
        found = page.search(page.ask_image(address(content)), Settings(k=2))
        html = cards.answer(found, page)
        assert (f"Embedded otherwise than shown: {reason}." in html) == bool(reason)


def test_prolip_embed_takes_the_form(pictures, tmp_path, capsys):
    save(small_model(), tmp_path / "run")
    words = ["--checkpoint", str(tmp_path / "run"), "--data", str(pictures)]
    words += ["--out", str(tmp_path / "out"), "--image-form", "released"]
    assert main(["embed", *words]) == 0
    assert "3 of 5 images" in capsys.readouterr().out
    assert read_manifest(tmp_path / "out").model.image_form == "released"
