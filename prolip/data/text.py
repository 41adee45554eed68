"""Cleaning of texts, and the identity of a caption."""

import functools
import hashlib
import html
import json
import re
import string
import unicodedata
from collections.abc import Callable, Iterable
from typing import Any, ParamSpec, TypeVar, cast

import ftfy

from prolip.config import Cleaning

P = ParamSpec("P")
R = TypeVar("R")

MAX_CHARACTERS = 20_000  # What follows is cut off: no tower sees as much.
# After the marks of European scripts a blank has to follow: "3.5" is no end.
SENTENCE_END = re.compile(r"(?<=[.!?])[\"')\]]*\s+|(?<=[。！？])|\n+")
PUNCTUATION = str.maketrans("", "", string.punctuation)
SHORT = 256  # Characters of a text of which many are cached: 100 MiB at most, in each process.
CACHED_SHORT, CACHED_LONG = 65_536, 256
# Control, format and surrogate characters, separators, and marks that stand on nothing.
INVISIBLE = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp", "Zs", "Mc", "Me", "Mn"))


def cached_by_text(function: Callable[P, R]) -> Callable[P, R]:
    """Caches a function whose first argument is a text; of long texts few, which take memory."""
    short, long = (functools.lru_cache(maxsize=n)(function) for n in (CACHED_SHORT, CACHED_LONG))

    @functools.wraps(function)
    def call(text: str, *args: Any, **kwargs: Any) -> R:
        return (short if len(text) <= SHORT else long)(text, *args, **kwargs)

    return cast(Callable[P, R], call)


@cached_by_text
def clean(text: str, cleaning: Cleaning) -> str:
    """Text as a tokenizer gets it; the same as naver-ai/prolip's `src/prolip/tokenizer.py`.

    All three mend broken encodings, resolve HTML entities (twice, as web captions need) and reduce
    white space to single blanks. "lower" also lowers the case, "canonicalize" also removes ASCII
    punctuation and makes an underscore a blank.
    """
    text = text[:MAX_CHARACTERS].encode("utf-8", "replace").decode()  # Lone surrogates become "?".
    text = html.unescape(html.unescape(ftfy.fix_text(text))).strip()
    if cleaning == "canonicalize":
        text = text.replace("_", " ").translate(PUNCTUATION).lower()
        return re.sub(r"\s+", " ", text).strip()
    text = " ".join(text.split())
    return text.lower() if cleaning == "lower" else text


def is_blank(cleaned: str) -> bool:
    """Returns True for a cleaned text that shows nothing: empty, or invisible characters alone."""
    return all(unicodedata.category(character) in INVISIBLE for character in cleaned)


def as_texts(values: Iterable[Any]) -> list[str]:
    """Returns the values as a list of strings.

    Raises:
      ValueError: one is not a string, such as the NaN of an empty cell; names its position.
    """
    texts = list(values)
    for position, value in enumerate(texts):
        if not isinstance(value, str):
            raise ValueError(
                f"text {position} is not a string but {type(value).__name__} "
                f"({ascii(value)[:40]}); leave out rows without a text"
            )
    return texts


def is_json(text: str) -> bool:
    """Returns True for a JSON object or list, which is stored metadata and not a caption."""
    if not text.lstrip().startswith(("{", "[")):
        return False
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return not isinstance(value, list) or any(isinstance(part, str | dict) for part in value)


def sentences(text: str) -> list[str]:
    """Sentences of a text as it is stored; each ends with its mark."""
    return [part for part in SENTENCE_END.split(text[:MAX_CHARACTERS]) if part.strip()]


def caption_id(cleaned: str) -> int:
    """A positive 31-bit number for a cleaned text, the same in every process; 0 is for padding."""
    digest = hashlib.blake2b(cleaned.encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") >> 1 or 1
