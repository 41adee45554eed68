"""Which captions are drawn, and what a batch knows of them."""

import collections
import dataclasses

import numpy as np
import pytest
from PIL import Image

from prolip.config import DataConfig, TokenizerConfig
from prolip.data.captions import check, draw
from prolip.data.items import Item
from prolip.data.pipeline import caption_notes
from prolip.data.records import BadRecord, DataError
from prolip.data.text import caption_id
from prolip.data.tokenizer import make_tokenizer

CONFIG = DataConfig(
    caption_features=("name", "words", "group"),
    caption_weights=(0.5, 0.3, 0.2),
    caption_templates=("{}", "a {} here"),
    max_captions=4,
)


def item(*texts: tuple[str, ...]) -> Item:
    ids = dict.fromkeys(caption_id(text) for feature in texts for text in feature)
    return Item(Image.new("RGB", (1, 1)), texts, tuple(ids), ())


def shares(record: Item, config: DataConfig = CONFIG) -> dict[str, float]:
    """How often each text is drawn over an even grid of chances."""
    grid = (np.arange(20) + 0.5) / 20
    drawn = [draw(record, config, (a, b, c)).text for a in grid for b in grid for c in (0.2, 0.7)]
    return {t: n / len(drawn) for t, n in collections.Counter(drawn).items()}


def test_feature_is_drawn_by_weight_then_its_texts_and_templates_evenly():
    got = shares(item(("cat",), ("pet", "fur"), ("animal",)))
    expected = {"cat": 0.25, "pet": 0.075, "fur": 0.075, "animal": 0.1}
    assert got == pytest.approx({**expected, **{f"a {t} here": p for t, p in expected.items()}})


def test_feature_without_texts_leaves_its_weight_to_the_others():
    assert shares(item(("cat",), (), ("animal",)))["cat"] == pytest.approx(5 / 7 / 2, abs=0.02)
    only = dataclasses.replace(CONFIG, caption_weights=(1.0, 0.0, 0.0))
    assert set(shares(item((), ("pet",), ("animal",)), only)) == {
        "pet", "a pet here", "animal", "a animal here",
    }  # fmt: skip


@pytest.mark.parametrize("last", [0.0, 1 - 2**-53])
def test_extreme_chances_draw_something(last):
    assert draw(item(("a",), ("b",), ("c",)), CONFIG, (last, last, last)).text in ("a", "a c here")


def test_captions_name_the_texts_of_the_record_without_template_and_always_the_drawn_one():
    few = draw(item(("cat",), ("pet", "cat"), ()), CONFIG, (0.9, 0.0, 0.9))
    assert few.text == "a pet here" and few.caption == caption_id("pet")
    assert few.captions.tolist() == [caption_id("cat"), caption_id("pet"), 0, 0]
    words = tuple("abcdefgh")
    for i in range(8):
        many = draw(item(("cat",), words, ()), CONFIG, (0.9, i / 8, 0.0))
        assert many.caption == caption_id(words[i]) and many.caption in many.captions.tolist()
        assert len(set(many.captions.tolist())) == 4 and many.captions.all()


def test_braces_in_a_caption_are_text():
    assert draw(item(("{0} {x}",), (), ()), CONFIG, (0.0, 0.0, 0.9)).text == "a {0} {x} here"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"caption_weights": (1.0,)}, "one weight for each of the 3"),
        ({"caption_weights": (1.0, -1.0, 1.0)}, "negative"),
        ({"caption_weights": (0.0, 0.0, 0.0)}, "not all zero"),
        ({"caption_templates": ("photo",)}, "must have {} in each"),
        ({"caption_templates": ()}, "must have {} in each"),
        ({"max_captions": 0}, "at least 1"),
    ],
)
def test_options_that_do_not_fit_are_refused(change, sentence):
    with pytest.raises(DataError, match=sentence):
        check(dataclasses.replace(CONFIG, **change))


class Captions(list):
    """A source of captions whose images take long to read; None is a corrupt record."""

    def __getitem__(self, index):
        raise AssertionError("an image was read for its captions")

    def captions(self, index):
        texts = super().__getitem__(index)
        if texts is None:
            raise BadRecord("no caption")
        return (texts,)


def test_captions_that_are_trained_otherwise_than_they_read_are_counted():
    words = ["a red cat", "a blue dog"]
    tokenizer = make_tokenizer(TokenizerConfig(vocab_size=300), 8, words)
    assert caption_notes(Captions([("a red cat", "a dog"), None]), tokenizer) == []
    assert caption_notes(Captions(), tokenizer) == []
    odd = Captions([("a red \N{CAT FACE}", "ねこ"), ('{"a": "cat"}', "a cat"), None])
    unknown, documents = caption_notes(odd, tokenizer)
    assert unknown.startswith("2 of 4 captions looked at have letters")
    assert documents.startswith("1 of 4 captions looked at are JSON")
