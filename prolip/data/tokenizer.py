"""Three kinds of tokenizer behind one interface; each is saved as a few files and found again."""

import collections
import contextlib
import hashlib
import itertools
import json
import logging
import math
import pathlib
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set

import numpy as np
import sentencepiece
import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from prolip.config import Cleaning, TokenizerConfig
from prolip.data.records import DataError
from prolip.data.text import clean

log = logging.getLogger(__name__)

SPEC = "tokenizer_spec.json"  # Length, ids and cleaning; names the vocabulary's file.
HF = "tokenizer.json"
SENTENCEPIECE = "tokenizer.model"
PAD, MASK, UNKNOWN = "[PAD]", "[MASK]", "[UNK]"
SPACE = "\N{LOWER ONE EIGHTH BLOCK}"  # What begins a word in a vocabulary of letters.
MAX_GROWTH = 64  # Times that a normalizer may make a text as long.
LEAST_WITH_BYTES = 512  # Entries of a vocabulary of which the 256 bytes leave half to words.
BYTE_LEVEL = frozenset(pre_tokenizers.ByteLevel.alphabet())  # Entries that spell every text.
Encode = Callable[[Sequence[str]], Iterable[Sequence[int]]]


class Tokenizer:
    """Texts to rows of `length` ids below `vocab_size`, cut or filled with `pad_id` at the end.

    Attributes:
      vocab_size: One more than the largest id.
      length: Ids of a row.
      pad_id: Fills short rows.
      mask_id: Stands for a token that a masked view hides.
      unknown_id: Stands for letters that the vocabulary can't spell; None if it spells all.
      cleaning: What is done to a text first.
    """

    def __init__(
        self,
        file: str,
        vocabulary: bytes,
        length: int,
        pad_id: int,
        mask_id: int,
        cleaning: Cleaning,
    ):
        if cleaning not in typing.get_args(Cleaning):
            raise DataError(f"unknown cleaning of texts {cleaning!r}")
        self._file, self._vocabulary = file, vocabulary
        opened = _open(file, vocabulary, length)
        self._encode: Encode = opened.encode
        self._entries: Callable[[], dict[int, str]] = opened.entries
        self.unknown_id: int | None = opened.unknown_id
        self.vocab_size: int = max(opened.vocab_size, pad_id + 1, mask_id + 1)
        self.length, self.cleaning = length, cleaning
        self.pad_id = opened.pad_id if pad_id < 0 else pad_id
        self.mask_id = opened.mask_id if mask_id < 0 else mask_id
        for name in ("pad_id", "mask_id"):
            if getattr(self, name) < 0:
                raise DataError(f"the tokenizer does not say its {name}; set data.tokenizer.{name}")

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Int32[texts length]; texts are cleaned here."""
        rows = np.full((len(texts), self.length), self.pad_id, np.int32)
        cleaned = [clean(text, self.cleaning) for text in texts]
        with _as_data_error(f"{self._file} can't be used for these texts"):
            encoded = list(self._encode(cleaned))
        for row, ids in zip(rows, encoded, strict=True):
            row[: len(ids)] = ids[: self.length]
        return rows

    def has_unknown(self, rows: np.ndarray) -> np.ndarray:
        """Bool[texts]: whose ids [texts length] hold `unknown_id`, for letters that are lost."""
        return (rows == (-1 if self.unknown_id is None else self.unknown_id)).any(-1)

    def with_length(self, length: int) -> "Tokenizer":
        """The same tokenizer with rows of another length."""
        ids = (self.pad_id, self.mask_id)
        return Tokenizer(self._file, self._vocabulary, length, *ids, self.cleaning)

    def entries_differ(self, other: "Tokenizer") -> str:
        """Names an id that stands for other letters in another tokenizer of this kind of file."""
        if self._file != other._file:  # Each kind writes its entries in a way of its own.
            return ""
        ours, theirs = self._entries(), other._entries()
        number = min((i for i in ours.keys() & theirs.keys() if ours[i] != theirs[i]), default=None)
        if number is None:
            return ""
        return f"the id {number} is {ours[number]!r} instead of {theirs[number]!r}"

    def files(self) -> dict[str, bytes]:
        """All that `load_tokenizer` needs, by file name."""
        spec = {
            "file": self._file,
            "length": self.length,
            "pad_id": self.pad_id,
            "mask_id": self.mask_id,
            "cleaning": self.cleaning,
        }
        return {self._file: self._vocabulary, SPEC: json.dumps(spec, indent=1).encode()}

    def digest(self) -> str:
        """Hash of the files."""
        digest = hashlib.sha256()
        for name, content in sorted(self.files().items()):
            digest.update(f"{name} {len(content)} ".encode() + content)
        return digest.hexdigest()

    def __reduce__(self) -> tuple[typing.Any, ...]:
        return load_tokenizer, (self.files(),)  # How a reader process gets it.


def load_tokenizer(files: Mapping[str, bytes]) -> Tokenizer:
    """Inverse of `Tokenizer.files`; other files are ignored.

    Raises:
      DataError: a file is missing or damaged.
    """
    try:
        spec = json.loads(files[SPEC])
        vocabulary = files[spec["file"]]
        length, pad_id, mask_id = (int(spec[name]) for name in ("length", "pad_id", "mask_id"))
        return Tokenizer(spec["file"], vocabulary, length, pad_id, mask_id, spec["cleaning"])
    except DataError:
        raise
    except KeyError as error:
        raise DataError(f"the tokenizer lacks {error}") from error
    except (TypeError, ValueError, RecursionError) as error:
        raise DataError(f"{SPEC} is damaged: {error}") from error


def make_tokenizer(config: TokenizerConfig, length: int, captions: Iterable[str] = ()) -> Tokenizer:
    """The tokenizer that a config asks for.

    Args:
      config: Kind, file and ids.
      length: Ids of a row.
      captions: Texts for the kind "train"; the same set of texts gives the same tokenizer.

    Raises:
      DataError: no captions, or the file is missing or not a tokenizer.
    """
    if config.kind == "train":
        file, vocabulary = HF, _train(config, captions)
    else:
        file = HF if config.kind == "hf" else SENTENCEPIECE
        try:
            vocabulary = pathlib.Path(config.path).read_bytes()
        except OSError as error:
            reason = f"{config.path!r} can't be read: {error.strerror}"
            raise DataError(f"{reason}; set data.tokenizer.path") from error
    return Tokenizer(file, vocabulary, length, config.pad_id, config.mask_id, config.cleaning)


def _train(config: TokenizerConfig, captions: Iterable[str]) -> bytes:
    """Byte-pair encoding within words of the captions; [PAD] is 0, [MASK] 1, [UNK] 2.

    Its alphabet is that of the captions. Where that would take more than a quarter of the
    vocabulary, words are pairs of UTF-8 bytes instead, which spell every text.
    """
    texts = sorted({clean(text, config.cleaning) for text in captions} - {""})
    if not texts:
        raise DataError("there are no captions to train a tokenizer on; see data.caption_features")
    letters = collections.Counter(itertools.chain.from_iterable(texts))
    letters[SPACE] += letters.pop(" ", 0) + len(texts)  # It begins the first word too.
    most = max(1, config.vocab_size // 4)
    tokenizer = tokenizers.Tokenizer(models.BPE(unk_token=UNKNOWN, fuse_unk=True))
    alphabet: list[str] = []  # Of the captions.
    if len(letters) > most and config.vocab_size >= LEAST_WITH_BYTES:
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
        tokenizer.decoder = decoders.ByteLevel()
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        tokenizer.decoder = decoders.Metaspace()
        if len(letters) > most:
            # Chosen here, as the library chooses by chance among those that are as frequent.
            alphabet = sorted(letters, key=lambda letter: (-letters[letter], letter))[:most]
            _warn_of_lost_letters(texts, letters.keys() - set(alphabet), config.vocab_size)
    trainer = trainers.BpeTrainer(
        vocab_size=config.vocab_size,
        special_tokens=[PAD, MASK, UNKNOWN],
        show_progress=False,
        initial_alphabet=alphabet,
        limit_alphabet=max(most, len(alphabet)),
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer.to_str(pretty=True).encode()


def _warn_of_lost_letters(texts: Sequence[str], lost: Set[str], vocab_size: int) -> None:
    num_texts = sum(not lost.isdisjoint(text) for text in texts)
    log.warning(
        "config.data.tokenizer.vocab_size=%d has no room for %d letters of the captions: they "
        "become %s, in %.1f %% of the captions; from %d on the tokenizer spells them by bytes",
        *(vocab_size, len(lost), UNKNOWN, 100 * num_texts / len(texts), LEAST_WITH_BYTES),
    )


class _HuggingFace:
    """A `tokenizer.json`; its post-processor may add tokens, which count towards the length."""

    def __init__(self, vocabulary: bytes, length: int):
        self._tokenizer = tokenizers.Tokenizer.from_buffer(vocabulary)
        if self._tokenizer.normalizer is not None:
            growth = _growth(json.loads(self._tokenizer.normalizer.__getstate__()))
            if growth > MAX_GROWTH:
                raise ValueError(f"its normalizer makes texts up to {growth:,.0f} times as long")
        padding = self._tokenizer.padding
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(length)
        # A caption that spells "[MASK]" is text, not the token.
        self._tokenizer.encode_special_tokens = True
        ids = self._tokenizer.get_vocab(with_added_tokens=True)
        self.vocab_size = max(ids.values(), default=0) + 1
        self.pad_id = padding["pad_id"] if padding else _first(ids, (PAD, "<pad>"))
        self.mask_id = _first(ids, (MASK, "<mask>", UNKNOWN, "<unk>"))
        self.unknown_id = self._unknown_id(ids)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(list(texts))]

    def entries(self) -> dict[int, str]:
        return {i: token for token, i in self._tokenizer.get_vocab(with_added_tokens=True).items()}

    def _unknown_id(self, ids: Mapping[str, int]) -> int | None:
        model = self._tokenizer.model
        if isinstance(model, models.Unigram):  # Which tells its number only here.
            number = json.loads(self._tokenizer.to_str())["model"]["unk_id"]
        else:
            number = ids.get(model.unk_token)
        letters_only = isinstance(model, models.BPE) and not model.byte_fallback
        if number is None and letters_only and not ids.keys() >= BYTE_LEVEL:
            log.warning("%s has no token for unknown letters: texts lose letters it lacks", HF)
        # CLIP's vocabulary spells all by bytes, and names the token that ends each text.
        return None if number in self._tokenizer.encode("").ids else number


class _SentencePiece:
    """A SentencePiece model; its end of sentence, if any, closes every text, cut ones too."""

    def __init__(self, vocabulary: bytes, length: int):
        self._length = length
        self._model = sentencepiece.SentencePieceProcessor(model_proto=vocabulary)
        self._end = [self._model.eos_id()] if self._model.eos_id() >= 0 else []
        self.vocab_size = self._model.get_piece_size()
        self.pad_id = self._model.pad_id() if self._model.pad_id() >= 0 else self._model.eos_id()
        self.mask_id = self.unknown_id = self._model.unk_id()

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        room = self._length - len(self._end)
        return [ids[:room] + self._end for ids in self._model.encode(list(texts))]

    def entries(self) -> dict[int, str]:
        return {i: self._model.id_to_piece(i) for i in range(self.vocab_size)}


def _open(file: str, vocabulary: bytes, length: int) -> typing.Any:
    kinds = {HF: _HuggingFace, SENTENCEPIECE: _SentencePiece}
    if file not in kinds:
        raise DataError(f"unknown kind of tokenizer file {file!r}; known: {', '.join(kinds)}")
    with _as_data_error(f"{file} is not a tokenizer that can be used"):
        return kinds[file](vocabulary, length)


@contextlib.contextmanager
def _as_data_error(sentence: str) -> Iterator[None]:
    """Both libraries raise bare exceptions, and a panic of Rust is not an `Exception`."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        raise DataError(f"{sentence}: {error}") from error


def _growth(normalizer: Mapping[str, typing.Any]) -> float:
    """Returns how many times as long the replacements of a normalizer can make a text."""
    if normalizer["type"] == "Sequence":
        return math.prod(map(_growth, normalizer["normalizers"]))
    if normalizer["type"] != "Replace":
        return 1.0
    return max(
        1.0, len(normalizer["content"]) / max(1, len(normalizer["pattern"].get("String", "")))
    )


def _first(ids: Mapping[str, int], names: Iterable[str]) -> int:
    return next((ids[name] for name in names if name in ids), -1)
