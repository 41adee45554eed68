"""Options of the data: where records come from, and what becomes of them."""

import dataclasses
from typing import Annotated, Literal

from prolip.config_bounds import (
    Ascending,
    Count,
    CountOrZero,
    Fraction,
    FractionAboveZero,
    Length,
    NotAllZero,
    NotNegative,
    OrMinusOne,
    Positive,
    Strings,
)

TokenizerKind = Literal["train", "hf", "sentencepiece"]
Cleaning = Literal["canonicalize", "lower", "whitespace"]
CaptionSampling = Literal["whole", "prefix", "range"]
RGB = Length(3, 3)
ImageForm = Literal["source", "exact", "released"]


@dataclasses.dataclass(frozen=True)
class TokenizerConfig:
    """Which tokenizer, and what it does to a text before."""

    kind: TokenizerKind = "train"  # "train" makes one from the captions of the training split.
    path: str = ""  # tokenizer.json or a SentencePiece model; not for "train".
    vocab_size: Count = 2048  # Of the one that is trained.
    cleaning: Cleaning = "canonicalize"
    # -1: taken from the tokenizer. The released SigLIP vocabulary pads with 1.
    pad_id: OrMinusOne = -1
    mask_id: OrMinusOne = -1


@dataclasses.dataclass(frozen=True)
class AugmentConfig:
    """Random resized crop, flip, colour jitter, grey scale and blends of training images."""

    # Area, and width over height: least and most.
    crop_scale: Annotated[tuple[FractionAboveZero, ...], Length(2, 2), Ascending()] = (0.8, 1.0)
    crop_ratio: Annotated[tuple[Positive, ...], Length(2, 2), Ascending()] = (0.75, 4 / 3)
    flip: Fraction = 0.0  # Probability of a left-right mirror.
    # Brightness, contrast, saturation, hue.
    jitter: Annotated[tuple[NotNegative, ...], Length(4, 4)] = (0.32, 0.32, 0.32, 0.08)
    jitter_probability: Fraction = 0.8
    grey_probability: Fraction = 0.2
    mixup: Fraction = 0.0  # Probability that an image is blended with another of its batch.


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Records with an image and at least one text; docs/data.md tells of the formats."""

    # TFDS name, with the config after a slash: "emoji/skin_tones"; or "webdataset" (tars), "table"
    # (CSV, TSV, JSONL, Parquet), "folder" (of images).
    name: str = "emoji"
    data_dir: str = ""  # Of prepared TFDS data, "" is TFDS's own default; else where the files are.
    # Of TFDS; else files below data_dir: "train-{0000..2175}.tar", "val-*.parquet", or a folder.
    train_split: str = "train"
    eval_split: str = "test"
    # In the place of name, data_dir and train_split, with shares of the samples:
    # ("webdataset:/data/cc12m/*.tar=0.7", "tfds:my_set:train=0.3").
    mixture: tuple[str, ...] = ()
    filter: str = ""  # "similarity >= 0.28 and min(width, height) >= 200" of a record's fields.
    keep_keys: str = ""  # A text or Parquet file with the keys of the records that are kept.
    skip_keys: str = ""  # Of those that are left out; or a list of bad records (JSONL).
    index_dir: str = ""  # Of what is made once of the files; "" is beside them, or the cache.
    # Member extensions ("jpg;png", "image" is any) of tars, a column of tables.
    image_feature: str = "image"
    # Where captions come from. For a pair, one feature is drawn by its weight, then one of its
    # texts. Nested features are written with a slash: "captions/text", "json/caption". From
    # specific to general: evaluation reports by this level.
    caption_features: Strings = ("name", "keywords", "subgroup", "group")
    caption_weights: Annotated[tuple[NotNegative, ...], NotAllZero()] = (0.35, 0.35, 0.2, 0.1)
    caption_templates: Strings = ("{}",)  # One is drawn and filled for each training pair.
    # What of a text is drawn: all of it, or one or more of its sentences, the first or any.
    caption_sampling: CaptionSampling = "whole"
    caption_whole: Fraction = 0.5  # Probability of all of it where sentences are drawn.
    max_captions: Count = 32  # Known valid captions of an image that a batch carries along.
    tokenizer: TokenizerConfig = TokenizerConfig()
    augment: AugmentConfig = AugmentConfig()
    # Of RGB in [0, 1]: OpenAI CLIP's.
    mean: Annotated[tuple[Fraction, ...], RGB] = (0.48145466, 0.4578275, 0.40821073)
    std: Annotated[tuple[FractionAboveZero, ...], RGB] = (0.26862954, 0.26130258, 0.27577711)
    num_threads: CountOrZero = 4  # That read and decode, in each process.
    num_workers: CountOrZero = 0  # Reader processes; 0 reads in threads of this process.
    prefetch: CountOrZero = 4  # Batches made ahead.
    cache: bool = False  # Keep decoded records in memory; for sets that fit.
    # How images are read, in training, evaluation and use: "exact" as a viewer shows them;
    # "released" as the published code, without EXIF rotation and transparency; "source": as
    # config.init_from does where its towers are frozen, otherwise "exact". A run keeps its choice.
    image_form: ImageForm = "source"
    max_pixels: Count = 50_000_000  # A larger image counts as corrupt and is not decoded.
    max_bad_fraction: Fraction = 0.01  # Of records seen; above it the run stops.

    @property
    def form(self) -> Literal["exact", "released"]:
        """The way that images are read; "source" is settled before a run begins."""
        return "released" if self.image_form == "released" else "exact"
