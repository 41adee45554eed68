"""Fetches a published checkpoint through huggingface_hub, into its cache."""

import contextlib
import logging
import re
from pathlib import Path

import huggingface_hub
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

from prolip.data.tokenizer import HF, SENTENCEPIECE, SPEC
from prolip.interop import hub
from prolip.interop.errors import SourceError
from prolip.interop.weights import INDEX, WEIGHTS, indexed_files

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")


def looks_like_id(source: str) -> bool:
    """Whether a text has the form "owner/name", with a revision after an @ or without."""
    return bool(HUB_ID.fullmatch(source)) and not source.startswith((".", "/", "~"))


def download(source: str) -> Path:
    """Directory with the configuration and weights of a Hub id, from the cache where they are.

    And tokenizer and preprocessing, where they are ours; config.json names those of others.

    Args:
      source: "owner/name" or "owner/name@revision".

    Raises:
      SourceError: they can't be fetched; names what to place where.
    """
    repository, _, revision = source.partition("@")
    # Each of its tries without a network is a warning, and the error below says it all.
    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        config = _file(repository, hub.CONFIG, revision)
        try:
            _file(repository, WEIGHTS, revision)
        except EntryNotFoundError as error:
            if isinstance(error, LocalEntryNotFoundError):
                raise
            index = _file(repository, INDEX, revision)
            for name in sorted(set(indexed_files(index).values())):
                _file(repository, name, revision)
        _own_files(repository, revision)
    except SourceError:
        raise
    except EntryNotFoundError as error:
        if isinstance(error, LocalEntryNotFoundError):
            raise _not_fetched(source, repository, error) from error
        raise SourceError(
            f"{source!r} has no {hub.CONFIG} or no {WEIGHTS} on the Hub; the layouts of "
            "open_clip, transformers and other programs can't be read"
        ) from error
    except Exception as error:  # No network, no such repository, no permission, a bad name ...
        raise _not_fetched(source, repository, error) from error
    finally:
        logger.setLevel(level)
    return config.parent


def _not_fetched(source: str, repository: str, error: Exception) -> SourceError:
    reason = " ".join(str(error).split())[:300]
    return SourceError(
        f"{source!r} is not a directory here, and can't be fetched from the Hub "
        f"({type(error).__name__}: {reason}). Without a network, place {hub.CONFIG} and "
        f"{WEIGHTS} of {repository}, and for texts its tokenizer.json and "
        "tokenizer_config.json, into a directory, and load that directory."
    )


def _own_files(repository: str, revision: str) -> None:
    with contextlib.suppress(Exception):  # Mostly there is none.
        _file(repository, hub.PREPROCESSING, revision)
    try:
        name = hub.read_json(_file(repository, SPEC, revision)).get("file")
        if name in (HF, SENTENCEPIECE):
            _file(repository, name, revision)
    except Exception:  # Mostly there is none; `hub.read` says what is missing.
        return


def fetch(repository: str, name: str) -> Path | None:
    """A file of a repository, from the cache or the network; None where there is none."""
    try:
        return _file(repository, name, "")
    except Exception:  # Whatever the reason: the caller says what is missing and where to put it.
        return None


def cached(repository: str, name: str) -> Path | None:
    """A file of a repository that is in the cache; never asks the network."""
    if not looks_like_id(repository):
        return None
    try:
        found = huggingface_hub.try_to_load_from_cache(repository, name)
    except ValueError:  # Hub ids have more rules, such as a greatest length.
        return None
    return Path(found) if isinstance(found, str) else None


def _file(repository: str, name: str, revision: str) -> Path:
    return Path(huggingface_hub.hf_hub_download(repository, name, revision=revision or None))
