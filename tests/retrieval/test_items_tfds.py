"""TFDS data sets: a record an image, and a text for each text that a record has."""

import pytest
import toy  # Of the tests of the input pipeline; see conftest.py.

from prolip.config import ConfigError
from prolip.data.records import BadRecord, DataError
from prolip.retrieval.collections.choose import open_collection


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """Record n has n % 3 texts; the title of record 4 is not UTF-8."""
    folder = tmp_path_factory.mktemp("toy")
    rows = toy.rows(10)
    rows[4]["title"] = b"caf\xe9"
    toy.make_set(folder, rows)
    return str(folder)


def order(data_dir):
    """Number of each record: TFDS shuffles when it writes."""
    titles = open_collection("tfds:toy", data_dir=data_dir, kind="text", column="title")
    numbers = []
    for record in range(len(titles)):
        try:
            numbers.append(int(titles[record].text.removeprefix("picture number ")))
        except BadRecord as bad:
            assert str(bad) == "text is not UTF-8"
            numbers.append(4)
    return numbers


def test_images_are_those_of_the_records(data_dir):
    collection = open_collection("tfds:toy:train", data_dir=data_dir)
    assert (collection.kind, len(collection)) == ("image", 10)
    item = collection[7]
    assert (item.id, item.uri) == ("7", "tfds:toy:train:7")
    assert item.image == open_collection("tfds:toy", data_dir=data_dir)[7].image
    assert item.image.startswith(b"\x89PNG")
    assert len(open_collection("tfds:toy:train[2:5]", data_dir=data_dir)) == 3


def test_each_text_of_a_record_is_an_item(data_dir):
    collection = open_collection("tfds:toy", data_dir=data_dir, kind="text", column="captions/text")
    found, bad = {}, {}
    for number in range(len(collection)):
        try:
            found[collection.id(number)] = collection[number].text
        except BadRecord as error:
            bad[collection.id(number)] = str(error)
    expected = {}
    for record, n in enumerate(order(data_dir)):
        texts = [f"shared text {n % 5}", f"own text {n}"][: n % 3]
        names = [f"{record}/{i}" for i in range(n % 3)] if n % 3 > 1 else [f"{record}"]
        expected |= dict(zip(names, texts, strict=False))
    assert found == expected
    without = [str(record) for record, n in enumerate(order(data_dir)) if n % 3 == 0]
    assert bad == dict.fromkeys(without, "no text")


def test_a_text_that_is_not_utf8_fails_alone(data_dir):
    assert sorted(order(data_dir)) == list(range(10))


def test_what_is_not_there_or_not_clear_is_named(data_dir):
    with pytest.raises(ConfigError, match="it has title, captions/text"):
        open_collection("tfds:toy", data_dir=data_dir, kind="text")
    with pytest.raises(DataError, match="no feature 'titel'; did you mean 'title'"):
        open_collection("tfds:toy", data_dir=data_dir, kind="text", column="titel")
    with pytest.raises(DataError, match="no split 'test'; it has train"):
        open_collection("tfds:toy:test", data_dir=data_dir)
    with pytest.raises(DataError, match="no data set 'toyy'"):
        open_collection("tfds:toyy", data_dir=data_dir)
    with pytest.raises(ConfigError, match="--id-column means nothing"):
        open_collection("tfds:toy", data_dir=data_dir, id_column="title")


def test_the_fingerprint_tells_splits_and_features(data_dir):
    def fingerprint(split, **options):
        return open_collection(f"tfds:toy:{split}", data_dir=data_dir, **options).fingerprint()

    title = {"kind": "text", "column": "title"}
    captions = {"kind": "text", "column": "captions/text"}
    assert fingerprint("train") == fingerprint("train")
    seen = {
        fingerprint("train"),
        fingerprint("train[:9]"),
        fingerprint("train", **title),
        fingerprint("train", **captions),
    }
    assert len(seen) == 4
