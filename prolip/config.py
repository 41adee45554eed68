"""The list of options and defaults, and the way between files, dictionaries and dataclasses.

Long because it is the one list; its parts on data and on the objective are `prolip.config_data` and
`prolip.config_objective`, and `prolip.config_eval` has values of the evaluation's. Bounds stand
beside the fields (`prolip.config_bounds`); rules between several fields are in
`prolip.config_rules`.

Each part of the program receives its own dataclass, never the whole configuration. Files in
`configs/` return an `ml_collections.ConfigDict` made from `TrainConfig`, so that
`--config.optimizer.learning_rate=1e-3` overrides a field; `from_dict` types it once, on load.
"""

import ast
import dataclasses
import difflib
import typing
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

import ml_collections

from prolip.config_bounds import (
    Bound,
    Count,
    CountOrZero,
    Momentum,
    NotNegative,
    OrMinusOne,
    Positive,
    check_bounds,
)
from prolip.config_bounds import ConfigError as ConfigError
from prolip.config_data import AugmentConfig as AugmentConfig
from prolip.config_data import CaptionSampling as CaptionSampling
from prolip.config_data import Cleaning as Cleaning
from prolip.config_data import DataConfig as DataConfig
from prolip.config_data import TokenizerConfig as TokenizerConfig
from prolip.config_eval import EvaluatorName, OnePlaceEach
from prolip.config_objective import ObjectiveConfig as ObjectiveConfig

T = TypeVar("T")

Activation = Literal["gelu", "quick_gelu"]
Heads = Literal["paper", "released", "deterministic", "adapter"]
Remat = Literal["none", "dots", "hidden", "full"]
DType = Literal["float32", "bfloat16", "float64"]
AttentionKernel = Literal["einsum", "cudnn"]
SlotSimilarity = Literal["max", "smooth_chamfer"]
Optimizer = Literal["adamw", "muon"]
Frozen = Literal["none", "towers"]
Schedule = Literal["cosine", "constant", "rsqrt"]
NonFinite = Literal["stop", "skip"]
Mode = Literal["max", "min"]


@dataclasses.dataclass(frozen=True)
class ImageTowerConfig:
    """A vision transformer over square images (arXiv 2010.11929)."""

    image_size: Count = 224  # Pixels a side.
    patch: Count = 16  # Pixels a side; divides image_size.
    width: Count = 768
    depth: Count = 12
    num_heads: Count = 12  # Divides width.
    mlp_dim: Count = 3072
    activation: Activation = (
        "gelu"  # "gelu" is the exact one; "quick_gelu" is x * sigmoid(1.702 x).
    )
    norm_eps: Positive = 1e-5


@dataclasses.dataclass(frozen=True)
class TextTowerConfig:
    """A transformer over tokens without a causal mask; [UNC] and [CLS] are appended at the end."""

    length: Count = 64  # Tokens of a caption, padding included, without the two appended.
    vocab_size: Count = 32_100
    width: Count = 768
    depth: Count = 12
    num_heads: Count = 12
    mlp_dim: Count = 3072
    activation: Activation = "gelu"
    norm_eps: Positive = 1e-6


