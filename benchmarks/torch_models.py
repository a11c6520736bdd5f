"""The ViT and FedTP's hypernetwork in plain PyTorch, with fused query, key and value projections.

Modules are named as in the FedTP authors' code (and vit-pytorch), for which the tests know our names.
Axes: B batch, H W C image, S tokens, M = dim, A heads, F = dim_head, K clients.
Nothing but PyTorch is imported, so that other simulators' environments can train the same ViT.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from fedtp_jax import config

QKV = "fn.to_qkv.weight"  # how the names of the generated parameters end


class Patches(nn.Module):
    """Images [B, H, W, C] -> [B, patches, size^2 * C]."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, h, w, c = x.shape
        p = self.size
        return x.reshape(b, h // p, p, w // p, p, c).transpose(2, 3).reshape(b, -1, p * p * c)


class Attention(nn.Module):
    """Multi-head self-attention, [B, S, M] -> [B, S, M]."""

    def __init__(self, dim: int, heads: int, dim_head: int, dropout: float) -> None:
        super().__init__()
        self.split = (3, heads, dim_head)
        self.to_qkv = nn.Linear(dim, 3 * heads * dim_head, bias=False)
        self.to_out = nn.Sequential(nn.Linear(heads * dim_head, dim), nn.Dropout(dropout))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        query, key, value = self.to_qkv(x).unflatten(-1, self.split).permute(2, 0, 3, 1, 4)
        # by hand: on CPU faster than scaled_dot_product_attention for so few tokens
        scores = query @ key.transpose(-1, -2) * self.split[-1] ** -0.5
        return self.to_out((scores.softmax(-1) @ value).transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    """Two linear layers with an exact GELU between them."""

    def __init__(self, dim: int, hidden: int, dropout: float) -> None:
        super().__init__()
        up, down = nn.Linear(dim, hidden), nn.Linear(hidden, dim)
        self.net = nn.Sequential(up, nn.GELU(), nn.Dropout(dropout), down, nn.Dropout(dropout))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x)


class PreNorm(nn.Module):
    """x + fn(norm(x))."""

    def __init__(self, dim: int, fn: nn.Module) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.fn = fn

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.fn(self.norm(x))


class Vit(nn.Module):
    """Images [B, H, W, C] of `shape` -> logits [B, classes]."""

    def __init__(self, settings: config.Vit, shape: tuple[int, ...], classes: int) -> None:
        super().__init__()
        dim, size, dropout = settings.dim, settings.patch_size, settings.dropout
        height, width, channels = shape
        patches = (height // size) * (width // size)
        self.pos_embedding = nn.Parameter(torch.randn(1, 1 + patches, dim))
        self.cls_token = nn.Parameter(torch.randn(1, 1, dim))
        self.to_patch_embedding = nn.Sequential(Patches(size), nn.Linear(size**2 * channels, dim))
        self.dropout = nn.Dropout(dropout)
        blocks = [
            nn.Sequential(
                PreNorm(dim, Attention(dim, settings.heads, settings.dim_head, dropout)),
                PreNorm(dim, Mlp(dim, settings.mlp_dim, dropout)),
            )
            for _ in range(settings.depth)
        ]
        self.transformer = nn.Sequential(OrderedDict(layers=nn.Sequential(*blocks)))
        self.mlp_head = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, classes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.to_patch_embedding(x)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1) + self.pos_embedding
        return self.mlp_head(self.transformer(self.dropout(x))[:, 0])


class Hypernetwork(nn.Module):
    """Client ids [K] -> the fused projections of every block, a list of [K, 3 * A * F, M]."""

    def __init__(self, settings: config.Hypernetwork, clients: int, model: Vit) -> None:
        super().__init__()
        hidden = settings.hidden
        self.embeddings = nn.Embedding(clients, settings.embedding)
        trunk: list[nn.Module] = [nn.Linear(settings.embedding, hidden)]
        for _ in range(settings.layers):
            trunk += [nn.ReLU(), nn.Linear(hidden, hidden)]
        self.mlp = nn.Sequential(*trunk)
        self.shapes = [p.shape for p in generated(model)]
        self.to_qkv_value_list = nn.ModuleList(nn.Linear(hidden, shape.numel()) for shape in self.shapes)

    def forward(self, ids: torch.Tensor) -> list[torch.Tensor]:
        x = self.mlp(self.embeddings(ids))
        heads = zip(self.to_qkv_value_list, self.shapes, strict=True)
        return [head(x).unflatten(-1, shape) for head, shape in heads]


def generated(model: Vit) -> list[nn.Parameter]:
    """The parameters that FedTP's hypernetwork generates, block by block."""
    return [parameter for name, parameter in model.named_parameters() if name.endswith(QKV)]
