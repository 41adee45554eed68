"""The `config.json` of a published checkpoint, to a model's configuration and back.

Source: `ProLIPHF.save_pretrained` of naver-ai/prolip, whose fields are those of open_clip.
"""

import logging
import math
from collections.abc import Mapping
from typing import Any

from prolip.config import Activation, ConfigError, ImageTowerConfig, ModelConfig, TextTowerConfig
from prolip.models.limits import check_sizes

log = logging.getLogger(__name__)

# Without which a field of another value would mean another architecture than ours.
NEEDED: dict[str, dict[str, tuple[Any, ...]]] = {
    "vision_cfg": {
        "timm_model_name": (None, ""),
        "ls_init_value": (None,),
        "attentional_pool": (False,),
        "attn_pooler_heads": (None,),
        "no_ln_pre": (False,),
        "input_patchnorm": (False,),
        "global_average_pool": (False,),
        "pos_embed_type": ("learnable",),
        "final_ln_after_pool": (False,),
        "pool_type": ("tok",),
        "output_tokens": (False,),
    },
    "text_cfg": {
        "hf_model_name": (None, ""),
        "ls_init_value": (None,),
        "no_causal_mask": (True,),
        "embed_cls": (True,),
        "final_ln_after_pool": (False,),
        "output_tokens": (False,),
    },
}
READ = {
    "": {
        *("embed_dim", "vision_cfg", "text_cfg", "quick_gelu", "init_logit_bias"),
        *("init_logit_scale", "preprocess_cfg", "custom_text"),
    },
    "vision_cfg": {
        *("embed_unc", "head_width", "image_size", "init_unc_bias", "layers", "patch_size"),
        *("width", "mlp_ratio", "norm_kwargs", "patch_dropout"),
    },
    "text_cfg": {
        *("embed_unc", "context_length", "heads", "hf_tokenizer_name", "init_unc_bias", "layers"),
        *("norm_kwargs", "pad_id", "pool_type", "proj_bias", "tokenizer_kwargs", "vocab_size"),
        *("width", "mlp_ratio"),
    },
}
# Of our fields, where their name is another one.
FIELDS = {
    "image.patch": "vision_cfg.patch_size",
    "image.depth": "vision_cfg.layers",
    "image.num_heads": "vision_cfg.width / head_width",
    "image.mlp_dim": "vision_cfg.width * mlp_ratio",
    "image.norm_eps": "vision_cfg.norm_kwargs.eps",
    "text.length": "text_cfg.context_length",
    "text.depth": "text_cfg.layers",
    "text.num_heads": "text_cfg.heads",
    "text.mlp_dim": "text_cfg.width * mlp_ratio",
    "text.norm_eps": "text_cfg.norm_kwargs.eps",
}


def model_config(hub: Mapping[str, Any]) -> ModelConfig:
    """Model configuration of a `config.json`, in the released wiring.

    Raises:
      ConfigError: a field is missing, ill-typed, of a size that no model has, or asks for a part
        that the released architecture doesn't have.
    """
    try:
        config = _model_config(hub)
        check_sizes(config, _field)
        return config
    except KeyError as error:
        raise ConfigError(f"config.json has no field {error}") from error
    except (TypeError, AttributeError, ValueError, ArithmeticError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"config.json is not that of a ProLIP model: {error}") from error


def _model_config(hub: Mapping[str, Any]) -> ModelConfig:
    image, text = hub["vision_cfg"], hub["text_cfg"]
    for name, tower in (("vision_cfg", image), ("text_cfg", text)):
        for field, values in NEEDED[name].items():
            if field in tower and tower[field] not in values:
                raise ConfigError(
                    f"config.json: {name}.{field} is {tower[field]!r}; the released ProLIP towers "
                    f"have {values[0]!r}"
                )
    # Without the field, the released text tower has a causal mask and pools by end of text.
    for field in ("no_causal_mask", "embed_cls"):
        if not text.get(field, False):
            raise ConfigError(f"config.json: text_cfg.{field} must be true for a ProLIP tower")
    for name, group in (("", hub), ("vision_cfg", image), ("text_cfg", text)):
        unknown = sorted(set(group) - READ[name] - set(NEEDED.get(name, {})))
        if unknown:
            log.warning(
                "config.json: %s fields not known: %s", name or "top", ", ".join(unknown[:10])
            )
    if bool(image.get("embed_unc")) != bool(text.get("embed_unc")):
        raise ConfigError("config.json: embed_unc differs between vision_cfg and text_cfg")
    activation: Activation = "quick_gelu" if hub.get("quick_gelu") else "gelu"
    width, text_width = (
        _integer("vision_cfg", image, "width", 768),
        _integer("text_cfg", text, "width", 512),
    )
    scale = hub.get("init_logit_scale")
    size, patch = (_square(image, "image_size", 224), _square(image, "patch_size", 16))
    return ModelConfig(
        embed_dim=_integer("", hub, "embed_dim", None),
        heads="released" if image.get("embed_unc") else "deterministic",
        image=ImageTowerConfig(
            image_size=size,
            patch=patch,
            width=width,
            depth=_integer("vision_cfg", image, "layers", 12),
            num_heads=width // _integer("vision_cfg", image, "head_width", 64),
            mlp_dim=int(width * image.get("mlp_ratio", 4.0)),
            activation=activation,
            norm_eps=float((image.get("norm_kwargs") or {}).get("eps", 1e-5)),
        ),
        text=TextTowerConfig(
            length=_integer("text_cfg", text, "context_length", 77),
            vocab_size=_integer("text_cfg", text, "vocab_size", 49_408),
            width=text_width,
            depth=_integer("text_cfg", text, "layers", 12),
            num_heads=_integer("text_cfg", text, "heads", 8),
            mlp_dim=int(text_width * text.get("mlp_ratio", 4.0)),
            activation=activation,
            norm_eps=float((text.get("norm_kwargs") or {}).get("eps", 1e-5)),
        ),
        logit_scale_init=math.exp(scale) if scale else 1 / 0.07,
        logit_bias_init=float(hub.get("init_logit_bias") or 0.0),
        log_var_init=float(image.get("init_unc_bias", -10.0)),
    )


