"""Fills: what stands in place of pixels that are switched off, and how a parameter of a component names one.

A fill is a function of a :class:`FillRequest`, named by a :class:`xaibench.api.FillRecord`::

    def checker(request):
        return request.image * 0 + 0.5

A component takes one as a parameter of a type that ``xaibench_perturbation`` offers (``PictureFill``, ``AnyFill``). The
parameter's value is a :class:`Fill`.
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
"""Fields of a request that a fill sees only if its record names the need."""


# ---- the contract ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class FillRequest:
    """One picture whose pixels are to be replaced.

    ``image``: ``(3, H, W)`` float32 in [0, 1], where the detector computes; never changed in place. ``picture`` and
    ``artefacts``: the picture it is of and what several components need of it; None where there is only an image.

    The others are None unless the record's ``needs`` has the word in brackets: ``sigma``, a blur as a share of the
    shorter side (``sigma``); ``colour``, red, green and blue in [0, 1] (``colour``); ``streams`` (``random``);
    ``labels``, ``(H, W)`` int64 from 0 on (``segments``); ``twin``, the artefact to ask for (``twin``).
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
    """What a :class:`xaibench.api.FillRecord` names.

    Returns what stands where a mask is 0, ``(3, H, W)`` float32 in [0, 1] on the device of ``request.image``. It may be
    a programme that asks ``request.artefacts``; it makes no detector call of its own. Two other answers are allowed
    where the record says that the fill needs something:

    * ``masks``: a function from ``(n, H, W)`` masks, 1 keeps a pixel and 0 replaces it, to ``(n, 3, H, W)`` pictures.
    * ``twin``, or something of the sample: a :class:`xaibench.api.Product`. Its tensor ``background`` stands in, its
      numbers go into the details of the map; without the tensor, its reason says why the picture gets no map.
    """

    def __call__(self, request: FillRequest) -> FillResult | Programme[FillResult]: ...


# ---- the value of a parameter ---------------------------------------------------------------------------------------


class FillComponent(Protocol):
    """A fill and where it comes from."""

    @property
    def record(self) -> ComponentRecord: ...
    @property
    def name(self) -> str: ...
    @property
    def built_in(self) -> bool: ...
    def load(self) -> Any: ...


class Components(Protocol):
    """Where parameters look up the components that they name."""

    def find(self, kind: Kind, name: str) -> FillComponent: ...
    def of_kind(self, kind: Kind) -> Sequence[FillComponent]: ...


class Fill(str):
    """A fill as the value of a parameter: text, and the component behind it.

    The text is the bare name of a built-in fill, ``distribution/name`` of any other.
    """

    component: FillComponent

    def __new__(cls, component: FillComponent) -> Fill:
        fill = super().__new__(cls, component.record.name if component.built_in else component.name)
        fill.component = component
        return fill

    @property
    def needs(self) -> frozenset[str]:
        """What it needs beside the picture's own pixels."""
        return _needs(self.component)

    def of(self, request: FillRequest) -> Programme[FillResult]:
        """What the fill is for a picture. Raises :class:`~xaibench.api.PluginError` where it breaks the contract."""
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
                f"fill '{self}' returned {_described(background)} for a picture of {_described(image)}",
                "give it the shape, type and device of request.image",
            )
        inside = bool(background.isfinite().all()) if "twin" in self.needs else _in_range(background)
        if not inside:
            raise PluginError(f"fill '{self}' returned values that are not in [0, 1]", "clamp them to [0, 1]")


def _needs(component: FillComponent) -> frozenset[str]:
    record = component.record
    assert isinstance(record, FillRecord)
    return record.needs


def _described(tensor: Tensor) -> str:
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')} on {tensor.device}"


def _in_range(tensor: Tensor) -> bool:
    return bool(((tensor >= 0) & (tensor <= 1)).all())  # false for NaN


# ---- the type of a parameter ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FillParameter:
    """Makes a text parameter the name of a fill: ``Annotated[str, FillParameter(...)]``.

    The name is looked up when the parameters are validated, among the components that are the context of the
    validation, else among ``built_in``; the value is then a :class:`Fill`.

    Parameters
    ----------
    built_in: the fills that are known where there is no context.
    gives: what the component can give a fill; one that needs more is refused.
    also: further names, which the component itself knows what to do with; they stay text.
    """

    built_in: Sequence[FillComponent]
    gives: frozenset[str] = frozenset({"sigma"})
    also: tuple[str, ...] = ()

    def names(self, components: Components | None = None) -> tuple[str, ...]:
        """What the parameter can be; a name that two plugins share is given in full."""
        chosen = [c for c in self._known(components) if _needs(c) <= self.gives]
        bare = [c.record.name for c in chosen]
        own = [c.record.name if c.built_in or bare.count(c.record.name) == 1 else c.name for c in chosen]
        return (*own, *self.also)

    def find(self, name: str, components: Components | None = None) -> str:
        """The fill of that name, or a name of ``also``. Raises ValueError for what the component cannot take, and
        :class:`~xaibench.api.PluginError` for a fill that cannot be imported."""
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
        known = {c.record.name: c for c in self.built_in}
        if name not in known:
            raise ValueError(f"no fill called '{name}'; there are {', '.join(known)}")
        return known[name]

    def _known(self, components: Components | None) -> Sequence[FillComponent]:
        return self.built_in if components is None else components.of_kind("fill")

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        from pydantic_core import core_schema

        def validate(value: Any, text: ValidatorFunctionWrapHandler, info: ValidationInfo) -> str:
            return self.find(value if isinstance(value, Fill) else text(value), info.context)

        return core_schema.with_info_wrap_validator_function(validate, handler(source))
