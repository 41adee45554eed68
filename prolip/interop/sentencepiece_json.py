"""A SentencePiece model as a `tokenizer.json`, from which `transformers` makes the same ids."""

import importlib
import re
from collections.abc import Sequence
from typing import Any

import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, processors

UNIGRAM, BPE = 1, 2  # Of `TrainerSpec.model_type`.
NORMAL, UNKNOWN, CONTROL, USER_DEFINED = 1, 2, 3, 4  # Of `SentencePiece.type`.
SPACE = "\N{LOWER ONE EIGHTH BLOCK}"


class ConversionError(ValueError):
    """A model that a `tokenizer.json` can't express; the message says why."""


def tokenizer_json(content: bytes, pad_id: int, length: int) -> bytes:
    """Returns the `tokenizer.json` of a SentencePiece model.

    Args:
      content: the model's bytes, which the library has read before.
      pad_id: fills short rows.
      length: ids of a row; the end of sentence, if there is one, closes cut rows too.

    Raises:
      ConversionError: the model is of another kind, or has no piece `pad_id`.
    """
    messages: Any = importlib.import_module("sentencepiece.sentencepiece_model_pb2")
    model = messages.ModelProto.FromString(content)
    spec = model.trainer_spec
    if spec.treat_whitespace_as_suffix or not model.normalizer_spec.escape_whitespaces:
        raise ConversionError("it treats blanks in a way of its own")
    if pad_id >= len(model.pieces):
        raise ConversionError(f"it has no piece {pad_id}, which fills short rows")
    tokenizer = tokenizers.Tokenizer(_model(model))
    tokenizer.normalizer = _normalizer(model.normalizer_spec)
    tokenizer.pre_tokenizer = _cuts(model)
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace(SPACE, " "),
            *([decoders.ByteFallback()] if spec.byte_fallback else []),
            decoders.Fuse(),
            *([decoders.Strip(" ", 1, 0)] if model.normalizer_spec.add_dummy_prefix else []),
        ]
    )
    named = [piece.piece for piece in model.pieces if piece.type == CONTROL]
    named += [model.pieces[pad_id].piece, model.pieces[spec.unk_id].piece]
    tokenizer.add_special_tokens(
        [AddedToken(piece, normalized=False, special=True) for piece in dict.fromkeys(named)]
    )
    if spec.eos_id >= 0:
        end = model.pieces[spec.eos_id].piece
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"$A {end}", pair=f"$A {end} $B {end}", special_tokens=[(end, spec.eos_id)]
        )
    tokenizer.enable_padding(
        length=length, pad_id=pad_id, pad_token=model.pieces[pad_id].piece, direction="right"
    )
    tokenizer.enable_truncation(length)
    return tokenizer.to_str(pretty=True).encode()


def _cuts(model: Any) -> pre_tokenizers.PreTokenizer:
    """Returns what cuts a text where no piece may reach across.

    Within "</s>" and such, which are text where a text spells them; the cut goes beside a letter
    that the vocabulary has, as unknown ones in a row are one piece. And around the symbols that
    the model's user defined, which are always pieces.
    """
    known = {piece.piece for piece in model.pieces if piece.type != CONTROL}
    within = []
    for piece in (piece.piece for piece in model.pieces if piece.type in (CONTROL, UNKNOWN)):
        places = range(1, len(piece))
        place = next((i for i in places if known & {piece[i - 1], piece[i]}), 1)
        within.append(f"{re.escape(piece[:place])}(?={re.escape(piece[place:])})")
    parts = [pre_tokenizers.Split(Regex("|".join(within)), "merged_with_previous")]
    symbols = [piece.piece for piece in model.pieces if piece.type == USER_DEFINED]
    if symbols:
        longest_first = sorted(symbols, key=len, reverse=True)
        parts.append(
            pre_tokenizers.Split(Regex("|".join(map(re.escape, longest_first))), "isolated")
        )
    return pre_tokenizers.Sequence(parts)


def _model(model: Any) -> models.Model:
    spec, pieces = model.trainer_spec, model.pieces
    scores = [(piece.piece, piece.score) for piece in pieces]
    if spec.model_type == UNIGRAM:
        return models.Unigram(scores, spec.unk_id, spec.byte_fallback)
    if spec.model_type == BPE:
        return models.BPE(
            vocab={piece: number for number, (piece, _) in enumerate(scores)},
            merges=_merges([(p.piece, p.score) for p in pieces if p.type == NORMAL]),
            unk_token=pieces[spec.unk_id].piece,
            fuse_unk=True,
            byte_fallback=spec.byte_fallback,
            ignore_merges=True,  # A symbol that was cut out is a piece as it is.
        )
    raise ConversionError("it is neither a unigram nor a byte-pair model")


def _merges(scores: Sequence[tuple[str, float]]) -> list[tuple[str, str]]:
    """Returns the pairs that make each piece, in the order in which SentencePiece merges them."""
    known = dict(scores)
    order = {piece: number for number, (piece, _) in enumerate(scores)}
    merges = []
    for piece, score in scores:
        splits = ((piece[:i], piece[i:]) for i in range(1, len(piece)))
        pairs = [pair for pair in splits if pair[0] in known and pair[1] in known]
        pairs.sort(key=lambda pair: (order[pair[0]], order[pair[1]]))
        merges += [(score, pair) for pair in pairs]
    merges.sort(key=lambda merge: merge[0], reverse=True)  # Stable.
    return [pair for _, pair in merges]


def _normalizer(spec: Any) -> normalizers.Normalizer:
    parts: list[normalizers.Normalizer] = []
    if spec.precompiled_charsmap:
        parts.append(normalizers.Precompiled(spec.precompiled_charsmap))
    if spec.remove_extra_whitespaces:
        parts += [normalizers.Strip(), normalizers.Replace(Regex(" {2,}"), " ")]
    if spec.add_dummy_prefix:
        parts.append(normalizers.Prepend(SPACE))
    parts.append(normalizers.Replace(" ", SPACE))
    return normalizers.Sequence(parts)
