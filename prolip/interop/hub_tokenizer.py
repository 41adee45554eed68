"""The tokenizer of a published checkpoint, from the files that lie beside it or on the Hub."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_args

from prolip.config import Cleaning, TextTowerConfig
from prolip.data.records import DataError
from prolip.data.tokenizer import HF, SENTENCEPIECE, SPEC, Tokenizer, load_tokenizer
from prolip.interop.errors import SourceError

# Where the released code makes its own byte-pair encoding, a file of the same vocabulary.
CLIP_REPOSITORY = "openai/clip-vit-base-patch32"
SENTENCEPIECE_NAMES = (SENTENCEPIECE, "spiece.model", "sentencepiece.model")
SETTINGS = "tokenizer_config.json"


def read_tokenizer(
    path: Path,
    hub: Mapping[str, Any],
    tower: TextTowerConfig,
    fetch: Callable[[str, str], Path | None] | None = None,
) -> tuple[Tokenizer | None, str]:
    """The tokenizer of a directory; or None, and why.

    Looks for our own files, then for `tokenizer.json` or a SentencePiece model, then asks `fetch`
    for the repository that config.json names.

    Raises:
      SourceError: there is a tokenizer, but it can't be used.
    """
    text_cfg = hub["text_cfg"]
    named = text_cfg.get("hf_tokenizer_name") or ""
    try:
        if (path / SPEC).is_file():
            names = (SPEC, HF, SENTENCEPIECE)
            files = {n: (path / n).read_bytes() for n in names if (path / n).is_file()}
            return _fitting(load_tokenizer(files), tower), ""
        repository = named or CLIP_REPOSITORY

        def find(name: str) -> Path | None:
            if (path / name).is_file():
                return path / name
            return fetch(repository, name) if fetch is not None else None

        vocabulary = next(filter(None, map(find, (HF, *SENTENCEPIECE_NAMES))), None)
        if vocabulary is None:
            return None, (
                f"texts need the tokenizer of {repository}: put its {HF} and {SETTINGS} into "
                f"{path}, or pass token ids"
            )
        settings = find(SETTINGS)
        kwargs = text_cfg.get("tokenizer_kwargs") or {}
        return _fitting(_tokenizer(vocabulary, settings, kwargs, tower, bool(named)), tower), ""
    except DataError as error:
        raise SourceError(f"{path}: {error}") from error
    except OSError as error:
        raise SourceError(f"{path}: the tokenizer can't be read: {error.strerror}") from error


def _tokenizer(
    vocabulary: Path,
    settings: Path | None,
    kwargs: Mapping[str, Any],
    tower: TextTowerConfig,
    named: bool,
) -> Tokenizer:
    content = vocabulary.read_bytes()
    hugging_face = vocabulary.name == HF
    # The released code's own encoding lowers the case and pads with 0; others only mend spaces.
    cleaning = kwargs.get("clean", "whitespace" if named else "lower")
    if cleaning not in get_args(Cleaning):
        raise DataError(f"config.json: unknown cleaning of texts {cleaning!r}")
    pad = _pad_id(content, settings) if hugging_face and named else (-1 if named else 0)
    file = HF if hugging_face else SENTENCEPIECE
    try:
        return Tokenizer(file, content, tower.length, pad, -1, cleaning)
    except DataError:
        # No sign of a mask or padding in the vocabulary: 0, which training alone would use.
        return Tokenizer(file, content, tower.length, max(pad, 0), 0, cleaning)


def _pad_id(vocabulary: bytes, settings: Path | None) -> int:
    """Id of the padding token that the settings name, as `transformers` pads; -1: not known."""
    try:
        known = json.loads(settings.read_text(encoding="utf8")) if settings else {}
        token = known.get("pad_token")
        token = token.get("content") if isinstance(token, dict) else token
        if token is None:
            return -1
        stored = json.loads(vocabulary)
        for added in stored.get("added_tokens", ()):
            if added["content"] == token:
                return int(added["id"])
        model = stored["model"]["vocab"]
        if isinstance(model, dict):
            return int(model.get(token, -1))
        return next((i for i, (piece, _) in enumerate(model) if piece == token), -1)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{SETTINGS} or {HF} is damaged: {error}") from error


def _fitting(tokenizer: Tokenizer, tower: TextTowerConfig) -> Tokenizer:
    if tokenizer.vocab_size > tower.vocab_size:
        raise DataError(
            f"the tokenizer has {tokenizer.vocab_size} ids, the text tower {tower.vocab_size}"
        )
    if tokenizer.length != tower.length:
        return tokenizer.with_length(tower.length)
    return tokenizer
