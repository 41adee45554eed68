"""Names and layouts of the released ProLIP weights (naver-ai/prolip), to ours.

The released state dict has linear weights as (out, in), one tensor for query, key and value, and a
tensor for each block; ours has (in, out) kernels, three projections, and blocks stacked on a first
axis. Nothing is computed: each number of one side is a number of the other.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from prolip.config import Activation, ConfigError, ImageTowerConfig, ModelConfig, TextTowerConfig

Tensors = Mapping[str, np.ndarray]


def model_config(hub: Mapping[str, Any]) -> ModelConfig:
    """Model configuration of a Hub `config.json`, in the released wiring.

    Raises:
      ConfigError: a field asks for a part that the released architecture doesn't have.
    """
    image, text = hub["vision_cfg"], hub["text_cfg"]
    if image.get("embed_unc", False) != text.get("embed_unc", False):
        raise ConfigError("config.json: embed_unc differs between vision_cfg and text_cfg")
    for tower, field in ((image, "timm_model_name"), (text, "hf_model_name")):
        if tower.get(field):
            raise ConfigError(f"config.json: {field} {tower[field]!r} is not a ProLIP tower")
    probabilistic = bool(image.get("embed_unc", False))
    activation: Activation = "quick_gelu" if hub.get("quick_gelu") else "gelu"
    image_width = image["width"]
    head_width = image.get("head_width", 64)
    return ModelConfig(
        embed_dim=hub["embed_dim"],
        heads="released" if probabilistic else "deterministic",
        image=ImageTowerConfig(
            image_size=image["image_size"],
            patch=image["patch_size"],
            width=image_width,
            depth=image["layers"],
            num_heads=image_width // head_width,
            mlp_dim=int(image_width * image.get("mlp_ratio", 4.0)),
            activation=activation,
            norm_eps=image.get("norm_kwargs", {}).get("eps", 1e-5),
        ),
        text=TextTowerConfig(
            length=text["context_length"],
            vocab_size=text["vocab_size"],
            width=text["width"],
            depth=text["layers"],
            num_heads=text["heads"],
            mlp_dim=int(text["width"] * text.get("mlp_ratio", 4.0)),
            activation=activation,
            norm_eps=text.get("norm_kwargs", {}).get("eps", 1e-5),
        ),
        logit_bias_init=float(hub.get("init_logit_bias") or 0.0),
    )


def to_params(tensors: Tensors, config: ModelConfig) -> dict[str, Any]:
    """Released state dict to our nested dictionary of parameters, float32.

    Raises:
      KeyError: a tensor is missing.
    """
    image, text = config.image, config.text
    probabilistic = config.heads != "deterministic"
    visual = {k.removeprefix("visual."): v for k, v in tensors.items() if k.startswith("visual.")}
    textual = {k.removeprefix("text."): v for k, v in tensors.items() if k.startswith("text.")}
    image_extra = [visual["class_embedding"]]
    text_extra = [textual["cls_emb"]]
    if probabilistic:
        image_extra = [*image_extra, visual["unc_embedding"]]
        text_extra = [textual["unc_emb"], *text_extra]
    conv = visual["conv1.weight"]  # (out, channel, height, width)
    params: dict[str, Any] = {
        "image": {
            "embed": {"kernel": conv.transpose(2, 3, 1, 0).reshape(-1, conv.shape[0])},
            "extra": np.stack(image_extra),
            "positions": visual["positional_embedding"],
            "norm_pre": _norm(visual, "ln_pre"),
            "norm_post": _norm(visual, "ln_post"),
            "transformer": _blocks(visual, image.depth, image.num_heads),
            "mean": {"linear": {"kernel": visual["proj"]}},
        },
        "text": {
            "tokens": {"embedding": textual["token_embedding.weight"]},
            "extra": np.stack(text_extra),
            "positions": textual["positional_embedding"],
            "norm_final": _norm(textual, "ln_final"),
            "transformer": _blocks(textual, text.depth, text.num_heads),
            "mean": {"linear": _projection(textual, config)},
        },
        "log_logit_scale": tensors["logit_scale"],
        "logit_bias": tensors.get("logit_bias", np.zeros((), np.float32)),
    }
    if probabilistic:
        params["image"]["log_var"] = {"linear": _linear(visual, "uncertainty_proj")}
        params["text"]["log_var"] = {"linear": _linear(textual, "text_uncertainty_projection")}
    return params


def _projection(textual: Tensors, config: ModelConfig) -> dict[str, np.ndarray]:
    if "text_projection.weight" in textual:
        return _linear(textual, "text_projection")
    # Without a bias the released code keeps the matrix itself, as (in, out).
    return {
        "kernel": textual["text_projection"],
        "bias": np.zeros(config.embed_dim, textual["text_projection"].dtype),
    }


def _blocks(tensors: Tensors, depth: int, num_heads: int) -> dict[str, Any]:
    blocks = [_block(tensors, f"transformer.resblocks.{i}", num_heads) for i in range(depth)]
    return {"blocks": _stack(blocks)}


def _block(tensors: Tensors, name: str, num_heads: int) -> dict[str, Any]:
    weight = tensors[f"{name}.attn.in_proj_weight"]  # (3 width, width)
    bias = tensors[f"{name}.attn.in_proj_bias"]
    out = tensors[f"{name}.attn.out_proj.weight"]  # (width, width)
    width = out.shape[0]
    head_dim = width // num_heads
    attention: dict[str, Any] = {
        "out": {
            "kernel": out.T.reshape(num_heads, head_dim, width),
            "bias": tensors[f"{name}.attn.out_proj.bias"],
        }
    }
    for part, w, b in zip(
        ("query", "key", "value"), np.split(weight, 3), np.split(bias, 3), strict=True
    ):
        attention[part] = {
            "kernel": w.T.reshape(width, num_heads, head_dim),
            "bias": b.reshape(num_heads, head_dim),
        }
    return {
        "attention": attention,
        "norm_attention": _norm(tensors, f"{name}.ln_1"),
        "norm_mlp": _norm(tensors, f"{name}.ln_2"),
        "mlp": {
            "up": _linear(tensors, f"{name}.mlp.c_fc"),
            "down": _linear(tensors, f"{name}.mlp.c_proj"),
        },
    }


def _norm(tensors: Tensors, name: str) -> dict[str, np.ndarray]:
    return {"scale": tensors[f"{name}.weight"], "bias": tensors[f"{name}.bias"]}


def _linear(tensors: Tensors, name: str) -> dict[str, np.ndarray]:
    return {"kernel": tensors[f"{name}.weight"].T, "bias": tensors[f"{name}.bias"]}


def _stack(blocks: list[dict[str, Any]]) -> dict[str, Any]:
    first = blocks[0]
    return {
        k: _stack([b[k] for b in blocks])
        if isinstance(first[k], dict)
        else np.stack([b[k] for b in blocks])
        for k in first
    }
