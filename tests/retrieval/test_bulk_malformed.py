"""Of a hundred malformed inputs each is embedded or named with a reason; none ends the run."""

import contextlib
import dataclasses
import json
import tarfile
import warnings

import malformed
import numpy as np
import pytest
from collected import rows, run
from PIL import Image
from small_model import encoded, picture, small_model

from prolip.model import Model
from prolip.retrieval.bulk import BulkOptions
from prolip.retrieval.collections.choose import open_collection

OPTIONS = BulkOptions(batch_size=16, part_size=32, threads=2, max_bad_fraction=1.0)
IMAGES, TEXTS = malformed.images(), malformed.texts()


@pytest.fixture(scope="module")
def model():
    return small_model()


@contextlib.contextmanager
def pillow_in_silence():
    """It warns of odd images, which is no error outside of tests."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def embedded(model, data, folder):
    """Id to its mean, or to the reason; every item is in one of the two, once."""
    with pillow_in_silence():
        run(model, data, folder, OPTIONS)
    found, manifest = rows(folder)
    assert np.isfinite(found.gaussian.mean).all() and np.isfinite(found.gaussian.log_var).all()
    fates = dict(zip(found.ids, found.gaussian.mean, strict=True))
    lines = map(json.loads, (folder / "failed.jsonl").read_text().splitlines())
    failures = {line["id"]: line["reason"] for line in lines}
    assert not fates.keys() & failures.keys()
    assert len(fates) == manifest.count and len(failures) == manifest.failed
    return fates | failures


@pytest.fixture(scope="module")
def image_fates(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    (folder / "data").mkdir()
    for name, (content, _) in IMAGES.items():
        (folder / "data" / name).write_bytes(content)
    return embedded(model, folder / "data", folder / "out")


@pytest.fixture(scope="module")
def text_fates(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    (folder / "t.txt").write_bytes(b"".join(line + b"\n" for line in TEXTS))
    return embedded(model, folder / "t.txt", folder / "out")


def test_there_are_a_hundred(image_fates, text_fates):
    assert len(image_fates) == len(IMAGES) and len(text_fates) == len(TEXTS)
    assert len(IMAGES) + len(TEXTS) >= 90  # Tars and links come with the tests of their own.


@pytest.mark.parametrize("name", IMAGES)
def test_images(name, image_fates, model):
    """Where Pillow may decide (None), it is one of the reasons or an embedding."""
    _, expected = IMAGES[name]
    fate = image_fates[name]
    if isinstance(expected, Image.Image):
        assert not isinstance(fate, str), fate
        np.testing.assert_allclose(fate, model.encode_image([expected]).mean[0], atol=1e-6)
    elif expected is None:
        known = (malformed.NOT_IMAGE, malformed.DAMAGED, malformed.LARGE)
        assert not isinstance(fate, str) or fate in known
    else:
        assert isinstance(fate, str) and fate == expected


@pytest.mark.parametrize("line", TEXTS, ids=lambda line: repr(line[:20]))
def test_texts(line, text_fates, model):
    fate = text_fates[str(list(TEXTS).index(line))]
    if TEXTS[line] in ("empty text", "text is not UTF-8"):
        assert isinstance(fate, str) and fate == TEXTS[line]
    else:
        assert not isinstance(fate, str), fate
        np.testing.assert_allclose(fate, model.encode_text([TEXTS[line]]).mean[0], atol=1e-6)


@pytest.mark.parametrize("form", ["exact", "released"])
def test_files_embed_as_the_model_embeds_them(form, model, tmp_path):
    """Released weights expect palettes, turned and clear pictures as their code has them."""
    preprocessing = dataclasses.replace(model.preprocessing, form=form)
    same = Model(model.config, model.params, model.tokenizer, preprocessing, model._mesh)
    (tmp_path / "data").mkdir()
    for name, (content, _) in IMAGES.items():
        (tmp_path / "data" / name).write_bytes(content)
    fates = embedded(same, tmp_path / "data", tmp_path / "out")
    good = [name for name, fate in fates.items() if not isinstance(fate, str)]
    assert {"turned 6.jpg", "palette.png", "clear.png", "cmyk.jpg"} <= set(good)
    with pillow_in_silence():
        expected = same.encode_image([tmp_path / "data" / name for name in good]).mean
    np.testing.assert_allclose([fates[name] for name in good], expected, atol=1e-6)
    reasons = {fate for fate in fates.values() if isinstance(fate, str)}
    assert not [reason for reason in reasons if "unexpected" in reason]


def test_cut_and_random_bytes_of_images(model, tmp_path):
    """Each of 150 damages is an embedding or one of the reasons."""
    (tmp_path / "data").mkdir()
    rng = np.random.default_rng(0)
    for form in ("JPEG", "PNG", "WEBP", "GIF"):
        whole = encoded(picture(5, 40, 30), form)
        for number in range(38):
            content = bytearray(whole)
            for place in rng.integers(0, len(whole), 1 + number % 5):
                content[place] = rng.integers(256)
            (tmp_path / f"data/{form}{number}.png").write_bytes(content)
    fates = embedded(model, tmp_path / "data", tmp_path / "out")
    assert len(fates) == 152
    known = {malformed.NOT_IMAGE, malformed.DAMAGED, malformed.LARGE}
    reasons = [fate for fate in fates.values() if isinstance(fate, str)]
    assert set(reasons) <= known and 10 < len(reasons) < 152


def test_lone_surrogates_of_json_are_texts(model, tmp_path):
    (tmp_path / "t.jsonl").write_text('{"text": "a \\ud800 b"}\n{"text": "\\u0000"}\n')
    run(model, tmp_path / "t.jsonl", tmp_path / "out", OPTIONS)
    found, manifest = rows(tmp_path / "out")
    assert found.texts == ("a ? b",) and manifest.failed == 1


def test_every_cut_of_a_tar_has_all_its_items(model, tmp_path):
    ends = []
    with tarfile.open(tmp_path / "whole.tar", "w", format=tarfile.GNU_FORMAT) as tar:
        for number in range(3):
            path = tmp_path / f"{number}.png"
            path.write_bytes(encoded(picture(number)))
            ends.append(tar.offset + tarfile.BLOCKSIZE + path.stat().st_size)
            tar.add(path, path.name)
    whole = (tmp_path / "whole.tar").read_bytes()
    for size in range(ends[0], ends[-1] + 400, 333):
        (tmp_path / "t.tar").write_bytes(whole[:size])
        fates = embedded(model, tmp_path / "t.tar", tmp_path / f"out{size}")
        good = [name for name, fate in fates.items() if not isinstance(fate, str)]
        assert good == [f"t/{n}" for n, end in enumerate(ends) if end <= size]
        assert {fate for fate in fates.values() if isinstance(fate, str)} == {"tar is cut short"}


def test_a_program_error_in_one_item_is_counted_and_named(model, tmp_path, monkeypatch):
    """An item that finds a fault of ours must not end a run of millions."""
    (tmp_path / "t.txt").write_text("one\ntwo\nthree\n")
    collection = open_collection(str(tmp_path / "t.txt"))
    get = type(collection).__getitem__

    def faulty(self, index):
        return 1 / 0 if index == 1 else get(self, index)

    monkeypatch.setattr(type(collection), "__getitem__", faulty)
    summary = run(model, collection, tmp_path / "out", OPTIONS)
    assert summary.failures == {"unexpected ZeroDivisionError": 1}
    assert rows(tmp_path / "out")[0].ids == ("0", "2")
