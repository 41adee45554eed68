"""Tensors of the released ProLIP weights (naver-ai/prolip) and where their numbers are in ours.

The released state dict has linear weights as (out, in), one tensor for query, key and value, and
tensors for each block; ours has (in, out) kernels, three projections, and blocks stacked on a first
axis. Nothing is computed: each number of one side is a number of the other, so that the way there
and back is exact to the bit. One table says it for both directions.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from prolip.config import ImageTowerConfig, ModelConfig, TextTowerConfig

Params = dict[str, Any]
SHOWN = 3  # Tensors of each kind in a message.


class MismatchError(ValueError):
    """Tensors that are missing, unknown or of another shape; the first of each are listed."""


class Piece(NamedTuple):
    """A part of one of our arrays that is a whole released tensor, or a part of its first axis."""

    path: str  # Of our array: keys with slashes.
    row: int | None  # Of its first axis; None: all of it.
    to_ours: Callable[[np.ndarray], np.ndarray]
    to_released: Callable[[np.ndarray], np.ndarray]


class Tensor(NamedTuple):
    """A released tensor; the pieces divide its first axis evenly."""

    name: str
    shape: tuple[int, ...]
    pieces: tuple[Piece, ...]
    optional: bool = False  # Zeros where it is missing.


def table(config: ModelConfig, projection_bias: bool = True) -> list[Tensor]:
    """All tensors of a model.

    Args:
      config: in the wiring "released" or "deterministic".
      projection_bias: False where the text projection is a bare (in, out) matrix.
    """
    image, text, dim = config.image, config.text, config.embed_dim
    probabilistic = config.heads != "deterministic"
    grid = image.image_size // image.patch
    extra = 2 if probabilistic else 1
    conv = (image.width, 3, image.patch, image.patch)
    tensors = [
        Tensor("logit_scale", (), (_same("log_logit_scale"),)),
        # The released code makes no such parameter where its start is zero.
        Tensor("logit_bias", (), (_same("logit_bias"),), optional=True),
        Tensor("visual.conv1.weight", conv, (_convolution("image/embed/kernel", image.patch),)),
        Tensor("visual.class_embedding", (image.width,), (_same("image/extra", 0),)),
        Tensor(
            "visual.positional_embedding",
            (extra + grid * grid, image.width),
            (_same("image/positions"),),
        ),
        *_norm("visual.ln_pre", "image/norm_pre", image.width),
        *_norm("visual.ln_post", "image/norm_post", image.width),
        *_blocks("visual", "image", image),
        Tensor("visual.proj", (image.width, dim), (_same("image/mean/linear/kernel"),)),
        Tensor(
            "text.token_embedding.weight",
            (text.vocab_size, text.width),
            (_same("text/tokens/embedding"),),
        ),
        Tensor("text.cls_emb", (text.width,), (_same("text/extra", extra - 1),)),
        Tensor(
            "text.positional_embedding",
            (text.length + extra, text.width),
            (_same("text/positions"),),
        ),
        *_norm("text.ln_final", "text/norm_final", text.width),
        *_blocks("text", "text", text),
    ]
    if projection_bias:
        tensors += _linear("text.text_projection", "text/mean/linear", dim, text.width)
    else:
        kernel = (_same("text/mean/linear/kernel"),)
        tensors += [Tensor("text.text_projection", (text.width, dim), kernel)]
    if probabilistic:
        tensors += [
            Tensor("visual.unc_embedding", (image.width,), (_same("image/extra", 1),)),
            *_linear("visual.uncertainty_proj", "image/log_var/linear", dim, image.width),
            Tensor("text.unc_emb", (text.width,), (_same("text/extra", 0),)),
            *_linear("text.text_uncertainty_projection", "text/log_var/linear", dim, dim),
        ]
    return tensors


def check(found: Mapping[str, tuple[int, ...]], wanted: list[Tensor]) -> None:
    """Compares the shapes of a state dict with the table.

    Raises:
      MismatchError: something is missing, unknown or of another shape.
    """
    shapes = {tensor.name: tensor.shape for tensor in wanted}
    required = {tensor.name for tensor in wanted if not tensor.optional}
    missing = [name for name in shapes if name in required and name not in found]
    unknown = [name for name in found if name not in shapes]
    other = [name for name in shapes if name in found and tuple(found[name]) != shapes[name]]
    parts = [
        _listed("missing", [f"{name} {list(shapes[name])}" for name in missing]),
        _listed("not known", [f"{name[:80]} {list(found[name])}" for name in unknown]),
        _listed(
            "of another shape",
            [f"{name} {list(found[name])} instead of {list(shapes[name])}" for name in other],
        ),
    ]
    if any(parts):
        raise MismatchError(
            f"the weights are not those of config.json: {'; '.join(filter(None, parts))}"
        )


def _listed(problem: str, tensors: list[str]) -> str:
    if not tensors:
        return ""
    more = ", ..." if len(tensors) > SHOWN else ""
    return f"{len(tensors):,} {problem}: {', '.join(tensors[:SHOWN])}{more}"


def to_params(
    read: Callable[[str], np.ndarray], names: frozenset[str], wanted: list[Tensor], shapes: Params
) -> Params:
    """Released tensors to our nested dictionary of parameters, float32 NumPy arrays.

    Args:
      read: gives a tensor by name; called once for each, so that one is in memory at a time.
      names: tensors that are there.
      wanted: the table.
      shapes: what has `shape` for each of our arrays, such as `jax.eval_shape` gives.
    """
    params = _empty(shapes)
    for tensor in wanted:
        if tensor.name not in names:
            continue  # Optional: `_empty` has zeros.
        value = read(tensor.name)
        parts = np.split(value, len(tensor.pieces)) if len(tensor.pieces) > 1 else [value]
        for piece, part in zip(tensor.pieces, parts, strict=True):
            target = _find(params, piece.path)
            place = (...,) if piece.row is None else (piece.row, ...)
            target[place] = piece.to_ours(part).reshape(target[place].shape)
    return params


def to_tensors(params: Params, wanted: list[Tensor]) -> Iterator[tuple[str, np.ndarray]]:
    """Our parameters to released tensors, one after another, contiguous."""
    for tensor in wanted:
        parts = []
        for piece in tensor.pieces:
            source = np.asarray(_find(params, piece.path))
            parts.append(piece.to_released(source if piece.row is None else source[piece.row]))
        value = np.concatenate(parts) if len(parts) > 1 else parts[0]
        yield tensor.name, np.ascontiguousarray(value).reshape(tensor.shape)


def _blocks(name: str, ours: str, tower: ImageTowerConfig | TextTowerConfig) -> Iterator[Tensor]:
    width, path = tower.width, f"{ours}/transformer/blocks"
    heads = tower.num_heads
    for i in range(tower.depth):
        block = f"{name}.transformer.resblocks.{i}"
        inputs = [f"{path}/attention/{part}" for part in ("query", "key", "value")]
        yield Tensor(
            f"{block}.attn.in_proj_weight",
            (3 * width, width),
            tuple(_attention_input(f"{part}/kernel", i, heads) for part in inputs),
        )
        yield Tensor(
            f"{block}.attn.in_proj_bias",
            (3 * width,),
            tuple(_flat(f"{part}/bias", i) for part in inputs),
        )
        yield Tensor(
            f"{block}.attn.out_proj.weight",
            (width, width),
            (_attention_output(f"{path}/attention/out/kernel", i),),
        )
        yield Tensor(
            f"{block}.attn.out_proj.bias", (width,), (_same(f"{path}/attention/out/bias", i),)
        )
        yield from _norm(f"{block}.ln_1", f"{path}/norm_attention", width, i)
        yield from _norm(f"{block}.ln_2", f"{path}/norm_mlp", width, i)
        yield from _linear(f"{block}.mlp.c_fc", f"{path}/mlp/up", tower.mlp_dim, width, i)
        yield from _linear(f"{block}.mlp.c_proj", f"{path}/mlp/down", width, tower.mlp_dim, i)


def _norm(name: str, path: str, width: int, index: int | None = None) -> list[Tensor]:
    return [
        Tensor(f"{name}.weight", (width,), (_same(f"{path}/scale", index),)),
        Tensor(f"{name}.bias", (width,), (_same(f"{path}/bias", index),)),
    ]


def _linear(
    name: str, path: str, outputs: int, inputs: int, index: int | None = None
) -> list[Tensor]:
    kernel = Piece(f"{path}/kernel", index, np.transpose, np.transpose)
    return [
        Tensor(f"{name}.weight", (outputs, inputs), (kernel,)),
        Tensor(f"{name}.bias", (outputs,), (_same(f"{path}/bias", index),)),
    ]


def _same(path: str, index: int | None = None) -> Piece:
    return Piece(path, index, lambda x: x, lambda x: x)


def _flat(path: str, index: int) -> Piece:
    return Piece(path, index, lambda x: x, np.ravel)


def _attention_input(path: str, index: int, heads: int) -> Piece:
    # (heads * head_dim, width) there, (width, heads, head_dim) here.
    return Piece(
        path,
        index,
        lambda x: x.T.reshape(x.shape[1], heads, -1),
        lambda x: x.reshape(len(x), -1).T,
    )


def _attention_output(path: str, index: int) -> Piece:
    # (width, heads * head_dim) there, (heads, head_dim, width) here; the target has the shape.
    return Piece(path, index, np.transpose, lambda x: x.reshape(-1, x.shape[-1]).T)


def _convolution(path: str, patch: int) -> Piece:
    # (out, channel, height, width) there, (height * width * channel, out) here.
    return Piece(
        path,
        None,
        lambda x: x.transpose(2, 3, 1, 0).reshape(-1, len(x)),
        lambda x: x.reshape(patch, patch, 3, -1).transpose(3, 2, 0, 1),
    )


def _find(params: Params, path: str) -> Any:
    value: Any = params
    for key in path.split("/"):
        value = value[key]
    return value


def _empty(shapes: Any) -> Any:
    if isinstance(shapes, Mapping):
        return {key: _empty(value) for key, value in shapes.items()}
    return np.zeros(shapes.shape, np.float32)
