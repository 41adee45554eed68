"""Tokenizers other than the one that the weights of a run know."""

import dataclasses
import json
import re

import pytest

from prolip.config import TokenizerConfig
from prolip.data.tokenizer import HF, SPACE, Tokenizer, make_tokenizer
from prolip.train import other_tokenizer
from prolip.train.other_tokenizer import PROBES, difference

CATS = ("a cat", "a photo of a cat", "cats and kittens")
DOGS = ("dog", "a large dog runs", "puppies by the dozen")
SIZE = TokenizerConfig(vocab_size=60)


@pytest.fixture(scope="module")
def cats():
    return make_tokenizer(SIZE, 8, CATS)


@pytest.fixture(scope="module")
def dogs():
    return make_tokenizer(SIZE, 8, DOGS)


def stored(tokenizer, path, text=str):
    path.write_text(text(tokenizer.files()[HF].decode()))
    return TokenizerConfig(kind="hf", path=str(path))


def test_another_vocabulary_gives_other_ids(cats, dogs):
    assert difference(cats, cats) == ""
    assert "the ids of 'a photo of a cat' begin with" in difference(dogs, cats)
    assert "Use theirs: --config.data.tokenizer.kind=train" in other_tokenizer.of_ids(dogs, cats)
    assert other_tokenizer.of_ids(cats, cats) == ""


def test_one_vocabulary_stored_in_another_way_is_the_same(cats, tmp_path):
    config = stored(cats, tmp_path / "t.json", lambda text: json.dumps(json.loads(text)))
    again = make_tokenizer(config, 8)
    assert again.digest() != cats.digest() and difference(again, cats) == ""


def test_entries_that_no_probe_has_are_compared(cats, tmp_path):
    def swapped(text):
        values = json.loads(text)
        vocab = values["model"]["vocab"]
        one, other = (f"{SPACE}{word}" for word in ("kit", "kittens"))
        vocab[one], vocab[other] = vocab[other], vocab[one]
        return json.dumps(values)

    other = make_tokenizer(stored(cats, tmp_path / "t.json", swapped), 8)
    assert (other(PROBES) == cats(PROBES)).all()
    reason = difference(other, cats)
    assert re.fullmatch(rf"the id \d+ is '{SPACE}kittens' instead of '{SPACE}kit'", reason)


def test_entries_that_one_vocabulary_has_more_of_give_no_other_ids(cats, tmp_path):
    def longer(text):
        values = json.loads(text)
        vocab = values["model"]["vocab"]
        vocab["<extra_id_0>"] = len(vocab)
        return json.dumps(values)

    more = make_tokenizer(stored(cats, tmp_path / "t.json", longer), 8)
    assert more.vocab_size == cats.vocab_size + 1
    assert difference(more, cats) == difference(cats, more) == ""


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"cleaning": "lower"}, "cleaning is 'lower' instead of 'canonicalize'"),
        ({"pad_id": 1}, "pad_id is 1 instead of 0"),
    ],
)
def test_cleaning_and_padding_are_part_of_it(changes, reason, cats):
    spec = {"pad_id": cats.pad_id, "mask_id": cats.mask_id, "cleaning": cats.cleaning, **changes}
    other = Tokenizer(HF, cats.files()[HF], 8, **spec)
    assert difference(other, cats) == reason


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, ""),
        ({"pad_id": 0}, ""),
        ({"cleaning": "lower"}, "set --config.data.tokenizer.cleaning=canonicalize"),
        ({"pad_id": 1}, "set --config.data.tokenizer.pad_id=0"),
    ],
)
def test_options_that_contradict_the_tokenizer_of_the_weights_are_named(changes, sentence, cats):
    said = other_tokenizer.of_options(dataclasses.replace(SIZE, **changes), cats)
    assert sentence in said and bool(said) == bool(sentence)


def test_a_run_keeps_its_tokenizer_wherever_its_file_is(cats, dogs, tmp_path):
    saved = stored(cats, tmp_path / "cats.json")
    assert other_tokenizer.of_resumed(saved, saved, cats) == ""
    moved = stored(cats, tmp_path / "moved.json")
    assert other_tokenizer.of_resumed(moved, saved, cats) == ""
    gone = dataclasses.replace(saved, path="gone.json")
    assert other_tokenizer.of_resumed(gone, saved, cats) == ""
    other = stored(dogs, tmp_path / "dogs.json")
    assert "a run keeps its tokenizer (the ids of" in other_tokenizer.of_resumed(other, saved, cats)
    lower = dataclasses.replace(saved, cleaning="lower")
    said = other_tokenizer.of_resumed(lower, saved, cats)
    assert "cleaning is 'lower' instead of 'canonicalize'" in said
