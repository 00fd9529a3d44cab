"""Whether another engine gives the numbers of a detector, of a picture alone and in company."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from xaibench.api import Batch, Facts
from xaibench.detector.agreement import disagreement

SIZE = (8, 8)
FACTS = Facts(name="planted", classes=("real", "fake"), real_class=0, input_size=SIZE, digest="d", engine="own")


@dataclass
class Planted:
    """The margin of a picture is its mean; ``more(images)`` ``(N,)`` is added to it."""

    fixed: int | None = None
    more: Callable[[Tensor], Tensor] = lambda images: torch.zeros(len(images))
    calls: list[int] = field(default_factory=list)
    device: torch.device = torch.device("cpu")

    @property
    def facts(self) -> Facts:
        return replace(FACTS, batch=Batch(fixed=self.fixed))

    def scores(self, images: Tensor) -> Tensor:
        self.calls.append(len(images))
        # a sum in a fixed order, and no kernel that chooses by the number of rows
        z = torch.stack([image.mean() for image in images]) + self.more(images)
        return torch.stack([-z / 2, z / 2], dim=1)

    def probabilities(self, images: Tensor) -> Tensor:
        return self.scores(images).softmax(dim=1)


PICTURES = 0.1 + 0.8 * torch.rand((3, 3, *SIZE), generator=torch.Generator().manual_seed(0))


def found(other: Planted, own: int | None = 1, batch: int = 4, images: Tensor = PICTURES) -> str:
    return disagreement(Planted(own), other, images, batch, 1e-5)


def test_the_same_numbers_agree_in_calls_of_the_compute_batch() -> None:
    other = Planted()
    assert found(other) == ""
    assert set(other.calls) == {4}
    assert found(Planted(), images=PICTURES[:1]) == ""


def test_a_difference_is_told_by_its_size() -> None:
    off = Planted(more=lambda images: torch.full((len(images),), 0.1))
    assert found(off).startswith("differs from own by 0.02")
    assert found(Planted(more=lambda images: torch.full((len(images),), torch.nan))).startswith(
        "differs from own by nan"
    )
    assert found(Planted(more=lambda images: torch.full((len(images),), 1e-5))) == ""  # a fourth of that


def test_values_that_hang_on_extreme_neighbours_alone_are_told() -> None:
    glare = Planted(more=lambda images: (images.max() - 0.98).clamp(min=0).expand(len(images)))
    assert found(glare) == "judges a picture by its company: beside others in its batch a score differs by 0.01"
    assert found(glare, own=None) == ""  # looked at where a batch is freed, elsewhere with the structure


def test_the_last_bit_counts_in_company() -> None:
    place = Planted(more=lambda images: torch.arange(len(images)) * 1e-7)
    assert "by its company" in found(place)


def test_a_graph_of_one_picture_is_asked_for_all_at_once() -> None:
    several = Planted(fixed=1)
    asked: list[int] = []

    def in_batches(images: Tensor, batch: int, output: str) -> Tensor:
        asked.append(len(images))
        return several.probabilities(images)

    several.in_batches = in_batches  # type: ignore[attr-defined]
    assert found(several, batch=1) == ""
    assert asked == [3]
