"""Sentences about a tokenizer that is not the one that the weights of a run were trained with.

With another tokenizer every id of a text has another meaning. "" stands for no difference.
"""

import contextlib

from prolip.config import TokenizerConfig
from prolip.data.records import DataError
from prolip.data.tokenizer import Tokenizer, make_tokenizer

# Texts by whose ids tokenizers are told apart.
PROBES = (
    *("a photo of a cat", "The quick brown fox jumps over the lazy dog!", "0123456789 %&@#"),
    *("Größe, façade, señor", "красная площадь", "東京タワーの写真", "smiling face with hearts"),
    *("woman's blue T-shirt; size M", "keycap 10", "a an and are as at be by for from has he in"),
)


def difference(ours: Tokenizer, theirs: Tokenizer) -> str:
    """Says how two tokenizers of one length differ in the ids that they give; "" if they don't.

    One vocabulary may be stored in several ways, so ids are compared, not files.
    """
    if ours.digest() == theirs.digest():
        return ""
    for name in ("cleaning", "pad_id"):
        a, b = getattr(ours, name), getattr(theirs, name)
        if a != b:
            return f"{name} is {a!r} instead of {b!r}"
    for text, a, b in zip(PROBES, ours(PROBES).tolist(), theirs(PROBES).tolist(), strict=True):
        if a != b:
            return f"the ids of {text!r} begin with {a[:4]} instead of {b[:4]}"
    # Neither may know the letters of a probe.
    return ours.entries_differ(theirs)


def of_options(ours: TokenizerConfig, theirs: Tokenizer) -> str:
    """Compares options with the tokenizer of `config.init_from`, which is used (kind "train")."""
    for name in ("cleaning", "pad_id", "mask_id"):
        asked, used = getattr(ours, name), getattr(theirs, name)
        if asked not in (-1, used):  # -1: taken from the tokenizer.
            return (
                f"config.data.tokenizer.{name}: {asked!r}, but the weights of config.init_from "
                f"were trained with {used!r}; set --config.data.tokenizer.{name}={used}"
            )
    return ""


def of_ids(ours: Tokenizer, theirs: Tokenizer) -> str:
    """Compares the tokenizer that the configuration names with that of `config.init_from`."""
    if not (reason := difference(ours, theirs)):
        return ""
    return (
        "config.data.tokenizer: not the tokenizer that the weights of config.init_from were "
        f"trained with: {reason}. Use theirs: --config.data.tokenizer.kind=train with "
        "config.init_from takes it from the checkpoint"
    )


def of_resumed(ours: TokenizerConfig, saved: TokenizerConfig, theirs: Tokenizer) -> str:
    """Compares changed options with the tokenizer of the checkpoint, which is used.

    Args:
      ours: options of this start.
      saved: options when the checkpoint was made; where nothing has changed nothing is compared.
      theirs: of the checkpoint.
    """
    changed = [
        f"{name} is {getattr(ours, name)!r} instead of {getattr(saved, name)!r}"
        for name in ("kind", "vocab_size", "cleaning", "pad_id", "mask_id")
        if getattr(ours, name) != getattr(saved, name)
    ]
    reason = "; ".join(changed)
    if not reason and ours.path != saved.path:
        # A file that has moved is not needed: the checkpoint has a copy.
        with contextlib.suppress(DataError):
            reason = difference(make_tokenizer(ours, theirs.length), theirs)
    if not reason:
        return ""
    return (
        f"config.data.tokenizer: a run keeps its tokenizer ({reason}); undo the change, or start a "
        "new run from these weights with --config.init_from and another --workdir"
    )
