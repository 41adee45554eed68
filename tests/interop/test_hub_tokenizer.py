"""Texts of a published checkpoint become the ids that `transformers` makes of them."""

import io
import json
import shutil
from pathlib import Path

import pytest
import sentencepiece
import tokenizers
from tokenizers import models, pre_tokenizers, processors

import prolip
from prolip.interop.errors import SourceError

FIXTURES = Path(__file__).parents[1] / "fixtures"
PIECES = ("<pad>", "</s>", "<unk>", "\N{LOWER ONE EIGHTH BLOCK}a", "\N{LOWER ONE EIGHTH BLOCK}cat")


@pytest.fixture
def directory(tmp_path):
    return shutil.copytree(FIXTURES / "tiny", tmp_path / "tiny")


def write_vocabulary(directory):
    """As SigLIP's: the end of text closes a text and also fills it, and there is a `<pad>` too."""
    pieces = [(piece, -float(number)) for number, piece in enumerate(PIECES)]
    tokenizer = tokenizers.Tokenizer(models.Unigram(pieces, unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    (directory / "tokenizer.json").write_text(tokenizer.to_str())


def write_model(directory):
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["a cat"] * 50),
        model_writer=model,
        vocab_size=12,
        hard_vocab_limit=False,
        model_type="unigram",
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
    )
    (directory / "spiece.model").write_bytes(model.getvalue())


@pytest.mark.parametrize("token", ["</s>", {"content": "</s>"}])
def test_texts_are_filled_with_the_token_that_the_settings_name(token, directory):
    write_vocabulary(directory)
    (directory / "tokenizer_config.json").write_text(json.dumps({"pad_token": token}))
    tokenizer = prolip.load(directory).tokenizer
    short, long, empty = tokenizer(["A cat!", "a cat " * 20, ""])
    assert short.tolist() == [3, 4] + [1] * 14
    assert long.tolist() == [3, 4] * 7 + [3, 1]  # The end of text closes what is cut, too.
    assert empty.tolist() == [1] * 16


def test_a_sentencepiece_model_is_filled_with_that_token_too(directory):
    write_model(directory)
    (directory / "tokenizer_config.json").write_text(json.dumps({"pad_token": "</s>"}))
    tokenizer = prolip.load(directory).tokenizer
    assert tokenizer.pad_id == 1
    assert tokenizer(["cat"])[0, -1] == 1


@pytest.mark.parametrize("write", [write_vocabulary, write_model])
@pytest.mark.parametrize("settings", [None, {}, {"pad_token": "[elsewhere]"}])
def test_padding_is_never_guessed(settings, write, directory):
    """Nothing masks it in the text tower: other padding gives other embeddings."""
    write(directory)
    if settings is not None:
        (directory / "tokenizer_config.json").write_text(json.dumps(settings))
    model = prolip.load(directory)
    with pytest.raises(SourceError, match=r"padding token .* tokenizer_config\.json"):
        model.encode_text(["a cat"])


@pytest.mark.parametrize("content", [b"[]", b"{", b'{"pad_token": 3}'])
def test_damaged_settings_are_refused(content, directory):
    write_vocabulary(directory)
    (directory / "tokenizer_config.json").write_bytes(content)
    try:
        model = prolip.load(directory)
    except SourceError as error:
        assert "tokenizer_config.json" in str(error)
    else:
        assert not model.has_tokenizer


def test_a_repository_with_our_own_tokenizer_gives_it(tmp_path, monkeypatch):
    """What was trained here has a tokenizer of its own, beside its weights."""
    published = shutil.copytree(FIXTURES / "tiny", tmp_path / "published")
    write_vocabulary(published)
    (published / "tokenizer_config.json").write_text(json.dumps({"pad_token": "</s>"}))
    wanted = prolip.load(published).tokenizer
    for name, content in wanted.files().items():
        (published / name).write_bytes(content)
    (published / "tokenizer_config.json").unlink()
    cache = tmp_path / "cache"
    cache.mkdir()

    def download(repository, name, revision=None):
        assert (repository, revision) == ("some/model", "v1")
        return shutil.copy(published / name, cache / name)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    assert prolip.load("some/model@v1").tokenizer.digest() == wanted.digest()
