"""Fills: replacements of pixels that are switched off, and parameters of components that name a fill.

A fill is a function of a :class:`FillRequest`, named by a :class:`xaibench.api.FillRecord`::

    def checker(request):
        return request.image * 0 + 0.5

A component takes a fill as a parameter of a type of ``xaibench_perturbation`` (``PictureFill``, ``AnyFill``). The value
of the parameter is a :class:`Fill`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, cast

from xaibench.api.artefacts import Artefact, Artefacts, Product
from xaibench.api.datasets import Picture
from xaibench.api.errors import PluginError, UnknownComponent
from xaibench.api.probes import Programme
from xaibench.api.records import SAMPLE_NEEDS, ComponentRecord, FillRecord, Kind

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema
    from pydantic_core.core_schema import ValidationInfo, ValidatorFunctionWrapHandler
    from torch import Tensor

    from xaibench.api.streams import Streams

MaskFill: TypeAlias = "Callable[[Tensor], Tensor]"
FillResult: TypeAlias = "Tensor | Product | MaskFill"

_NEED_OF = {"sigma": "sigma", "colour": "colour", "streams": "random", "labels": "segments", "twin": "twin"}
"""Fields of a request and the needs without which they are None."""


# ---- the contract ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class FillRequest:
    """What a fill receives: one picture.

    Parameters
    ----------
    image: ``(3, H, W)`` float32 RGB in [0, 1] on the detector's device. It must not be changed in place.
    picture: the picture of the image; None where there is only an image.
    artefacts: artefacts of the picture; None where there is only an image.
    sigma: a blur as a share of the shorter side; None unless the record's ``needs`` has ``sigma``.
    colour: red, green and blue in [0, 1]; None unless it has ``colour``.
    streams: random generators; None unless it has ``random``.
    labels: ``(H, W)`` int64 numbers of the segments, from 0; None unless it has ``segments``.
    twin: the artefact of the adversarial twin; None unless it has ``twin``.
    """

    image: Tensor
    picture: Picture | None = None
    artefacts: Artefacts | None = None
    sigma: float | None = None
    colour: tuple[float, float, float] | None = None
    streams: Streams | None = None
    labels: Tensor | None = None
    twin: Artefact | None = None


class FillFunction(Protocol):
    """The function that a :class:`xaibench.api.FillRecord` names.

    It returns the picture that replaces pixels where a mask is 0, ``(3, H, W)`` float32 in [0, 1] on the device of
    ``request.image``, or a programme that returns it. The programme may get artefacts; it makes no probes of its own.
    Some needs of the record allow other results:

    * ``masks``: a function from ``(n, H, W)`` masks, in which 1 keeps a pixel and 0 replaces it, to the filled pictures
      ``(n, 3, H, W)``.
    * ``twin`` and needs of the sample: a :class:`xaibench.api.Product`. Its tensor ``background`` is the replacement.
      Its numbers become details of the map. Without the tensor the picture gets no map, for the reason of the product.
    """

    def __call__(self, request: FillRequest) -> FillResult | Programme[FillResult]: ...


# ---- the value of a parameter ---------------------------------------------------------------------------------------


class FillComponent(Protocol):
    """A registered fill: its record, its full name and its origin. ``load`` imports the function."""

    @property
    def record(self) -> ComponentRecord: ...
    @property
    def name(self) -> str: ...
    @property
    def built_in(self) -> bool: ...
    def load(self) -> Any: ...


class Components(Protocol):
    """A registry, in which parameters look up the components that they name.

    ``find`` raises :class:`~xaibench.api.UnknownComponent`.
    """

    def find(self, kind: Kind, name: str) -> FillComponent: ...
    def of_kind(self, kind: Kind) -> Sequence[FillComponent]: ...


class Fill(str):
    """A fill as the value of a parameter: its name as text, and its component.

    The text is the name without distribution for a built-in fill, and ``distribution/name`` for any other.
    """

    component: FillComponent

    def __new__(cls, component: FillComponent) -> Fill:
        fill = super().__new__(cls, component.record.name if component.built_in else component.name)
        fill.component = component
        return fill

    @property
    def needs(self) -> frozenset[str]:
        """Needs of the fill in addition to the pixels of the picture."""
        return _needs(self.component)

    def of(self, request: FillRequest) -> Programme[FillResult]:
        """A programme that returns the result of the fill for a picture (:class:`FillFunction`).

        Raises :class:`~xaibench.api.PluginError` where the result does not fulfil the contract.
        """
        hidden: dict[str, Any] = {name: None for name, need in _NEED_OF.items() if need not in self.needs}
        result = self.component.load()(replace(request, **hidden))
        if inspect.isgenerator(result):
            result = yield from result
        self._check(result, request.image)
        return cast("FillResult", result)

    def _check(self, result: object, image: Tensor) -> None:
        from torch import Tensor

        background = result
        if isinstance(result, Product) and self.needs & (SAMPLE_NEEDS | {"twin"}):
            background = result.tensors.get("background")
            if background is None and result.reason:
                return
        if isinstance(background, Tensor) and "masks" not in self.needs:
            self._check_pixels(background, image)
        elif not (callable(result) and "masks" in self.needs):
            raise PluginError(
                f"fill '{self}' returned {type(result).__name__}, which its record does not allow",
                "return a tensor, or name what else the fill needs in its record",
            )

    def _check_pixels(self, background: Tensor, image: Tensor) -> None:
        if (background.shape, background.dtype, background.device) != (image.shape, image.dtype, image.device):
            raise PluginError(
                f"fill '{self}' returned {_describe(background)} for a picture of {_describe(image)}",
                "give it the shape, type and device of request.image",
            )
        is_valid = bool(background.isfinite().all()) if "twin" in self.needs else _in_range(background, image)
        if not is_valid:
            raise PluginError(f"fill '{self}' returned values that are not in [0, 1]", "clamp them to [0, 1]")


def _needs(component: FillComponent) -> frozenset[str]:
    record = component.record
    assert isinstance(record, FillRecord)
    return record.needs


def _describe(tensor: Tensor) -> str:
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')} on {tensor.device}"


def _in_range(background: Tensor, image: Tensor) -> bool:
    """Whether all values lie in [0, 1], or in the range of a picture that leaves it (of a view without bounds)."""
    low, high = image.min().clamp(max=0.0), image.max().clamp(min=1.0)
    return bool(((background >= low) & (background <= high)).all())  # false for NaN


# ---- the type of a parameter ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FillParameter:
    """Annotation of a parameter that is the name of a fill: ``Annotated[str, FillParameter(...)]``.

    The validation of the parameters looks the name up in the components of its context, or in ``built_in`` where it has
    none. The value of the parameter is a :class:`Fill`.

    Parameters
    ----------
    built_in: fills that are known without a context.
    gives: needs of fills that the component fulfils. A fill that needs more is refused.
    also: further names, which have a meaning to the component; they stay text.
    """

    built_in: Sequence[FillComponent]
    gives: frozenset[str] = frozenset({"sigma"})
    also: tuple[str, ...] = ()

    def names(self, components: Components | None = None) -> tuple[str, ...]:
        """The accepted names. A name that several plugins use is given with its distribution."""
        usable = [c for c in self._fills(components) if _needs(c) <= self.gives]
        short = [c.record.name for c in usable]
        names = [c.record.name if c.built_in or short.count(c.record.name) == 1 else c.name for c in usable]
        return (*names, *self.also)

    def find(self, name: str, components: Components | None = None) -> str:
        """The fill of that name, or a name of ``also``.

        Raises ``ValueError`` for an unknown fill and for one that needs too much, and
        :class:`~xaibench.api.PluginError` for a fill that cannot be imported.
        """
        if name in self.also:
            return name
        component = name.component if isinstance(name, Fill) else self._find(name, components)
        lacking = sorted(_needs(component) - self.gives)
        if lacking:
            raise ValueError(f"the fill needs {' and '.join(lacking)}, which this component does not give")
        component.load()
        return Fill(component)

    def _find(self, name: str, components: Components | None) -> FillComponent:
        if components is not None:
            try:
                return components.find("fill", name)
            except UnknownComponent as error:
                raise ValueError(f"{error.what}; {error.mend}") from None
        by_name = {c.record.name: c for c in self.built_in}
        if name not in by_name:
            raise ValueError(f"no fill called '{name}'; there are {', '.join(by_name)}")
        return by_name[name]

    def _fills(self, components: Components | None) -> Sequence[FillComponent]:
        return self.built_in if components is None else components.of_kind("fill")

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        from pydantic import WrapValidator

        def validate(value: Any, text: ValidatorFunctionWrapHandler, info: ValidationInfo) -> str:
            return self.find(value if isinstance(value, Fill) else text(value), info.context)

        return WrapValidator(validate).__get_pydantic_core_schema__(source, handler)
