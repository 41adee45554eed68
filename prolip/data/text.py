"""Cleaning of texts, and the identity of a caption."""

import functools
import hashlib
import html
import re
import string

import ftfy

from prolip.config import Cleaning

MAX_CHARACTERS = 20_000  # What follows is cut off: no tower sees as much.
# After the marks of European scripts a blank has to follow: "3.5" is no end.
SENTENCE_END = re.compile(r"(?<=[.!?])[\"')\]]*\s+|(?<=[。！？])|\n+")
PUNCTUATION = str.maketrans("", "", string.punctuation)


@functools.lru_cache(maxsize=65_536)
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


def sentences(text: str) -> list[str]:
    """Sentences of a text as it is stored; each ends with its mark."""
    return [part for part in SENTENCE_END.split(text[:MAX_CHARACTERS]) if part.strip()]


@functools.lru_cache(maxsize=65_536)
def caption_id(cleaned: str) -> int:
    """A positive 31-bit number for a cleaned text, the same in every process; 0 is for padding."""
    digest = hashlib.blake2b(cleaned.encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") >> 1 or 1