@dataclasses.dataclass(frozen=True)
class SlotsConfig:
    """Several unit vectors for each image and each text, instead of one; and how sets compare.

    "max": the largest cosine of two of them (PVSE, arXiv 1906.04402). "smooth_chamfer": each with
    those that are nearest to it in the other set (arXiv 2211.16761). `prolip.slot_similarity`.
    """

    count: Count = 1
    similarity: SlotSimilarity = "max"
    # Of smooth_chamfer: the larger, the less do others than the nearest count.
    alpha: Positive = 16.0


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """Two towers that give Gaussians of the same dimension."""

    embed_dim: Count = 768
    image: ImageTowerConfig = ImageTowerConfig()
    text: TextTowerConfig = TextTowerConfig()
    # "paper": log_var from each tower's own [UNC]; "released": as the published checkpoints are
    # wired (second norm of the image CLS, text log_var from the projected mean);
    # "deterministic": no [UNC], zero variance; "adapter": the same towers, with a log_var made of
    # their [CLS] by a small network, so that the weights of a deterministic model fit.
    heads: Heads = "paper"
    slots: SlotsConfig = SlotsConfig()  # More than one needs heads="deterministic".
    # Of the computation; trained parameters are always float32. "float64" is for checking numbers
    # and needs jax_enable_x64.
    dtype: DType = "float32"
    # The backward pass recomputes nothing; all but products, or hidden units and attention; or all.
    remat: Remat = "none"
    # "cudnn": one kernel, for NVIDIA GPUs in bfloat16. Embedding always takes the other.
    attention: AttentionKernel = "einsum"
    # Rows of a device at a time, where they divide: few fit fast memory. 0: all.
    block_rows: CountOrZero = 0
    text_block_rows: CountOrZero = 0  # The same for texts, of which more fit. 0: as `block_rows`.
    unroll: Count = 1  # Blocks in a turn of the scan: more is faster on CPUs, and compiles longer.
    logit_scale_init: Positive = 1 / 0.07  # Applied scale; its log is the parameter.
    logit_bias_init: float = -10.0
    log_var_init: float = -10.0  # Bias of both log-variance heads.

    @property
    def dim(self) -> int:
        """Numbers of an embedding: all slots one after the other."""
        return self.slots.count * self.embed_dim

    @property
    def rows_of_texts(self) -> int:
        """Texts of a device at a time; 0: all."""
        return self.text_block_rows or self.block_rows


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """AdamW (arXiv 1711.05101) or Muon, with warm-up and a schedule; decay on matrices only.

    "muon" makes the update of each matrix in a transformer block orthogonal (Jordan et al. 2024;
    arXiv 2502.16982) and leaves all else to AdamW. It keeps one moment less, and costs fifteen
    products of each matrix a step whatever the batch: little beside a large batch.
    """

    name: Optimizer = "adamw"
    # "towers": only what makes log_var is trained, and the two scalars of the logit. Means stay as
    # they are in config.init_from, to the bit.
    frozen: Frozen = "none"
    learning_rate: Positive = 5e-4  # Peak.
    schedule: Schedule = "cosine"
    warmup_steps: CountOrZero = 10_000
    cooldown_steps: CountOrZero = 0  # Linear descent to zero at the end of "constant" and "rsqrt".
    b1: Momentum = 0.9
    b2: Momentum = 0.95
    eps: Positive = 1e-6
    weight_decay: NotNegative = 0.2
    muon_scale: Positive = 1.0  # Learning rate of the matrices under "muon", in learning rates.
    muon_momentum: Momentum = 0.95
    grad_clip_norm: NotNegative = 0.0  # Global norm; 0 does not clip.
    # The applied scale stays in [1, this] after each update.
    max_logit_scale: Annotated[float, Bound(least=1)] = 100.0


@dataclasses.dataclass(frozen=True)
class MeshConfig:
    """Sizes of the mesh axes; one of them may be -1 and takes the devices that are left."""

    data: OrMinusOne = -1  # Across slices or nodes: parameters are replicated over it.
    fsdp: OrMinusOne = 1  # Batch and parameters are split over it.
    tensor: OrMinusOne = 1  # Heads and MLPs are split over it.


@dataclasses.dataclass(frozen=True)
class CheckpointConfig:
    """When a step is saved, and which steps are kept."""

    every: Count = 1000  # Steps.
    keep_latest: Count = 2  # At least 1; 2 or more leaves a step to fall back to.
    keep_every: CountOrZero = 0  # Steps divisible by this are kept for good; 0 keeps none.
    keep_best: CountOrZero = 0  # As many of the best evaluated steps.
    best_metric: str = "retrieval/text_to_image/map_at_r"
    best_mode: Mode = "max"
    hold_unevaluated: bool = False  # Keep a step until the evaluator's ledger has it.


@dataclasses.dataclass(frozen=True)
class EvalConfig:
    """What `prolip eval` measures on the evaluation split, and on ready sets beside it."""

    evaluators: tuple[EvaluatorName, ...] = ("retrieval", "zero_shot", "uncertainty")
    # "imagenet=/data/imagenet/val", "coco=/data/coco": `prolip eval --list` names them.
    sets: tuple[str, ...] = ()
    batch: Count = 256
    block: Count = 1024  # Queries scored at a time.
    label_features: tuple[str, ...] = ("group", "subgroup")
    # Of prompts for zero-shot classes; each has {} once, where the name goes.
    templates: Annotated[tuple[str, ...], OnePlaceEach()] = (
        "{}",
        "a picture of {}",
        "an emoji of {}",
    )
    bins: Count = 10


@dataclasses.dataclass(frozen=True)
class LoggingConfig:
    """Where metrics go besides the console and `metrics.jsonl`."""

    every: Count = 10  # Steps between lines of the record.
    tensorboard: bool = True
    wandb_project: str = ""  # "" does not use wandb.


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """A whole experiment."""

    # Random keys have 32 bits of it.
    seed: Annotated[int, Bound(least=-(2**31), most=2**32 - 1)] = 0
    # Weights to begin with instead of random ones: a workdir, a directory in the Hub's layout or a
    # Hub id. Positions are stretched where the length of texts or the size of images differs.
    init_from: str = ""
    total_steps: Annotated[int, Bound(least=1, most=2**31 - 1)] = 100_000
    global_batch: Count = 256  # Pairs; divides into the mesh and the accumulation steps.
    accumulation_steps: Count = (
        1  # Micro-batches of one step; the loss stays that of the whole batch.
    )
    non_finite: NonFinite = "stop"
    max_skipped: CountOrZero = 20  # Non-finite steps in a row after which "skip" stops as well.
    model: ModelConfig = ModelConfig()
    objective: ObjectiveConfig = ObjectiveConfig()  # noqa: RUF009 - It is frozen.
    optimizer: OptimizerConfig = OptimizerConfig()
    mesh: MeshConfig = MeshConfig()
    data: DataConfig = DataConfig()  # noqa: RUF009 - It is frozen.
    checkpoint: CheckpointConfig = CheckpointConfig()
    eval: EvalConfig = EvalConfig()
    logging: LoggingConfig = LoggingConfig()