def projection_bias(hub: Mapping[str, Any]) -> bool:
    """Whether the text projection is a linear layer with a bias, and not a bare matrix."""
    return bool(hub["text_cfg"].get("proj_bias", False))


def hub_config(config: ModelConfig, base: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A `config.json` that the released code builds this model from.

    Args:
      config: of the model.
      base: the `config.json` that the model once came from; fields of its own, such as the name of
        a tokenizer, are kept.

    Raises:
      ConfigError: the released code can't build this model.
    """
    image, text = config.image, config.text
    if config.heads == "paper":
        raise ConfigError(
            "the released code has no heads of the kind 'paper', so it would load these weights "
            "and give other numbers; train with --config.model.heads=released to publish for it"
        )
    if config.heads == "adapter":
        raise ConfigError(
            "the released code has no heads of the kind 'adapter', so it can't build this model; "
            "publish the deterministic model that it was made from, or share the workdir"
        )
    if config.slots.count > 1:
        raise ConfigError(
            "the released code has one vector for each image and text, so it can't build this "
            f"model with config.model.slots.count={config.slots.count}; share its workdir instead"
        )
    if image.activation != text.activation:
        raise ConfigError("the released code has one activation for both towers")
    probabilistic = config.heads == "released"
    base = base or {}
    vision_cfg = {
        **base.get("vision_cfg", {}),
        "embed_unc": probabilistic,
        "image_size": image.image_size,
        "layers": image.depth,
        "patch_size": image.patch,
        "width": image.width,
    }
    text_cfg = {
        **base.get("text_cfg", {}),
        "context_length": text.length,
        "embed_cls": True,
        "embed_unc": probabilistic,
        "heads": text.num_heads,
        "layers": text.depth,
        "no_causal_mask": True,
        "pool_type": "last",
        "vocab_size": text.vocab_size,
        "width": text.width,
    }
    text_cfg.setdefault("proj_bias", True)
    _set(vision_cfg, "head_width", image.width // image.num_heads, 64)
    for group, tower in ((vision_cfg, image), (text_cfg, text)):
        _set(group, "mlp_ratio", _ratio(tower.width, tower.mlp_dim, group.get("mlp_ratio")), 4.0)
        if tower.norm_eps != 1e-5 or "norm_kwargs" in group:
            group["norm_kwargs"] = {**(group.get("norm_kwargs") or {}), "eps": tower.norm_eps}
        if probabilistic:
            group.setdefault("init_unc_bias", config.log_var_init)
    hub = {**base, "embed_dim": config.embed_dim, "vision_cfg": vision_cfg, "text_cfg": text_cfg}
    # Zero would mean that there is no such parameter.
    hub["init_logit_bias"] = base.get("init_logit_bias") or config.logit_bias_init or -10.0
    _set(hub, "quick_gelu", image.activation == "quick_gelu", False)
    return hub


def _set(group: dict[str, Any], field: str, value: Any, default: Any) -> None:
    """Writes a field that differs from the released code's default, or is written already."""
    if value != default or field in group:
        group[field] = value


def _ratio(width: int, mlp_dim: int, known: float | None) -> float:
    """A ratio that the released code's int(width * ratio) makes `mlp_dim` of."""
    ratio = mlp_dim / width
    for candidate in (known, round(ratio, 4), ratio, math.nextafter(ratio, math.inf)):
        if candidate is not None and int(width * candidate) == mlp_dim:
            return candidate
    raise ConfigError(f"no ratio gives an MLP of {mlp_dim} for a width of {width}")


def _field(ours: str) -> str:
    name = ours.replace("image.", "vision_cfg.").replace("text.", "text_cfg.")
    return f"config.json: {FIELDS.get(ours, name)}"


def _square(group: Mapping[str, Any], field: str, default: int) -> int:
    value = group.get(field, default)
    if isinstance(value, list | tuple):
        if len(set(value)) != 1:
            raise ConfigError(f"config.json: vision_cfg.{field} {value} is not square")
        value = value[0]
    return _integer("vision_cfg", {field: value}, field, default)


def _integer(name: str, group: Mapping[str, Any], field: str, default: int | None) -> int:
    value = group[field] if default is None else group.get(field, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
        where = f"{name}.{field}".removeprefix(".")
        raise ConfigError(f"config.json: {where} is {ascii(value)[:40]}, not a whole number")
    return int(value)
