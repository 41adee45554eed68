"""The tokenizer of a published checkpoint, from the files that lie beside it or on the Hub."""

import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_args

import sentencepiece
import tokenizers

from prolip.config import Cleaning, TextTowerConfig
from prolip.data.records import DataError
from prolip.data.tokenizer import HF, SENTENCEPIECE, SPEC, Tokenizer, load_tokenizer
from prolip.interop.errors import SourceError

log = logging.getLogger(__name__)

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
        # The released code's own encoding pads with 0.
        pad = _pad_id(vocabulary, find(SETTINGS)) if named else 0
        if pad is None:
            return None, (
                f"texts need the padding token of {repository}: put its {SETTINGS} beside its "
                f"{vocabulary.name} into {path}, or pass token ids"
            )
        kwargs = text_cfg.get("tokenizer_kwargs") or {}
        if set(kwargs) - {"clean"}:
            log.warning("config.json: tokenizer_kwargs not known: %s", ", ".join(sorted(kwargs)))
        return _fitting(_tokenizer(vocabulary, pad, kwargs, tower, bool(named)), tower), ""
    except DataError as error:
        raise SourceError(f"{path}: {error}") from error
    except OSError as error:
        raise SourceError(f"{path}: the tokenizer can't be read: {error.strerror}") from error


def hub_files(tokenizer: Tokenizer) -> dict[str, bytes]:
    """What `transformers` needs beside `tokenizer.json` to make the same rows of ids."""
    vocabulary = tokenizer.files().get(HF)
    if vocabulary is None:
        return {}
    pad = tokenizers.Tokenizer.from_buffer(vocabulary).id_to_token(tokenizer.pad_id)
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "pad_token": pad,
        "model_max_length": tokenizer.length,
        "padding_side": "right",
        "truncation_side": "right",
    }
    return {SETTINGS: json.dumps(settings, indent=1).encode()}


def _tokenizer(
    vocabulary: Path, pad: int, kwargs: Mapping[str, Any], tower: TextTowerConfig, named: bool
) -> Tokenizer:
    content = vocabulary.read_bytes()
    # The released code's own encoding lowers the case; others only mend spaces.
    cleaning = kwargs.get("clean", "whitespace" if named else "lower")
    if cleaning not in get_args(Cleaning):
        raise DataError(f"config.json: unknown cleaning of texts {cleaning!r}")
    file = HF if vocabulary.name == HF else SENTENCEPIECE
    try:
        return Tokenizer(file, content, tower.length, pad, -1, cleaning)
    except DataError:
        # No sign of a mask in the vocabulary: 0, which training alone would use.
        return Tokenizer(file, content, tower.length, pad, 0, cleaning)


def _pad_id(vocabulary: Path, settings: Path | None) -> int | None:
    """Id of the padding token that the settings name, as `transformers` pads; None: not known.

    It is no token of the vocabulary's own choice: SigLIP pads with the end of text, while its
    vocabulary has a `<pad>` too. Nothing masks padding, so another id gives other embeddings.
    """
    try:
        known = json.loads(settings.read_text(encoding="utf8")) if settings else {}
        token = known.get("pad_token")
        token = token.get("content") if isinstance(token, dict) else token
        if vocabulary.name != HF:
            return None if token is None else _piece(vocabulary.read_bytes(), token)
        stored = json.loads(vocabulary.read_bytes())
        if token is None:
            return int(stored["padding"]["pad_id"]) if stored.get("padding") else None
        for added in stored.get("added_tokens", ()):
            if added["content"] == token:
                return int(added["id"])
        model = stored["model"]["vocab"]
        if isinstance(model, dict):
            return model.get(token)
        return next((i for i, (piece, _) in enumerate(model) if piece == token), None)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{SETTINGS} or {vocabulary.name} is damaged: {error}") from error


def _piece(model: bytes, token: str) -> int | None:
    try:
        pieces = sentencepiece.SentencePieceProcessor(model_proto=model)
    except RuntimeError as error:
        raise ValueError(error) from error
    number = pieces.piece_to_id(token)
    return number if pieces.id_to_piece(number) == token else None


def _fitting(tokenizer: Tokenizer, tower: TextTowerConfig) -> Tokenizer:
    if tokenizer.vocab_size > tower.vocab_size:
        raise DataError(
            f"the tokenizer has {tokenizer.vocab_size} ids, the text tower {tower.vocab_size}"
        )
    if tokenizer.length != tower.length:
        return tokenizer.with_length(tower.length)
    return tokenizer
