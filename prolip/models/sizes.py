"""Named sizes. Sources: ViT, arXiv 2010.11929 table 1; SO400M, arXiv 2305.13035; the configurations
of the published ProLIP checkpoints (naver-ai/prolip `src/prolip/model_configs`)."""

import dataclasses

from prolip.config import ImageTowerConfig, ModelConfig, TextTowerConfig

TINY = ModelConfig(
    embed_dim=64,
    image=ImageTowerConfig(32, 8, width=128, depth=4, num_heads=2, mlp_dim=512),
    text=TextTowerConfig(16, 2048, width=128, depth=2, num_heads=2, mlp_dim=512),
)

# For 64-pixel pictures and short captions: a run of minutes on two CPU cores.
EMOJI = ModelConfig(
    embed_dim=128,
    image=ImageTowerConfig(64, 32, width=128, depth=3, num_heads=2, mlp_dim=256),
    text=TextTowerConfig(14, 2048, width=64, depth=2, num_heads=2, mlp_dim=128),
    unroll=4,
)

VIT_S16 = ModelConfig(
    embed_dim=384,
    image=ImageTowerConfig(224, 16, width=384, depth=12, num_heads=6, mlp_dim=1536),
    text=TextTowerConfig(64, 32_100, width=384, depth=12, num_heads=6, mlp_dim=1536),
)

VIT_B16 = ModelConfig(
    embed_dim=768,
    image=ImageTowerConfig(224, 16, width=768, depth=12, num_heads=12, mlp_dim=3072),
    text=TextTowerConfig(64, 32_100, width=768, depth=12, num_heads=12, mlp_dim=3072),
)

VIT_B16_LONG = dataclasses.replace(VIT_B16, text=dataclasses.replace(VIT_B16.text, length=256))

VIT_L16 = ModelConfig(
    embed_dim=1024,
    image=ImageTowerConfig(256, 16, width=1024, depth=24, num_heads=16, mlp_dim=4096),
    text=TextTowerConfig(64, 32_100, width=1024, depth=24, num_heads=16, mlp_dim=4096),
)

SO400M_14 = ModelConfig(
    embed_dim=1152,
    image=ImageTowerConfig(224, 14, width=1152, depth=27, num_heads=16, mlp_dim=4304),
    text=TextTowerConfig(64, 32_100, width=1152, depth=27, num_heads=16, mlp_dim=4304),
)

VIT_H14 = ModelConfig(
    embed_dim=1024,
    image=ImageTowerConfig(
        224, 14, width=1280, depth=32, num_heads=16, mlp_dim=5120, activation="quick_gelu"
    ),
    text=TextTowerConfig(
        77,
        49_408,
        width=1024,
        depth=24,
        num_heads=16,
        mlp_dim=4096,
        activation="quick_gelu",
        norm_eps=1e-5,
    ),
)

SIZES: dict[str, ModelConfig] = {
    "tiny": TINY,
    "emoji": EMOJI,
    "vit_s16": VIT_S16,
    "vit_b16": VIT_B16,
    "vit_b16_long": VIT_B16_LONG,
    "vit_l16": VIT_L16,
    "so400m_14": SO400M_14,
    "vit_h14": VIT_H14,
}
