"""TFDS data sets, ours and others, as records."""

import dataclasses
import pickle

import pyarrow.parquet as pq
import pytest
from toy import png

from prolip.config import DataConfig
from prolip.data.emoji.builder import FOLDS, SOURCE, held_out
from prolip.data.records import DataError
from prolip.data.sources.choose import open_source
from prolip.data.sources.tfds import prepare


def test_nested_texts_and_class_names_are_read_and_image_bytes_untouched(toy):
    source = open_source(toy, "train", ["kind"])
    seen = set()
    for record in (source[i] for i in range(len(source))):
        (title,), texts = record.captions
        number = int(title.rsplit(" ", 1)[1])
        seen.add(number)
        assert texts == tuple([f"shared text {number % 5}", f"own text {number}"][: number % 3])
        assert record.image == png(number)
        assert record.labels == (("round", "square")[number % 2],)
    assert seen == set(range(23))


def test_class_label_serves_as_caption(toy):
    source = open_source(dataclasses.replace(toy, caption_features=("kind",)), "train")
    assert {source[i].captions for i in range(len(source))} == {(("round",),), (("square",),)}


def test_slices_of_splits_partition_the_split(toy):
    parts = [open_source(toy, split) for split in ("train[:7]", "train[7:]")]
    whole = open_source(toy, "train")
    found = [p[i]._replace(key="") for p in parts for i in range(len(p))]
    assert found == [whole[i]._replace(key="") for i in range(len(whole))]


def test_copy_in_another_process_reads_the_same(toy):
    source = open_source(toy, "train", ["kind"])
    copy = pickle.loads(pickle.dumps(source))
    assert copy[3] == source[3] and copy.digest() == source.digest()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"name": "emojy"}, "Did you mean 'emoji'"),
        ({"name": "emoji/plian"}, "no such config"),
        ({"name": "mnist"}, "run `tfds build mnist --file_format=array_record --data_dir="),
        ({"name": "toy/a b"}, "can't be opened"),
        ({"image_feature": "pictures"}, "did you mean 'picture'"),
        ({"image_feature": "title"}, "not a top-level Image; set data.image_feature"),
        ({"caption_features": ("captions/texts",)}, "did you mean 'captions/text'"),
        ({"caption_features": ("zzz",)}, "it has title, picture, captions/text, kind"),
        ({"caption_features": ("picture",)}, "not Text or ClassLabel"),
        ({"caption_features": ()}, "names no feature"),
        ({"train_split": "trian"}, "no split 'trian'; it has train"),
    ],
)
def test_what_is_missing_is_named_with_what_to_do(toy, change, sentence):
    config = dataclasses.replace(toy, **change)
    with pytest.raises(DataError) as error:
        open_source(config, config.train_split)
    assert sentence in str(error.value)


def test_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"can't be written to .* set data\.data_dir"):
        prepare(DataConfig(data_dir=str(tmp_path / "file")))


def test_emoji_are_made_when_asked_for_without_a_word(emoji, capfd):
    assert prepare(emoji).info.full_name == "emoji/plain/1.1.0"
    assert capfd.readouterr() == ("", "")
    assert (len(open_source(emoji, "train")), len(open_source(emoji, "test"))) == (1582, 279)


@pytest.fixture(scope="module")
def sides(emoji):
    """Ids of each split of each config."""
    sides = {}
    for name in ("plain", "skin_tones"):
        config = dataclasses.replace(
            emoji, name=f"emoji/{name}", caption_features=("id",), caption_weights=(1.0,)
        )
        for split in ("train", "test"):
            source = open_source(config, split)
            sides[name, split] = {source[i].captions[0][0] for i in range(len(source))}
    return sides


def test_no_family_of_emoji_is_in_both_splits(sides):
    rows = {row["id"]: row for row in pq.read_table(SOURCE).to_pylist()}
    train, test = sides["skin_tones", "train"], sides["skin_tones", "test"]
    assert train | test == set(rows) and not train & test
    # The reason for families, told without them: names without tones, and equal pictures.
    tones = ("light", "medium-light", "medium", "medium-dark", "dark")

    def toneless(name: str) -> str:
        base, _, modifiers = name.partition(": ")
        kept = [m for m in modifiers.split(", ") if m.removesuffix(" skin tone") not in tones]
        return f"{base}: {', '.join(kept)}"

    for key in ("family", "same_image", "image"):
        assert not {rows[i][key] for i in train} & {rows[i][key] for i in test}
    assert not {toneless(rows[i]["name"]) for i in train} & {
        toneless(rows[i]["name"]) for i in test
    }


def test_plain_emoji_have_each_picture_once_on_the_same_side(sides):
    rows = {row["id"]: row for row in pq.read_table(SOURCE).to_pylist()}
    plain = sides["plain", "train"] | sides["plain", "test"]
    assert len({rows[i]["image"] for i in plain}) == len(plain) == 1861
    assert not any(rows[i]["skin_tone"] for i in plain)
    for split in ("train", "test"):
        assert sides["plain", split] < sides["skin_tones", split]


def test_folds_hold_out_other_families(emoji):
    rows = {row["id"]: row for row in pq.read_table(SOURCE).to_pylist()}
    seen: set[int] = set()
    for name in ("plain", *(f"fold_{k}" for k in range(1, FOLDS))):
        config = dataclasses.replace(
            emoji, name=f"emoji/{name}", caption_features=("id",), caption_weights=(1.0,)
        )
        train, test = (open_source(config, split) for split in ("train", "test"))
        families = {rows[test[i].captions[0][0]]["family"] for i in range(len(test))}
        assert (len(train), len(test)) == (1582, 279)
        assert not families & seen
        assert not families & {rows[train[i].captions[0][0]]["family"] for i in range(len(train))}
        seen |= families


def test_held_out_part_does_not_depend_on_the_order():
    names = [f"{n:X}" for n in range(1000)]
    assert held_out(names) == held_out(reversed(names))
    assert len(held_out(names)) == 150
