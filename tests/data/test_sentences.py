"""Parts of long captions: consecutive sentences, drawn by chances of their own."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy import rows
from webfiles import tar_config, write_tar

from prolip.config import DataConfig
from prolip.data.captions import draw
from prolip.data.items import Item, Items
from prolip.data.pipeline import TrainPipeline
from prolip.data.records import DataError
from prolip.data.sources.choose import open_train
from prolip.data.text import caption_id, clean, sentences

LONG = 'A cat sits. "It is black!" Its eyes, 3.5 cm wide, are green. Is it asleep? No'
PARTS = ("a cat sits", "it is black", "its eyes 35 cm wide are green", "is it asleep", "no")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (LONG, [
            "A cat sits.", '"It is black!', "Its eyes, 3.5 cm wide, are green.", "Is it asleep?",
            "No",
        ]),
        ("one line\nanother\n\n third", ["one line", "another", " third"]),
        ("猫が座る。黒い！", ["猫が座る。", "黒い！"]),
        ("No end", ["No end"]),
        ("", []),
    ],
)  # fmt: skip
def test_sentences_end_at_marks_and_lines(text, expected):
    assert sentences(text) == expected


@given(st.text(st.sampled_from("ab .!?\n\"')。"), max_size=40))
def test_sentences_hold_every_word_of_the_text_in_order(text):
    parts = [clean(part, "canonicalize") for part in sentences(text)]
    assert " ".join(parts).split() == clean(text.replace("。", "。 "), "canonicalize").split()


@pytest.fixture
def source(tmp_path):
    members = {"0.png": rows(1)[0]["picture"], "0.txt": LONG.encode()}
    write_tar(tmp_path / "set-0.tar", members)
    return tar_config(tmp_path, caption_features=("txt",), caption_weights=(1.0,))


def drawn(config, chances):
    item = Items(open_train(config), config, upright=True)[0]
    return draw(item, config, (0.0, 0.0, 0.0), chances)


def test_a_part_is_consecutive_sentences_and_always_a_known_caption(source):
    seen = {}
    grid = (np.arange(20) + 0.5) / 20
    for sampling in ("prefix", "range"):
        config = dataclasses.replace(source, caption_sampling=sampling, caption_whole=0.25)
        found = [drawn(config, (0.9, a, b)) for a in grid for b in grid]
        assert all(caption_id(d.text) == d.caption and d.caption in d.captions for d in found)
        assert all(caption_id(" ".join(PARTS)) in d.captions for d in found)
        seen[sampling] = {d.text for d in found}
        assert drawn(config, (0.2, 0.9, 0.0)).text == clean(LONG, "canonicalize")
    ranges = [PARTS[i:j] for i in range(5) for j in range(i + 1, 6)]
    assert seen["range"] == {" ".join(part) for part in ranges}
    assert seen["prefix"] == {" ".join(PARTS[:j]) for j in range(1, 6)}


def test_a_text_of_one_sentence_is_drawn_whole():
    config = DataConfig(
        caption_features=("a",), caption_weights=(1.0,), caption_sampling="range", caption_whole=0
    )
    item = Item(None, (("one",),), (caption_id("one"),), ())
    assert draw(item, config, (0, 0, 0), (0.9, 0.9, 0.9)).text == "one"


def test_parts_change_neither_crops_nor_the_order(toy, tokenizer):
    def first(config):
        batches = TrainPipeline(config, 8, tokenizer, 4).batches(3)
        batch = next(batches)
        batches.close()
        return batch

    plain, parts = (first(dataclasses.replace(toy, caption_sampling=s)) for s in ("whole", "range"))
    assert (plain.image == parts.image).all() and (plain.index == parts.index).all()


def test_an_unknown_way_of_drawing_is_refused(toy, tokenizer):
    config = dataclasses.replace(toy, caption_sampling="some")
    with pytest.raises(DataError, match=r"caption_sampling is one of whole, prefix, range"):
        TrainPipeline(config, 8, tokenizer, 4)
