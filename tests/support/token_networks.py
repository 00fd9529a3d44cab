"""A small vision transformer."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Tokens(nn.Module):
    """A small ViT with a class token. ``form``: how its attention is written."""

    def __init__(self, form: str = "explicit", classes: int = 2) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.form = form
        self.patches = nn.Conv2d(3, 8, 4, stride=4)
        self.first = nn.Parameter(torch.randn(1, 1, 8))
        self.mix = nn.MultiheadAttention(8, 2, batch_first=True)
        self.classify = nn.Linear(8, classes)

    def forward(self, images: Tensor) -> Tensor:
        x = self.patches(images).flatten(2).transpose(1, 2)
        x = torch.cat([self.first.expand(x.shape[0], -1, -1), x], dim=1)
        x = x + self.attend(x)
        return self.classify(x[:, 0])

    def attend(self, x: Tensor) -> Tensor:
        if self.form == "module":
            return self.mix(x, x, x, need_weights=False)[0]
        q, k, v = F.linear(x, self.mix.in_proj_weight, self.mix.in_proj_bias).chunk(3, dim=2)
        q, k, v = (t.unflatten(2, (2, 4)).transpose(1, 2) for t in (q, k, v))
        if self.form == "fused":
            mixed = F.scaled_dot_product_attention(q, k, v)
        elif self.form == "flat":
            flat = [t.reshape(-1, *t.shape[2:]) for t in (q, k, v)]
            mixed = (torch.bmm(flat[0], flat[1].transpose(1, 2)) / 2).softmax(-1).bmm(flat[2]).view_as(v)
        else:
            mixed = F.softmax(q @ k.transpose(2, 3) / 2, dim=-1) @ v
        return self.mix.out_proj(mixed.transpose(1, 2).flatten(2))
