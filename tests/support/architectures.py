"""Small, randomly initialised networks built like those that detectors use, without torchvision. Each ends in 2 logits.

Normalisations have running statistics, weights and biases that are no ones and zeros, so that folding them wrongly
shows. ``ARCHITECTURES[name]`` says how to build one, how large its pictures are and on which grid its last layer lies.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Architecture:
    """``grid``: rows and columns of the layer that class activation maps should look at; ``extra``: tokens beside it."""

    build: Callable[[], nn.Module]
    size: int
    grid: tuple[int, int]
    extra: int = 0


def built(name: str) -> nn.Module:
    """The network of that name, the same each time, in evaluation mode."""
    architecture = ARCHITECTURES[name]
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        network = architecture.build()
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 1.0  # running statistics become those of the pictures below
            if isinstance(module, nn.BatchNorm2d | nn.LayerNorm):
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.2)
        network.train()(torch.rand(8, 3, architecture.size, architecture.size))
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean += 0.3 * module.running_var.sqrt() * torch.randn_like(module.running_mean)
                module.running_var *= torch.empty_like(module.running_var).uniform_(0.5, 2.0)
    return network.eval().requires_grad_(False)


def conv_norm(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs))


def head(width: int) -> nn.Sequential:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(1), nn.Linear(width, 2))


# ---- convolutional ----------------------------------------------------------------------------------------------


class Residual(nn.Module):
    """A basic block of ResNet."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.one, self.two = conv_norm(inputs, outputs, 3, stride), conv_norm(outputs, outputs)
        self.short = conv_norm(inputs, outputs, 1, stride) if stride > 1 or inputs != outputs else nn.Identity()
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.two(self.relu(self.one(x))) + self.short(x))


def resnet() -> nn.Module:
    stem = (*conv_norm(3, 8, 7, 2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1))
    return nn.Sequential(*stem, Residual(8, 8, 1), Residual(8, 16, 2), Residual(16, 24, 2), head(24))


class Squeeze(nn.Module):
    """Squeeze and excitation."""

    def __init__(self, width: int, act: type[nn.Module], gate: type[nn.Module]) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(width, 4, 1), nn.Conv2d(4, width, 1)
        self.act, self.gate = act(), gate()

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(self.up(self.act(self.down(x.mean((2, 3), keepdim=True)))))


class Inverted(nn.Module):
    """An inverted bottleneck: expand, depthwise, squeeze and excitation, project."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int, act: type[nn.Module], gate: type[nn.Module]
    ) -> None:
        super().__init__()
        wide = 2 * inputs
        self.body = nn.Sequential(
            *conv_norm(inputs, wide, 1), act(), *conv_norm(wide, wide, kernel, stride, wide), act(),
            Squeeze(wide, nn.ReLU if gate is nn.Hardsigmoid else act, gate), *conv_norm(wide, outputs, 1),
        )  # fmt: skip
        self.skip = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x) if self.skip else self.body(x)


def efficientnet() -> nn.Module:
    blocks = [Inverted(8, 12, 3, 2, nn.SiLU, nn.Sigmoid), Inverted(12, 12, 5, 1, nn.SiLU, nn.Sigmoid)]
    return nn.Sequential(*conv_norm(3, 8, 3, 2), nn.SiLU(), *blocks, *conv_norm(12, 20, 1), nn.SiLU(), head(20))


def mobilenet() -> nn.Module:
    blocks = [Inverted(8, 12, 3, 2, nn.Hardswish, nn.Hardsigmoid), Inverted(12, 12, 5, 1, nn.Hardswish, nn.Hardsigmoid)]
    last = (
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(1),
        nn.Linear(20, 16),
        nn.Hardswish(),
        nn.Dropout(0.2),
        nn.Linear(16, 2),
    )
    return nn.Sequential(*conv_norm(3, 8, 3, 2), nn.Hardswish(), *blocks, *conv_norm(12, 20, 1), nn.Hardswish(), *last)


class Separable(nn.Module):
    """A block of Xception: depthwise and pointwise convolutions, a strided shortcut."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.ReLU(), nn.Conv2d(inputs, inputs, 3, 1, 1, groups=inputs, bias=False), *conv_norm(inputs, outputs, 1),
            nn.ReLU(), nn.Conv2d(outputs, outputs, 3, 1, 1, groups=outputs, bias=False), *conv_norm(outputs, outputs, 1),
            nn.MaxPool2d(3, 2, 1),
        )  # fmt: skip
        self.short = conv_norm(inputs, outputs, 1, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x) + self.short(x)


