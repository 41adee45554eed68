"""A SentencePiece model and its `tokenizer.json` give the same ids."""

import io
import itertools
import json

import pytest
import sentencepiece
import tokenizers

from prolip.config import TokenizerConfig
from prolip.data.tokenizer import make_tokenizer
from prolip.interop.hub_tokenizer import SETTINGS, hub_files
from prolip.interop.sentencepiece_json import ConversionError, tokenizer_json

CAPTIONS = [
    "A photo of a cat sitting on the mat",
    "Dogs playing in the park near the river",
    "red car, blue sky 3.5",
    "Ünïcödé straße ﬁne ½ ①",
] * 10
TEXTS = [
    *("A photo of a cat", "a  b  ", "", "a", "xyz ☃☃ snow ☃", "Ｆｕｌｌ ﬁ ½", "e\u0301 a\u00a0b"),
    *("red car near the river with dogs playing in the park", "日本猫", "<pad> a </s>", "a<sym>b"),
]
LENGTH = 12


def model(**options):
    content = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CAPTIONS), model_writer=content, minloglevel=3, **options
    )
    return content.getvalue()


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
@pytest.mark.parametrize("ids", [(0, 1, 2, -1), (-1, 2, 0, 1)])
def test_every_text_has_the_ids_of_the_model(kind, ids):
    names = dict(zip(("pad_id", "eos_id", "unk_id", "bos_id"), ids, strict=True))
    size = {"vocab_size": 380 if kind == "unigram" else 340}
    if kind == "unigram":
        size["hard_vocab_limit"] = False
    for fallback, prefix in itertools.product((False, True), (False, True)):
        content = model(
            model_type=kind,
            byte_fallback=fallback,
            add_dummy_prefix=prefix,
            remove_extra_whitespaces=prefix,
            user_defined_symbols=["<sym>"],
            **names,
            **(size if fallback else {**size, "vocab_size": 80}),
        )
        pieces = sentencepiece.SentencePieceProcessor(model_proto=content)
        pad = names["pad_id"] if names["pad_id"] >= 0 else names["eos_id"]
        made = tokenizers.Tokenizer.from_buffer(tokenizer_json(content, pad, LENGTH))
        made.encode_special_tokens = True  # As `split_special_tokens` of transformers.
        for text in TEXTS:
            want = [*pieces.encode(text)[: LENGTH - 1], names["eos_id"]]
            want += [pad] * (LENGTH - len(want))
            assert made.encode(text).ids == want, (text, fallback, prefix)


def test_what_is_published_names_its_tokens(tmp_path):
    ids = {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1}
    (tmp_path / "m").write_bytes(model(vocab_size=60, hard_vocab_limit=False, **ids))
    config = TokenizerConfig(kind="sentencepiece", path=str(tmp_path / "m"))
    files = hub_files(make_tokenizer(config, LENGTH))
    assert files.keys() == {"tokenizer.json", SETTINGS}
    settings = json.loads(files[SETTINGS])
    wanted = {"pad_token": "<pad>", "unk_token": "<unk>", "model_max_length": LENGTH}
    assert {name: settings[name] for name in wanted} == wanted
    assert settings["split_special_tokens"] is True


def test_models_that_cannot_be_written_are_named(tmp_path, caplog):
    word = model(model_type="word", vocab_size=30, hard_vocab_limit=False)
    with pytest.raises(ConversionError, match="neither"):
        tokenizer_json(word, 0, LENGTH)
    with pytest.raises(ConversionError, match="no piece 500"):
        tokenizer_json(model(vocab_size=60, hard_vocab_limit=False), 500, LENGTH)
    (tmp_path / "m").write_bytes(word)
    config = TokenizerConfig(kind="sentencepiece", path=str(tmp_path / "m"))
    assert hub_files(make_tokenizer(config, LENGTH)) == {}
    assert "transformers won't load" in caplog.text
