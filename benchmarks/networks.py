"""Networks that the benchmarks are measured on, with two logits and random weights, in plain torch.

Their sizes are those of the publications. Running statistics are taken once from random pictures, so that activations
have the scale of a trained network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from xaibench.api import Detector, Runtime
from xaibench.discovery.components import open_component
from xaibench.discovery.registry import load_registry
from xaibench_models.torch_card import TorchKeys
from xaibench_models.torch_loading import Loaded
from xaibench_models.torch_model import build

SIDE = 224
FAKE = 1


# ---- ResNet-18 ------------------------------------------------------------------------------------------------------


class Block(nn.Module):
    """A basic block of ResNet (He et al. 2015)."""

    def __init__(self, fan_in: int, fan_out: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(fan_in, fan_out, 3, stride, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(fan_out)
        self.second = nn.Conv2d(fan_out, fan_out, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(fan_out)
        same = stride == 1 and fan_in == fan_out
        self.shortcut = nn.Identity() if same else nn.Conv2d(fan_in, fan_out, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.first_norm(self.first(x)).relu()
        return (self.second_norm(self.second(inner)) + self.shortcut(x)).relu()


def resnet18() -> nn.Module:
    """ResNet-18 for two classes, with random weights; its running statistics are those before training."""
    torch.manual_seed(0)
    widths = (64, 64, 128, 128, 256, 256, 512, 512)
    blocks = [Block(a, b, 1 if a == b else 2) for a, b in zip((64, *widths), widths, strict=False)]
    return nn.Sequential(
        nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1), *blocks,
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 2),
    ).eval()  # fmt: skip


# ---- EfficientNet-B0 ------------------------------------------------------------------------------------------------


class SqueezeExcitation(nn.Module):
    """Channels weighted by a gate that sees their means (Hu et al. 2018)."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.reduce, self.expand = nn.Conv2d(channels, squeezed, 1), nn.Conv2d(squeezed, channels, 1)
        self.activation = nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        gate = self.expand(self.activation(self.reduce(x.mean((2, 3), keepdim=True))))
        return x * gate.sigmoid()


def convolution(fan_in: int, fan_out: int, kernel: int, stride: int, groups: int = 1) -> list[nn.Module]:
    """A convolution without bias and its normalisation."""
    conv = nn.Conv2d(fan_in, fan_out, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(fan_out)]


class MBConv(nn.Module):
    """An inverted residual with a depthwise convolution and squeeze-excitation (Tan and Le 2019, table 1)."""

    def __init__(self, fan_in: int, fan_out: int, *, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = fan_in * expansion
        widened = [*convolution(fan_in, inner, 1, 1), nn.SiLU()] if expansion > 1 else []
        depthwise = [*convolution(inner, inner, kernel, stride, groups=inner), nn.SiLU()]
        squeezed = SqueezeExcitation(inner, max(1, fan_in // 4))
        self.layers = nn.Sequential(*widened, *depthwise, squeezed, *convolution(inner, fan_out, 1, 1))
        self.residual = stride == 1 and fan_in == fan_out

    def forward(self, x: Tensor) -> Tensor:
        inner: Tensor = self.layers(x)
        return x + inner if self.residual else inner


_STAGES = (  # expansion, channels, blocks, stride, kernel
    (1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5), (6, 192, 4, 2, 5), (6, 320, 1, 1, 3),
)  # fmt: skip


def efficientnet_b0() -> nn.Module:
    """EfficientNet-B0 for two classes (Tan and Le 2019, table 1): 4.0 million weights, .39 billion multiplications."""
    torch.manual_seed(0)
    layers: list[nn.Module] = [*convolution(3, 32, 3, 2), nn.SiLU()]
    width = 32
    for expansion, channels, blocks, stride, kernel in _STAGES:
        for i in range(blocks):
            step = 1 if i else stride
            layers.append(MBConv(width, channels, kernel=kernel, stride=step, expansion=expansion))
            width = channels
    layers += [*convolution(width, 1280, 1, 1), nn.SiLU()]
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1280, 2))
    return settled(network)


def settled(network: nn.Module) -> nn.Module:
    """In evaluation mode, its running statistics those of eight random pictures."""
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None
    network.train()
    with torch.no_grad():
        network(torch.rand(8, 3, SIDE, SIDE))
    return network.eval()


# ---- ViT-S/16 -------------------------------------------------------------------------------------------------------


class Attention(nn.Module):
    """Self-attention of several heads."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        parts = self.qkv(x).reshape(batch, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        mixed = nn.functional.scaled_dot_product_attention(parts[0], parts[1], parts[2])
        joined: Tensor = self.out(mixed.transpose(1, 2).reshape(batch, tokens, width))
        return joined


class Layer(nn.Module):
    """A layer of the encoder, normalised before attention and before its two linear maps."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention_norm, self.attention = nn.LayerNorm(width, eps=1e-6), Attention(width, heads)
        self.mlp_norm = nn.LayerNorm(width, eps=1e-6)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.attention_norm(x))
        deeper: Tensor = x + self.mlp(self.mlp_norm(x))
        return deeper


class VisionTransformer(nn.Module):
    """ViT (Dosovitskiy et al. 2021) for two classes, read off its class token."""

    def __init__(self, *, width: int, heads: int, depth: int, patch: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, patch)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(0.02 * torch.randn(1, (SIDE // patch) ** 2 + 1, width))
        self.layers = nn.Sequential(*(Layer(width, heads) for _ in range(depth)))
        self.norm, self.head = nn.LayerNorm(width, eps=1e-6), nn.Linear(width, 2)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(len(x), -1, -1), tokens], dim=1) + self.positions
        scores: Tensor = self.head(self.norm(self.layers(tokens))[:, 0])
        return scores


def vit_s16() -> nn.Module:
    """ViT-S/16 (width 384, 6 heads, 12 layers): 21.7 million weights, 4.6 billion multiplications."""
    torch.manual_seed(0)
    return VisionTransformer(width=384, heads=6, depth=12, patch=16).eval()


# ---- detectors ------------------------------------------------------------------------------------------------------

LARGE: Mapping[str, Callable[[], nn.Module]] = {
    "resnet": resnet18, "efficientnet": efficientnet_b0, "vit": vit_s16,
}  # fmt: skip
"""Networks of 224 x 224 pixels by name."""
NETWORKS = ("demo", *LARGE)


def demo_detector() -> Detector:
    model = open_component("model", "demo", registry=load_registry()).instance
    return model.open(model.members()[0], Runtime(threads=torch.get_num_threads()))


def detector_of(network: str, lean: float = 0.0) -> Detector:
    """The demo detector, or a large network, whose logit of *fake* is raised by ``lean``."""
    if network == "demo":
        return demo_detector()
    module = LARGE[network]().requires_grad_(False)
    if lean:
        last = [m for m in module.modules() if isinstance(m, nn.Linear) and m.out_features == 2][-1]
        last.bias += lean * torch.eye(2)[FAKE]
    loaded = Loaded(module=module, digest=f"{network} {lean}", form="module", hooks=True, copy=lambda m: m)
    return build(loaded, TorchKeys(size=SIDE, activation="logit"), Runtime(), network)


def module_of(network: str) -> nn.Module:
    """The torch module alone, as other libraries take it: pictures in [0, 1] to two logits."""
    if network != "demo":
        return LARGE[network]().requires_grad_(False)
    detector: object = demo_detector()
    module: nn.Module = detector.network.module  # type: ignore[attr-defined]
    return module