def xception() -> nn.Module:
    stem = (*conv_norm(3, 8, 3, 2), nn.ReLU(inplace=True))
    return nn.Sequential(
        *stem, Separable(8, 12), Separable(12, 16), *conv_norm(16, 20, 1), nn.ReLU(inplace=True), head(20)
    )


class Dense(nn.Module):
    """A layer of DenseNet: what it finds is joined to what it was given."""

    def __init__(self, inputs: int, growth: int = 6) -> None:
        super().__init__()
        self.one = nn.Sequential(nn.BatchNorm2d(inputs), nn.ReLU(), nn.Conv2d(inputs, 12, 1, bias=False))
        self.two = nn.Sequential(nn.BatchNorm2d(12), nn.ReLU(), nn.Conv2d(12, growth, 3, 1, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((x, self.two(self.one(x))), 1)


class DenseNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        between = (nn.BatchNorm2d(20), nn.ReLU(), nn.Conv2d(20, 10, 1, bias=False), nn.AvgPool2d(2, 2))
        self.features = nn.Sequential(
            *conv_norm(3, 8, 3, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1), Dense(8), Dense(14), *between, Dense(10), Dense(16),
            nn.BatchNorm2d(22),
        )  # fmt: skip
        self.classifier = nn.Linear(22, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(F.adaptive_avg_pool2d(F.relu(self.features(x)), (1, 1)).flatten(1))


class Branches(nn.Module):
    """An Inception block: 1x1, 1x7 and 7x1, and average pooling that does not count the padding."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.one = conv_norm(inputs, 6, 1)
        row, column = nn.Conv2d(6, 6, (1, 7), padding=(0, 3)), nn.Conv2d(6, 6, (7, 1), padding=(3, 0))
        self.seven = nn.Sequential(*conv_norm(inputs, 6, 1), nn.ReLU(), row, column)
        self.pool = nn.Sequential(nn.AvgPool2d(3, 1, 1, count_include_pad=False), *conv_norm(inputs, 6, 1))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(torch.cat((self.one(x), self.seven(x), self.pool(x)), 1))


def inception() -> nn.Module:
    shrink = nn.MaxPool2d(3, 2, ceil_mode=True)
    return nn.Sequential(*conv_norm(3, 8, 3, 2), nn.ReLU(), shrink, Branches(8), Branches(18), head(18))


class NormFirst(nn.Module):
    """Layer normalisation over the channels of a channels-first tensor, as ConvNeXt's stem does it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvNeXtBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.depth = nn.Conv2d(width, width, 7, 1, 3, groups=width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.scale = nn.Parameter(torch.rand(width))

    def forward(self, x: Tensor) -> Tensor:
        y = self.scale * self.mlp(self.norm(self.depth(x).permute(0, 2, 3, 1)))
        return x + y.permute(0, 3, 1, 2)


class ConvNeXt(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        shrink = (NormFirst(8), nn.Conv2d(8, 12, 2, 2))
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 4, 4), NormFirst(8), ConvNeXtBlock(8), *shrink, ConvNeXtBlock(12), ConvNeXtBlock(12)
        )
        self.norm, self.head = nn.LayerNorm(12, eps=1e-6), nn.Linear(12, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.features(x).mean((-2, -1))))


# ---- transformers -----------------------------------------------------------------------------------------------


class OwnAttention(nn.Module):
    """Self-attention written out, as in timm; ``fused`` uses torch's own function."""

    def __init__(self, width: int, heads: int = 2, fused: bool = False) -> None:
        super().__init__()
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.heads, self.fused = heads, fused

    def forward(self, x: Tensor) -> Tensor:
        n, length, width = x.shape
        q, k, v = self.qkv(x).reshape(n, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        if self.fused:
            mixed = F.scaled_dot_product_attention(q, k, v)
        else:
            mixed = ((q * (width // self.heads) ** -0.5) @ k.transpose(-2, -1)).softmax(dim=-1) @ v
        return self.proj(mixed.transpose(1, 2).reshape(n, length, width))


class TorchAttention(nn.Module):
    """``nn.MultiheadAttention``, as in torchvision."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.MultiheadAttention(width, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x, x, x, need_weights=False)[0]


class Block(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self, attention: nn.Module, width: int, act: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.attention, self.act = attention, act
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, 3 * width), nn.Linear(3 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.down(self.act(self.up(self.norm2(x))))


class ViT(nn.Module):
    """Patches, a class token, blocks; the verdict from the class token, or from the mean of the patches."""

    def __init__(self, attention: Callable[[int], nn.Module], width: int = 12, by_class: bool = True) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, width, 8, 8)
        self.token, self.position = nn.Parameter(torch.randn(1, 1, width)), nn.Parameter(torch.randn(1, 17, width))
        self.blocks = nn.Sequential(*(Block(attention(width), width, F.gelu) for _ in range(3)))
        self.norm, self.head, self.by_class = nn.LayerNorm(width), nn.Linear(width, 2), by_class

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patch(x).flatten(2).transpose(1, 2)
        tokens = torch.cat((self.token.expand(x.shape[0], -1, -1), tokens), 1) + self.position
        tokens = self.norm(self.blocks(tokens))
        return self.head(tokens[:, 0] if self.by_class else tokens[:, 1:].mean(1))


def quick_gelu(x: Tensor) -> Tensor:
    return x * torch.sigmoid(1.702 * x)


class ClipTower(nn.Module):
    """The picture half of CLIP: no bias in the patches, normalisation before the blocks, a projection at the end."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, width, 8, 8, bias=False)
        self.token, self.position = nn.Parameter(torch.randn(width)), nn.Parameter(torch.randn(17, width))
        self.before, self.after = nn.LayerNorm(width), nn.LayerNorm(width)
        self.blocks = nn.Sequential(*(Block(_SequenceFirst(width), width, quick_gelu) for _ in range(2)))
        self.projection, self.head = nn.Parameter(torch.randn(width, 10) * width**-0.5), nn.Linear(10, 2)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patch(x).flatten(2).permute(0, 2, 1)
        token = self.token + torch.zeros(x.shape[0], 1, self.token.shape[0], device=x.device, dtype=x.dtype)
        tokens = self.before(torch.cat((token, tokens), 1) + self.position)
        tokens = self.blocks(tokens.permute(1, 0, 2)).permute(1, 0, 2)
        found = self.after(tokens[:, 0]) @ self.projection
        return self.head(found / found.norm(dim=-1, keepdim=True))


class _SequenceFirst(nn.Module):
    """``nn.MultiheadAttention`` on tokens as (length, pictures, width)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.MultiheadAttention(width, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x, x, x, need_weights=False)[0]


class WindowAttention(nn.Module):
    """Swin's attention within (shifted) windows, with a bias for each relative position and a mask at the seams."""

    def __init__(self, width: int, side: int, window: int, shift: int, heads: int = 2) -> None:
        super().__init__()
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.window, self.shift, self.heads = window, shift, heads
        self.table = nn.Parameter(torch.randn((2 * window - 1) ** 2, heads))
        self.register_buffer("index", _relative_index(window))
        self.register_buffer("mask", _seam_mask(side, window, shift))

    def forward(self, x: Tensor) -> Tensor:
        n, height, width, channels = x.shape
        w = self.window
        if self.shift:
            x = torch.roll(x, (-self.shift, -self.shift), (1, 2))
        x = x.view(n, height // w, w, width // w, w, channels).permute(0, 1, 3, 2, 4, 5).reshape(-1, w * w, channels)
        x = self._within(x)
        x = (
            x.view(n, height // w, width // w, w, w, channels)
            .permute(0, 1, 3, 2, 4, 5)
            .reshape(n, height, width, channels)
        )
        return torch.roll(x, (self.shift, self.shift), (1, 2)) if self.shift else x

    def _within(self, x: Tensor) -> Tensor:
        count, length, channels = x.shape
        each = channels // self.heads
        q, k, v = self.qkv(x).reshape(count, length, 3, self.heads, each).permute(2, 0, 3, 1, 4).unbind(0)
        bias = self.table[self.index.view(-1)].view(length, length, self.heads).permute(2, 0, 1)
        weights = (q * each**-0.5) @ k.transpose(-2, -1) + bias
        if self.shift:
            windows = len(self.mask)
            weights = weights.view(-1, windows, self.heads, length, length) + self.mask[:, None]
            weights = weights.view(-1, self.heads, length, length)
        return self.proj((weights.softmax(-1) @ v).transpose(1, 2).reshape(count, length, channels))


def _relative_index(window: int) -> Tensor:
    at = torch.stack(torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")).flatten(1)
    apart = at[:, :, None] - at[:, None] + window - 1
    return apart[0] * (2 * window - 1) + apart[1]


def _seam_mask(side: int, window: int, shift: int) -> Tensor:
    """``(windows, w*w, w*w)``: -100 between cells that a shift has brought together."""
    parts = (slice(0, -window), slice(-window, -shift or None), slice(-shift or side, None))
    region = torch.zeros(side, side)
    for i, rows in enumerate(parts):
        for j, columns in enumerate(parts):
            region[rows, columns] = 3 * i + j
    cut = region.view(side // window, window, side // window, window).permute(0, 2, 1, 3).reshape(-1, window**2)
    return (cut[:, None] != cut[:, :, None]).float() * -100.0


class SwinBlock(nn.Module):
    def __init__(self, width: int, side: int, shift: int) -> None:
        super().__init__()
        self.attention = WindowAttention(width, side, min(4, side), shift)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class PatchMerging(nn.Module):
    """Four neighbours become one cell."""

    def __init__(self, width: int, wider: int) -> None:
        super().__init__()
        self.norm, self.reduce = nn.LayerNorm(4 * width), nn.Linear(4 * width, wider, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        corners = (x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2])
        return self.reduce(self.norm(torch.cat(corners, -1)))


class Swin(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patch, self.embed = nn.Conv2d(3, 8, 4, 4), nn.LayerNorm(8)
        self.stages = nn.Sequential(
            SwinBlock(8, 8, 0), SwinBlock(8, 8, 2), PatchMerging(8, 12), SwinBlock(12, 4, 0), SwinBlock(12, 4, 0)
        )
        self.norm, self.head = nn.LayerNorm(12), nn.Linear(12, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.stages(self.embed(self.patch(x).permute(0, 2, 3, 1))))
        return self.head(F.adaptive_avg_pool2d(x.permute(0, 3, 1, 2), 1).flatten(1))


ARCHITECTURES: dict[str, Architecture] = {
    "resnet": Architecture(resnet, 64, (4, 4)),
    "efficientnet": Architecture(efficientnet, 32, (8, 8)),
    "mobilenet": Architecture(mobilenet, 32, (8, 8)),
    "xception": Architecture(xception, 48, (6, 6)),
    "densenet": Architecture(DenseNet, 48, (6, 6)),
    "inception": Architecture(inception, 48, (12, 12)),
    "convnext": Architecture(ConvNeXt, 32, (4, 4)),
    "vit": Architecture(lambda: ViT(OwnAttention), 32, (4, 4), 1),
    "vit-mean": Architecture(lambda: ViT(lambda w: OwnAttention(w, fused=True), by_class=False), 32, (4, 4), 1),
    "vit-torch": Architecture(lambda: ViT(TorchAttention), 32, (4, 4), 1),
    "swin": Architecture(Swin, 32, (4, 4)),
    "clip": Architecture(ClipTower, 32, (4, 4), 1),
}
