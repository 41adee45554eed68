"""Tokenizers: one interface, exact round trips, the same from the same captions."""

import dataclasses
import hashlib
import io
import json
import random
import subprocess
import sys
from importlib import resources

import numpy as np
import pyarrow.parquet as pq
import pytest
import sentencepiece
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import models, normalizers, pre_tokenizers, processors

from prolip.config import TokenizerConfig
from prolip.data.records import DataError
from prolip.data.tokenizer import SPEC, load_tokenizer, make_tokenizer

CAPTIONS = [f"{a} {b} with {c}" for a in ("red", "green") for b in ("face", "cat") for c in "xyz"]
LENGTH = 6


def trained(**options):
    return make_tokenizer(TokenizerConfig(vocab_size=120, **options), LENGTH, CAPTIONS)


def hugging_face(tmp_path):
    """A file whose post-processor closes each text with [END]; it pads with 7."""
    tokenizer = tokenizers.Tokenizer.from_buffer(trained().files()["tokenizer.json"])
    tokenizer.add_special_tokens(["[END]"])
    end = tokenizer.token_to_id("[END]")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A [END]", special_tokens=[("[END]", end)]
    )
    tokenizer.enable_padding(pad_id=7, length=40)
    tokenizer.save(str(tmp_path / "any.json"))
    return TokenizerConfig(kind="hf", path=str(tmp_path / "any.json")), end


def sentence_piece(tmp_path):
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CAPTIONS * 5),
        model_writer=model,
        vocab_size=30,
        pad_id=3,
        minloglevel=2,
        hard_vocab_limit=False,
    )
    (tmp_path / "any.model").write_bytes(model.getvalue())
    return TokenizerConfig(kind="sentencepiece", path=str(tmp_path / "any.model"))


@pytest.fixture(scope="module", params=["train", "hf", "sentencepiece"])
def any_tokenizer(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    if request.param == "train":
        return trained()
    config = hugging_face(folder)[0] if request.param == "hf" else sentence_piece(folder)
    return make_tokenizer(config, LENGTH)


@given(texts=st.lists(st.text(st.characters(), max_size=60), max_size=4))
def test_ids_are_below_the_vocabulary_size_whatever_the_text(any_tokenizer, texts):
    ids = any_tokenizer(texts)
    assert ids.shape == (len(texts), LENGTH) and ids.dtype == np.int32
    assert (ids >= 0).all() and (ids < any_tokenizer.vocab_size).all()
    assert any_tokenizer.mask_id < any_tokenizer.vocab_size


@given(text=st.text(st.sampled_from("redgncatfw hxyz."), max_size=60))
def test_row_does_not_depend_on_its_neighbours(any_tokenizer, text):
    alone = any_tokenizer([text])[0]
    np.testing.assert_array_equal(any_tokenizer(["red", text, "a" * 500])[1], alone)


def test_loading_the_files_gives_the_same_tokenizer(any_tokenizer):
    again = load_tokenizer({**any_tokenizer.files(), "other.txt": b""})
    texts = [*CAPTIONS, "unseen Ünïcode_text!", ""]
    np.testing.assert_array_equal(again(texts), any_tokenizer(texts))
    assert again.files() == any_tokenizer.files() and again.digest() == any_tokenizer.digest()
    for name in ("vocab_size", "length", "pad_id", "mask_id", "cleaning"):
        assert getattr(again, name) == getattr(any_tokenizer, name)


def test_training_depends_on_the_set_of_captions_alone():
    other = make_tokenizer(
        TokenizerConfig(vocab_size=120), LENGTH, [*reversed(CAPTIONS), CAPTIONS[0].upper(), ""]
    )
    assert other.files() == trained().files()


def test_training_gives_the_same_bytes_in_another_process():
    code = (
        "from prolip.config import TokenizerConfig as C\n"
        "from prolip.data.tokenizer import make_tokenizer\n"
        f"print(make_tokenizer(C(vocab_size=120), {LENGTH}, {CAPTIONS}).digest())"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == trained().digest()


def test_trained_one_pads_with_0_and_reads_words_back():
    tokenizer = trained()
    assert (tokenizer.pad_id, tokenizer.mask_id) == (0, 1)
    (row,) = tokenizer(["Red face!"])
    vocabulary = tokenizers.Tokenizer.from_buffer(tokenizer.files()["tokenizer.json"])
    assert vocabulary.decode(row[row != 0].tolist()) == "red face"
    assert not tokenizer([""]).any()


def test_text_that_spells_a_special_token_is_text():
    tokenizer = trained(cleaning="whitespace")
    assert not {0, 1} & set(tokenizer(["[MASK][PAD]"])[0][:2].tolist())


def test_end_token_stays_when_a_text_is_cut(tmp_path):
    config, end = hugging_face(tmp_path)
    tokenizer = make_tokenizer(config, LENGTH)
    short, long = tokenizer(["red", "red cat " * 30])
    assert tokenizer.pad_id == 7 and short[-1] == 7 and end in short
    assert long[-1] == end and end not in long[:-1]
    pieces = make_tokenizer(sentence_piece(tmp_path), LENGTH)
    short, long = pieces(["red", "red cat " * 30])
    assert pieces.pad_id == 3 and short[-1] == 3 and 2 in short
    assert long[-1] == 2 and 2 not in long[:-1]


def test_ids_of_the_config_win(tmp_path):
    config = dataclasses.replace(sentence_piece(tmp_path), pad_id=1, mask_id=500)
    tokenizer = make_tokenizer(config, LENGTH)
    assert tokenizer(["red"])[0, -1] == 1
    assert tokenizer.mask_id == 500 and tokenizer.vocab_size == 501


def test_shorter_length_cuts_the_end_off():
    text = ["red cat with x and y"]
    longer = make_tokenizer(TokenizerConfig(vocab_size=120), 20, CAPTIONS)
    np.testing.assert_array_equal(longer(text)[:, :LENGTH], trained()(text))


@pytest.mark.parametrize("kind", ["hf", "sentencepiece"])
def test_file_that_is_no_tokenizer_is_named(tmp_path, kind):
    with pytest.raises(DataError, match=r"can't be read: .* set data\.tokenizer\.path"):
        make_tokenizer(TokenizerConfig(kind=kind, path=str(tmp_path / "none")), LENGTH)
    (tmp_path / "bad").write_bytes(b"\x00{]" * 9)
    with pytest.raises(DataError, match="is not a tokenizer that can be used"):
        make_tokenizer(TokenizerConfig(kind=kind, path=str(tmp_path / "bad")), LENGTH)


def test_vocabulary_without_pad_asks_for_it(tmp_path):
    tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0, "<unk>": 1}, "<unk>")).save(
        str(tmp_path / "a.json")
    )
    with pytest.raises(DataError, match=r"set data\.tokenizer\.pad_id"):
        make_tokenizer(TokenizerConfig(kind="hf", path=str(tmp_path / "a.json")), LENGTH)


