"""The train step of two towers in plain PyTorch, to set beside ours: benchmarks/train_step.py.

Vision transformer and text transformer with tokens for mean and log-variance, the pairwise sigmoid
loss over their Gaussians, AdamW: what our step computes, less the bottleneck and inclusion terms
and the masked views. Written with what PyTorch has for it: fused attention, the fused optimizer.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from prolip.config import ImageTowerConfig, TextTowerConfig, TrainConfig

EXTRA = 2  # [CLS] and [UNC].


class Block(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, tower: ImageTowerConfig | TextTowerConfig):
        super().__init__()
        width = tower.width
        self.heads = tower.num_heads
        self.norm_attention = nn.LayerNorm(width, eps=tower.norm_eps)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm_mlp = nn.LayerNorm(width, eps=tower.norm_eps)
        self.up = nn.Linear(width, tower.mlp_dim)
        self.down = nn.Linear(tower.mlp_dim, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[batch, length, width] to the same."""
        qkv = self.qkv(self.norm_attention(x)).unflatten(-1, (3, self.heads, -1))
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(query, key, value)
        x = x + self.out(attended.transpose(1, 2).flatten(2))
        return x + self.down(F.gelu(self.up(self.norm_mlp(x))))


class Tower(nn.Module):
    """Blocks over tokens and the two extra ones, and the heads of mean and log-variance."""

    def __init__(self, tower: ImageTowerConfig | TextTowerConfig, length: int, dim: int):
        super().__init__()
        self.extra = nn.Parameter(torch.randn(EXTRA, tower.width) * 0.01)
        self.positions = nn.Parameter(torch.randn(EXTRA + length, tower.width) * 0.01)
        self.blocks = nn.Sequential(*(Block(tower) for _ in range(tower.depth)))
        self.norm = nn.LayerNorm(tower.width, eps=tower.norm_eps)
        self.mean = nn.Linear(tower.width, dim)
        self.log_var = nn.Linear(tower.width, dim)
        nn.init.constant_(self.log_var.bias, -10.0)

    def embed(self, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """[batch, length, width] to unit means and log-variances [batch, dim]."""
        x = torch.cat([self.extra.expand(len(tokens), -1, -1).to(tokens.dtype), tokens], 1)
        x = self.norm(self.blocks(x + self.positions)[:, :EXTRA])
        return F.normalize(self.mean(x[:, 0]).float(), dim=-1), self.log_var(x[:, 1]).float()


class ImageTower(Tower):
    """Over the patches of an image."""

    def __init__(self, config: TrainConfig):
        image = config.model.image
        super().__init__(image, (image.image_size // image.patch) ** 2, config.model.embed_dim)
        self.patches = nn.Conv2d(3, image.width, image.patch, image.patch, bias=False)
        self.register_buffer("center", torch.tensor(config.data.mean).view(3, 1, 1))
        self.register_buffer("deviation", torch.tensor(config.data.std).view(3, 1, 1))

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """UInt8[batch, height, width, 3]."""
        pixels = (images.permute(0, 3, 1, 2).float() / 255 - self.center) / self.deviation
        return self.embed(self.patches(pixels).flatten(2).transpose(1, 2))


class TextTower(Tower):
    """Over the tokens of a text."""

    def __init__(self, config: TrainConfig):
        text = config.model.text
        super().__init__(text, text.length, config.model.embed_dim)
        self.tokens = nn.Embedding(text.vocab_size, text.width)

    def forward(self, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Int[batch, length]."""
        return self.embed(self.tokens(ids))


class Pair(nn.Module):
    """Both towers, the scalars of the logit, and the loss."""

    def __init__(self, config: TrainConfig):
        super().__init__()
        self.image, self.text = ImageTower(config), TextTower(config)
        self.log_scale = nn.Parameter(torch.tensor(config.model.logit_scale_init).log())
        self.bias = nn.Parameter(torch.tensor(config.model.logit_bias_init))

    def forward(self, images: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        """-1/B sum_ij log sigmoid(y_ij (scale (m_i . m_j - (tr_i + tr_j) / 2) + bias))."""
        (image, image_log_var), (text, text_log_var) = self.image(images), self.text(ids)
        traces = image_log_var.exp().sum(-1)[:, None] + text_log_var.exp().sum(-1)
        logits = self.log_scale.exp() * (image @ text.T - traces / 2) + self.bias
        signs = 2 * torch.eye(len(logits), device=logits.device) - 1
        return -F.logsigmoid(signs * logits).sum() / len(logits)


def make_step(config: TrainConfig, batch: Any) -> Callable[[], float]:
    """A function that does one step on these images and texts and gives the loss."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    images, ids = (torch.from_numpy(np.array(x)).to(device) for x in (batch.image, batch.text))
    half = config.model.dtype == "bfloat16"
    options = config.optimizer
    model = Pair(config).to(device)
    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=options.learning_rate / max(options.warmup_steps, 1),
        betas=(options.b1, options.b2),
        eps=options.eps,
        weight_decay=options.weight_decay,
        fused=True,
    )

    def step() -> float:
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            loss = model(images, ids)
        loss.backward()
        optimizer.step()
        return loss.item()  # Waits.

    return step
