"""The layer that takes a batch normalisation's place: it whitens channels and turns them to chosen axes."""

from __future__ import annotations

from types import MappingProxyType
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from xaibench_training.whitening.decorrelation import moments, newton_root, settled_group, ungrouped

Statistics = Literal["covariance", "published"]

MOMENTUM: MappingProxyType[Statistics, float] = MappingProxyType({"covariance": 0.1, "published": 0.9})
"""Weight of the newest batch in the running statistics: IterNorm's, and that of the published patch alignment."""


class Whitening(nn.Module):
    """``y = R W (x - mu)`` at each position of ``(N, C, H, W)``, in the same shape.

    ``W`` is block-diagonal, :func:`newton_root` of the covariance of each group of channels; ``R`` is orthogonal over
    all C channels, since axis j of R W is what patch j is aligned to and a patch may need channels of several groups.
    Correlation between groups is left and R mixes it in. There are no trained parameters: no affine part, and R, the
    identity at first, is turned by :meth:`turn` only.

    Training uses the batch's statistics, and gradients flow through W. Evaluation uses running ones, folded into one
    1 x 1 convolution whenever the layer changes to evaluation or is loaded: ``published`` averages W itself (Hua et
    al.'s code, concept whitening, IterNorm), which is not the root of any covariance, ``covariance`` averages Sigma
    and takes its root once. The k-th batch weighs ``max(momentum, 1 / k)``, so that, unlike in batch normalisation,
    nothing of the arbitrary first value is left after short trainings.

    Sources: Hua et al. 2021 (arXiv 2106.10834); Chen, Bei and Rudin 2020 (concept whitening); Huang et al. 2019.
    """

    running_mean: Tensor
    running_matrix: Tensor
    rotation: Tensor
    batches: Tensor
    projection: Tensor
    offset: Tensor

    def __init__(
        self,
        channels: int,
        *,
        group_size: int = 64,
        iterations: int = 10,
        momentum: float | None = None,
        epsilon: float = 1e-5,
        statistics: Statistics = "covariance",
    ) -> None:
        """``group_size``: at most; see :func:`settled_group`, which raises :class:`UsageError`. ``momentum`` None:
        ``MOMENTUM`` of the statistics. ``epsilon`` is added to the covariance's diagonal, in the activation's units
        squared."""
        super().__init__()
        self.channels = channels
        self.group_size = settled_group(channels, group_size)
        self.iterations = iterations
        self.momentum = MOMENTUM[statistics] if momentum is None else momentum
        self.epsilon = epsilon
        self.statistics: Statistics = statistics
        blocks = torch.eye(self.group_size).repeat(channels // self.group_size, 1, 1)
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_matrix", blocks)
        self.register_buffer("rotation", torch.eye(channels))
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))
        # follow from the others, so that no file can contradict itself
        self.register_buffer("projection", torch.eye(channels)[:, :, None, None], persistent=False)
        self.register_buffer("offset", torch.zeros(channels), persistent=False)
        self.register_load_state_dict_post_hook(_fold_loaded)  # type: ignore[no-untyped-call]
        self.fold()

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return functional.conv2d(x, self.projection, self.offset)
        batch = moments(x, self.group_size, self.epsilon)
        if batch.centred.shape[-1] < 2:
            raise ValueError(f"whitening needs more than one value a channel in training, got {tuple(x.shape)}")
        root = newton_root(batch.covariance, self.iterations)
        self._track(batch.mean, root if self.statistics == "published" else batch.covariance)
        return self.turned(ungrouped(root @ batch.centred, x.shape))

    @torch.no_grad()
    def _track(self, mean: Tensor, matrix: Tensor) -> None:
        self.batches += 1
        weight = (1 / self.batches).clamp(min=self.momentum).to(mean.dtype)
        self.running_mean.lerp_(mean, weight)
        self.running_matrix.lerp_(matrix, weight)

    def train(self, mode: bool = True) -> Whitening:
        super().train(mode)
        if not mode:
            self.fold()
        return self

    @torch.no_grad()
    def fold(self) -> None:
        """Bring what evaluation uses up to the running statistics and the rotation, in float64 on the CPU."""
        projection = self.rotation.cpu().double() @ torch.block_diag(*self._root())  # type: ignore[no-untyped-call]
        self.projection.copy_(projection[:, :, None, None])
        self.offset.copy_(-projection @ self.running_mean.cpu().double())

    def _root(self) -> Tensor:
        """``(C/g, g, g)`` float64 on the CPU: W of the running statistics."""
        matrix = self.running_matrix.cpu().double()
        return matrix if self.statistics == "published" else newton_root(matrix, self.iterations)

    def turned(self, whitened: Tensor) -> Tensor:
        """``R x`` at each position."""
        return functional.conv2d(whitened, self.rotation[:, :, None, None])

    def unturned(self, output: Tensor) -> Tensor:
        """``R^T y`` at each position: the whitened channels behind this layer's output."""
        return functional.conv2d(output, self.rotation.mT[:, :, None, None])

    @torch.no_grad()
    def turn(self, rotation: Tensor) -> None:
        """Take a ``(C, C)`` orthogonal matrix as R from now on."""
        self.rotation.copy_(rotation)
        self.fold()

    def extra_repr(self) -> str:
        return f"{self.channels}, group_size={self.group_size}, iterations={self.iterations}, {self.statistics}"


def _fold_loaded(module: nn.Module, _: object) -> None:
    assert isinstance(module, Whitening)
    module.fold()