def test_no_captions_and_damaged_files_raise():
    with pytest.raises(DataError, match="no captions"):
        make_tokenizer(TokenizerConfig(), LENGTH, ["", "!?"])
    files = trained().files()
    for name in files:
        with pytest.raises(DataError, match=name):
            load_tokenizer({k: v for k, v in files.items() if k != name})
        with pytest.raises(DataError):
            load_tokenizer({**files, name: files[name][: len(files[name]) // 2]})
    spec = json.loads(files[SPEC])
    for change in ({"cleaning": "none"}, {"length": "six"}, {"file": SPEC}, {"pad_id": None}):
        with pytest.raises(DataError):
            load_tokenizer({**files, SPEC: json.dumps({**spec, **change}).encode()})


def test_digest_tells_settings_apart():
    digests = {trained().digest(), trained(pad_id=3).digest(), trained(cleaning="lower").digest()}
    assert len(digests) == 3 and all(len(d) == hashlib.sha256().digest_size * 2 for d in digests)


def large_script(letters):
    rng = random.Random(0)
    script = [chr(0x4E00 + number) for number in range(letters)]
    texts = ["".join(rng.choices(script, k=8)) for _ in range(400)]
    return [*texts, "".join(script)]


def test_a_small_alphabet_has_the_vocabulary_that_earlier_versions_made():
    """Ids of saved runs and recorded figures depend on it."""
    table = pq.read_table(resources.files("prolip.data.emoji") / "emoji.parquet", columns=["name"])
    tokenizer = make_tokenizer(TokenizerConfig(), 16, table["name"].to_pylist())
    assert tokenizer.digest() == "8b6a6be6028a7724bd4cf6748a35932276671ae9a0de918516003fb85ec39f8f"


@pytest.mark.parametrize("size", [512, 600])
def test_letters_beyond_a_quarter_of_the_vocabulary_are_spelled_by_bytes(size):
    captions = [*large_script(size // 4), "a red cat", "un œuf", "\N{CAT FACE}"]
    tokenizer = make_tokenizer(TokenizerConfig(vocab_size=size), 40, captions)
    assert tokenizer.vocab_size == size
    rows = tokenizer([*captions, "Ж never seen", "\N{DOG FACE}"])
    assert not tokenizer.has_unknown(rows).any() and not (rows == 2).any()
    assert len({row.tobytes() for row in rows}) == len({*captions}) + 2
    vocabulary = tokenizers.Tokenizer.from_buffer(tokenizer.files()["tokenizer.json"])
    assert vocabulary.decode([i for i in rows[-1].tolist() if i]).strip() == "\N{DOG FACE}"


def test_a_vocabulary_without_room_for_bytes_says_what_it_loses(caplog):
    captions = large_script(200)
    tokenizer = make_tokenizer(TokenizerConfig(vocab_size=300), 20, captions)
    share = tokenizer.has_unknown(tokenizer(captions)).mean()
    assert share > 0.5 and f"{100 * share:.1f} % of the captions" in caplog.text
    # Among letters that are as frequent, the same ones stay.
    again = make_tokenizer(TokenizerConfig(vocab_size=300), 20, captions[::-1])
    assert again.digest() == tokenizer.digest()


def test_every_kind_tells_which_texts_have_letters_that_it_lacks(any_tokenizer):
    texts = ["red cat", "red \N{CAT FACE}", ""]
    assert any_tokenizer.has_unknown(any_tokenizer(texts)).tolist() == [False, True, False]


def test_an_unknown_token_that_ends_every_text_is_not_told_as_unknown(tmp_path):
    """As CLIP's, whose vocabulary spells all by bytes."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    ids = {letter: number for number, letter in enumerate([*alphabet, "[END]", "[PAD]"])}
    made = tokenizers.Tokenizer(models.BPE(vocab=ids, merges=[], unk_token="[END]"))
    made.pre_tokenizer = pre_tokenizers.ByteLevel()
    made.post_processor = processors.TemplateProcessing(
        single="$A [END]", special_tokens=[("[END]", ids["[END]"])]
    )
    made.save(str(tmp_path / "clip.json"))
    config = TokenizerConfig(kind="hf", path=str(tmp_path / "clip.json"), mask_id=0)
    tokenizer = make_tokenizer(config, LENGTH)
    assert tokenizer.unknown_id is None
    assert not tokenizer.has_unknown(tokenizer(["a cat", ""])).any()


def test_files_that_make_texts_longer_are_refused_or_cut(tmp_path):
    path = tmp_path / "t.json"
    config = TokenizerConfig(kind="hf", path=str(path))
    made = tokenizers.Tokenizer(models.WordLevel({"[PAD]": 0, "a": 1, "[UNK]": 2}, "[UNK]"))
    made.post_processor = processors.TemplateProcessing(
        single="a " * 9 + "$A", special_tokens=[("a", 1)]
    )
    made.save(str(path))
    assert make_tokenizer(config, LENGTH)(["a"]).tolist() == [[1] * LENGTH]
    made.normalizer = normalizers.Sequence([normalizers.Replace("a", "a" * 16)] * 9)
    made.save(str(path))
    with pytest.raises(DataError, match="times as long"):
        make_tokenizer(config, LENGTH)


def test_texts_that_a_vocabulary_can_not_encode_are_a_sentence(tmp_path):
    path = tmp_path / "t.json"
    config = TokenizerConfig(kind="hf", path=str(path))
    made = tokenizers.Tokenizer(models.WordLevel({"[PAD]": 0, "a": 1, "[MASK]": 2}, "[UNK]"))
    made.save(str(path))
    with pytest.raises(DataError, match="can't be used for these texts"):  # No token for it.
        make_tokenizer(config, LENGTH)(["b"])
    made = tokenizers.Tokenizer(models.WordLevel({"[PAD]": 0, "[UNK]": 1}, "[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Split(tokenizers.Regex("(a+)+$"), "isolated")
    made.save(str(path))
    with pytest.raises(DataError, match="retry-limit"):  # A panic of the library.
        make_tokenizer(config, LENGTH)(["a" * 40 + "b"])


def test_a_vocabulary_that_drops_letters_is_told(tmp_path, caplog):
    vocabulary = {"[PAD]": 0, "a": 1, "[MASK]": 2}
    tokenizers.Tokenizer(models.BPE(vocab=vocabulary, merges=[])).save(str(tmp_path / "t.json"))
    make_tokenizer(TokenizerConfig(kind="hf", path=str(tmp_path / "t.json")), LENGTH)
    assert "texts lose letters" in caplog.text
