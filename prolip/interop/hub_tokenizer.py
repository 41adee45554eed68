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
from prolip.interop.sentencepiece_json import ConversionError, tokenizer_json
from prolip.regular_files import UnreadableError, parse_object, read_bytes, read_object

log = logging.getLogger(__name__)

# Where the released code makes its own byte-pair encoding, a file of the same vocabulary.
CLIP_REPOSITORY = "openai/clip-vit-base-patch32"
SENTENCEPIECE_NAMES = (SENTENCEPIECE, "spiece.model", "sentencepiece.model")
SETTINGS = "tokenizer_config.json"
MAX_VOCABULARY = 256 << 20  # Bytes; the largest known take 35 million.


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
    kwargs = text_cfg.get("tokenizer_kwargs") or {}
    try:
        if not isinstance(named, str) or not isinstance(kwargs, dict):
            raise DataError(
                "config.json: text_cfg.hf_tokenizer_name is not a text, or tokenizer_kwargs not "
                "an object"
            )
        if (path / SPEC).exists():
            names = (SPEC, HF, SENTENCEPIECE)
            files = {n: _read(path / n) for n in names if (path / n).exists()}
            return _fitting(load_tokenizer(files), tower), ""
        repository = named or CLIP_REPOSITORY
        shown = ascii(repository)[1:80].rstrip("'")

        def find(name: str) -> Path | None:
            if (path / name).exists():
                return path / name
            return fetch(repository, name) if fetch is not None else None

        vocabulary = next(filter(None, map(find, (HF, *SENTENCEPIECE_NAMES))), None)
        if vocabulary is None:
            return None, (
                f"texts need the tokenizer of {shown}: put its {HF} and {SETTINGS} into "
                f"{path}, or pass token ids"
            )
        # The released code's own encoding pads with 0.
        pad = _pad_id(vocabulary, find(SETTINGS)) if named else 0
        if pad is None:
            return None, (
                f"texts need the padding token of {shown}: put its {SETTINGS} beside its "
                f"{vocabulary.name} into {path}, or pass token ids"
            )
        if set(kwargs) - {"clean"}:
            log.warning("config.json: tokenizer_kwargs not known: %s", ", ".join(sorted(kwargs)))
        return _fitting(_tokenizer(vocabulary, pad, kwargs, tower, bool(named)), tower), ""
    except DataError as error:
        raise SourceError(f"{path}: {error}") from error
    except UnreadableError as error:
        raise SourceError(str(error)) from error


def hub_files(tokenizer: Tokenizer) -> dict[str, bytes]:
    """Files that `transformers` needs beside our own to make the same rows of ids."""
    files = tokenizer.files()
    made: dict[str, bytes] = {}
    if HF not in files:
        try:
            made[HF] = tokenizer_json(files[SENTENCEPIECE], tokenizer.pad_id, tokenizer.length)
        except ConversionError as error:
            log.warning(
                "transformers won't load the tokenizer, as its SentencePiece model can't be "
                "written as %s: %s",
                *(HF, error),
            )
            return {}
    vocabulary = tokenizers.Tokenizer.from_buffer(made.get(HF) or files[HF])
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "pad_token": vocabulary.id_to_token(tokenizer.pad_id),
        "model_max_length": tokenizer.length,
        "padding_side": "right",
        "truncation_side": "right",
        "split_special_tokens": True,  # A caption that spells one is text.
    }
    if tokenizer.unknown_id is not None:
        settings["unk_token"] = vocabulary.id_to_token(tokenizer.unknown_id)
    return {**made, SETTINGS: json.dumps(settings, indent=1).encode()}


def _tokenizer(
    vocabulary: Path, pad: int, kwargs: Mapping[str, Any], tower: TextTowerConfig, named: bool
) -> Tokenizer:
    content = _read(vocabulary)
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
        known = read_object(settings) if settings else {}
        token = known.get("pad_token")
        token = token.get("content") if isinstance(token, dict) else token
        if vocabulary.name != HF:
            return None if token is None else _piece(_read(vocabulary), token)
        stored = parse_object(_read(vocabulary), str(vocabulary))
        if token is None:
            return int(stored["padding"]["pad_id"]) if stored.get("padding") else None
        for added in stored.get("added_tokens", ()):
            if added["content"] == token:
                return int(added["id"])
        model = stored["model"]["vocab"]
        if isinstance(model, dict):
            return model.get(token)
        return next((i for i, (piece, _) in enumerate(model) if piece == token), None)
    except UnreadableError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{SETTINGS} or {vocabulary.name} is damaged: {error}") from error


def _read(path: Path) -> bytes:
    return read_bytes(path, MAX_VOCABULARY)


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