def to_dict(config: Any) -> dict[str, Any]:
    """Plain nested dictionary of a configuration dataclass."""
    return dataclasses.asdict(config)


def flatten(values: Mapping[str, Any], path: str = "config") -> dict[str, Any]:
    """Values of nested mappings by their full keys, such as "config.optimizer.b1"."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        inside = isinstance(value, Mapping)
        flat |= flatten(value, f"{path}.{key}") if inside else {f"{path}.{key}": value}
    return flat


def to_config_dict(config: TrainConfig) -> ml_collections.ConfigDict:
    """What `get_config()` of a file in `configs/` returns."""
    return ml_collections.ConfigDict(to_dict(config))


def from_dict(
    cls: type[T], values: Mapping[str, Any], path: str = "config", *, bounds: bool = True
) -> T:
    """Builds dataclass `cls` from nested mappings, with every key and type checked.

    Args:
      cls: to build.
      values: of its fields.
      path: of the mapping, for messages.
      bounds: also checks that values are in bounds. What a run stored is read without: earlier
        versions took values that are refused today.

    Raises:
      ConfigError: unknown key (the nearest right one is named), wrong type, or a value that is
        not among the choices or out of bounds.
    """
    hints = typing.get_type_hints(cls)
    for key in values:
        if key not in hints:
            near = difflib.get_close_matches(key, hints, n=1, cutoff=0.5)
            hint = f"did you mean {path}.{near[0]}?" if near else f"known: {', '.join(hints)}."
            raise ConfigError(f"unknown key {path}.{key}; {hint}")
    made = cls(**{k: _typed(hints[k], values[k], f"{path}.{k}") for k in values})
    if bounds:
        check_bounds(made, path)
    return made


def override(config: T, words: Sequence[str]) -> T:
    """Changes keys by words such as "config.optimizer.learning_rate=1e-3", the last one last.

    Raises:
      ConfigError: a word of another form, an unknown key, or a value of the wrong type.
    """
    for word in words:
        path, equals, text = word.partition("=")
        root, *keys = path.split(".")
        if not equals or root != "config" or not keys:
            raise ConfigError(f"don't know {word!r}; a key is changed by --config.key=value")
        hint: Any = type(config)
        for key in keys:
            hint = typing.get_type_hints(hint).get(key) if dataclasses.is_dataclass(hint) else None
        values = to_dict(config)
        inner = values
        for key in keys[:-1]:
            inner = inner.setdefault(key, {})
            if not isinstance(inner, dict):
                raise ConfigError(f"{path}: {key} is a value, not a group of keys")
        inner[keys[-1]] = _parse(hint, text, path)
        config = from_dict(type(config), values)
    return config


def _parse(hint: Any, text: str, path: str) -> Any:
    """The value that a word means for a key of this type; a plain string where that is unknown."""
    if hint is bool and text.lower() in ("true", "false"):
        return text.lower() == "true"
    if hint in (int, float, bool) or typing.get_origin(hint) is tuple:
        try:
            return ast.literal_eval(text)
        except (ValueError, SyntaxError) as error:
            kind = "a tuple" if typing.get_origin(hint) is tuple else f"{hint.__name__}"
            raise ConfigError(f"{path} must be {kind}, got {text!r}") from error
    return text


def _typed(hint: Any, value: Any, path: str) -> Any:
    origin = typing.get_origin(hint)
    if dataclasses.is_dataclass(hint):
        if isinstance(value, typing.cast(type, hint)):
            return value
        if isinstance(value, Mapping):
            return from_dict(typing.cast(type, hint), value, path, bounds=False)
        raise ConfigError(f"{path} is a group of keys, not {value!r}")
    if origin is Literal:
        choices = typing.get_args(hint)
        if value in choices:
            return value
        near = difflib.get_close_matches(str(value), choices, n=1)
        hint_text = f" Did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"{path} must be one of {', '.join(choices)}; got {value!r}.{hint_text}")
    if origin is tuple:
        if isinstance(value, str) or not isinstance(value, list | tuple):
            raise ConfigError(f"{path} must be a tuple, got {value!r}")
        item = typing.get_args(hint)[0]
        return tuple(_typed(item, v, f"{path}[{i}]") for i, v in enumerate(value))
    return _scalar(hint, value, path)


def _scalar(hint: type, value: Any, path: str) -> Any:
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            value = float(value)
        except OverflowError as error:
            raise ConfigError(f"{path} is too large for a number: {value}") from error
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise ConfigError(f"{path} must be {hint.__name__}, got {value!r} ({type(value).__name__})")
    return value
