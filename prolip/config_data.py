"""Options of the data: where records come from, and what becomes of them."""

import dataclasses
from typing import Literal

TokenizerKind = Literal["train", "hf", "sentencepiece"]
Cleaning = Literal["canonicalize", "lower", "whitespace"]
CaptionSampling = Literal["whole", "prefix", "range"]
ImageForm = Literal["source", "exact", "released"]


@dataclasses.dataclass(frozen=True)
class TokenizerConfig:
    """Which tokenizer, and what it does to a text before."""

    kind: TokenizerKind = "train"  # "train" makes one from the captions of the training split.
    path: str = ""  # tokenizer.json or a SentencePiece model; not for "train".
    vocab_size: int = 2048  # Of the one that is trained.
    cleaning: Cleaning = "canonicalize"
    # -1: taken from the tokenizer. The released SigLIP vocabulary pads with 1.
    pad_id: int = -1
    mask_id: int = -1


@dataclasses.dataclass(frozen=True)
class AugmentConfig:
    """Random resized crop, flip, colour jitter, grey scale and blends of training images."""

    crop_scale: tuple[float, ...] = (0.8, 1.0)  # Area, least and most.
    crop_ratio: tuple[float, ...] = (0.75, 4 / 3)  # Width over height, least and most.
    flip: float = 0.0  # Probability of a left-right mirror.
    jitter: tuple[float, ...] = (0.32, 0.32, 0.32, 0.08)  # Brightness, contrast, saturation, hue.
    jitter_probability: float = 0.8
    grey_probability: float = 0.2
    mixup: float = 0.0  # Probability that an image is blended with another of its batch.


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
    caption_features: tuple[str, ...] = ("name", "keywords", "subgroup", "group")
    caption_weights: tuple[float, ...] = (0.35, 0.35, 0.2, 0.1)
    caption_templates: tuple[str, ...] = ("{}",)  # One is drawn and filled for each training pair.
    # What of a text is drawn: all of it, or one or more of its sentences, the first or any.
    caption_sampling: CaptionSampling = "whole"
    caption_whole: float = 0.5  # Probability of all of it where sentences are drawn.
    max_captions: int = 32  # Known valid captions of a record that a batch carries along.
    tokenizer: TokenizerConfig = TokenizerConfig()
    augment: AugmentConfig = AugmentConfig()
    mean: tuple[float, ...] = (
        0.48145466,
        0.4578275,
        0.40821073,
    )  # Of RGB in [0, 1]: OpenAI CLIP's.
    std: tuple[float, ...] = (0.26862954, 0.26130258, 0.27577711)
    num_threads: int = 4  # That read and decode, in each process.
    num_workers: int = 0  # Reader processes; 0 reads in threads of this process.
    prefetch: int = 4  # Batches made ahead.
    cache: bool = False  # Keep decoded records in memory; for sets that fit.
    # How images are read, in training, evaluation and use: "exact" as a viewer shows them;
    # "released" as the published code, without EXIF rotation and transparency; "source": as
    # config.init_from does where its towers are frozen, otherwise "exact". A run keeps its choice.
    image_form: ImageForm = "source"
    max_pixels: int = 50_000_000  # A larger image counts as corrupt and is not decoded.
    max_bad_fraction: float = 0.01  # Of records seen; above it the run stops.

    @property
    def form(self) -> Literal["exact", "released"]:
        """The way that images are read; "source" is settled before a run begins."""
        return "released" if self.image_form == "released" else "exact"
