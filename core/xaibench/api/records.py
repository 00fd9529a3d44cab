"""What a plugin author imports: the hook marker and the records that describe components.

A plugin is a module named by an entry point of the group ``xaibench``::

    from xaibench.api import ExplainerRecord, hookimpl

    @hookimpl
    def xaibench_explainers():
        return [ExplainerRecord(name="acme-map", target="acme.maps:AcmeMap", summary="Acme's saliency map.")]

Importing this module loads neither torch nor numpy; registration modules are expected to stay as light.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, get_args

import pluggy

PROJECT = "xaibench"

hookimpl = pluggy.HookimplMarker(PROJECT)

Kind = Literal["model", "explainer", "dataset", "metric", "fill", "executor", "recipe", "listener", "section", "view"]
Need = Literal[
    "gradients", "activations", "operations", "attention",
    "mask", "pair", "landmarks", "stranger", "family", "reference",
]  # fmt: skip
Scope = Literal["sample", "detector", "family", "model"]
MetricFamily = Literal["faithfulness", "localisation", "attack", "robustness", "salience", "interpretability"]

KINDS: tuple[Kind, ...] = get_args(Kind)
DETECTOR_NEEDS: frozenset[str] = frozenset(("gradients", "activations", "operations", "attention"))
SAMPLE_NEEDS: frozenset[str] = frozenset(("mask", "pair", "landmarks", "stranger"))
NEEDS: frozenset[str] = DETECTOR_NEEDS | SAMPLE_NEEDS | {"family", "reference"}
FILL_NEEDS: frozenset[str] = SAMPLE_NEEDS | {"sigma", "colour", "random", "segments", "masks", "twin"}

_NAME = re.compile(r"[a-z0-9][a-z0-9+]*(-[a-z0-9+]+)*")
_TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentRecord:
    """One component of a plugin, described without importing it.

    Parameters
    ----------
    name: kebab-case name, unique within the plugin's distribution and kind.
    target: ``"package.module:Class"``; imported when the component is first used.
    summary: one line for ``xaibench list``.
    presets: names of the presets (``standard``) that include the component; every component is in ``full``.
    source: the paper or document that defines it.
    parameters: values that differ from the target's own defaults, for ready-made variants of one class.
    version: raise it when the numbers that the component produces change; it is part of every unit key.
    """

    name: str
    target: str
    summary: str
    presets: frozenset[str] = frozenset()
    source: str = ""
    parameters: Mapping[str, object] = field(default_factory=dict)
    version: int = 1
    kind: ClassVar[Kind]

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} is no component name: use kebab-case, such as 'acme-map'")
        if not _TARGET.fullmatch(self.target):
            raise ValueError(f"target {self.target!r} of {self.name!r} is not of the form 'package.module:Class'")
        object.__setattr__(self, "presets", frozenset(self.presets))


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRecord(ComponentRecord):
    """A source of detectors.

    ``gives`` names what its detectors can do beyond probabilities (``gradients``, ``activations``); the opened
    detector has the last word. ``suffixes`` are the file endings that ``--model FILE`` sends to this component,
    through its parameter ``path``. ``wraps`` names a function ``(thing, name, card, version) -> Model``,
    ``"package.module:function"``, that makes a source of detectors of a live ``torch.nn.Module``, or of a callable that
    maps pictures ``(N, 3, H, W)`` to values ``(N, K)``; ``card`` holds the keys of a model card.
    """

    gives: frozenset[str] = frozenset()
    suffixes: tuple[str, ...] = ()
    wraps: str = ""
    kind: ClassVar[Kind] = "model"


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetRecord(ComponentRecord):
    """A source of samples. ``markers`` are entries any one of which, present in a folder, sends ``--dataset FOLDER``
    to this component, through its parameter ``path``; where several datasets match, the lowest ``precedence`` wins."""

    gives: frozenset[str] = frozenset()
    markers: tuple[str, ...] = ()
    precedence: int = 50
    kind: ClassVar[Kind] = "dataset"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainerRecord(ComponentRecord):
    """A method that draws a saliency map.

    ``needs``: capabilities of the detector (``gradients``, ``activations``, ``operations``, ``attention``) or of the
    sample (``mask``, ``pair``, ``landmarks``; ``stranger``: a masked fake of other people). ``signed``: negative
    values mean evidence against the target. ``class_specific``: the map depends on the class explained.
    ``control``: a map no detector is needed for, run beside every explainer and never ranked.
    ``reference``: knows what no detector shows (the mask, the counterpart); shown beside explainers, neither ranked nor
    to be beaten, and in no preset unless named. ``model_independent``: no detector enters the map; it is marked and
    never ranked, since measures of steadiness score such a map best. ``stochastic``: two seeds give two maps, so
    ``--repeats`` repeats it.
    """

    needs: frozenset[str] = frozenset()
    signed: bool = False
    class_specific: bool = True
    control: bool = False
    reference: bool = False
    model_independent: bool = False
    stochastic: bool = False
    kind: ClassVar[Kind] = "explainer"


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricRecord(ComponentRecord):
    """A measure. ``family`` names the leaderboard it stands in; ``scope`` what one case of it sees; ``better`` the
    direction in which its first score improves (the scores themselves have the last word). Beside an explainer's
    ``needs`` it may have ``family`` (of training runs) and ``reference`` (the maps of the run's first dataset)."""

    family: MetricFamily
    better: Literal["higher", "lower", "none"] = "none"
    scope: Scope = "sample"
    needs: frozenset[str] = frozenset()
    kind: ClassVar[Kind] = "metric"


@dataclass(frozen=True, slots=True, kw_only=True)
class FillRecord(ComponentRecord):
    """What replaces pixels that are switched off. ``target`` names a function, see :class:`xaibench.api.FillFunction`.

    ``needs``: what it needs beside the picture's own pixels. A fill that needs nothing, or ``sigma`` alone, follows
    from the picture, and every component that takes a fill accepts it. One that needs more is refused by components
    that cannot give it: explainers that switch regions off give everything, measures and baselines little beyond
    ``sigma``.

    ==============  ==================================================================================================
    ``sigma``       the component's parameter ``sigma``: a blur, as a share of the shorter side
    ``colour``      its parameter ``colour``
    ``random``      random streams: two seeds give two fills
    ``segments``    the segments that are switched off
    ``masks``       each mask: the fill of a hole is another for another hole
    ``twin``        the adversarial twin that the component's parameters ask for
    of the sample   ``mask``, ``pair``, ``landmarks``, ``stranger``, as for explainers
    ==============  ==================================================================================================
    """

    needs: frozenset[str] = frozenset()
    kind: ClassVar[Kind] = "fill"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorRecord(ComponentRecord):
    """A way to run tasks: see :class:`xaibench.api.Executor`."""

    kind: ClassVar[Kind] = "executor"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeRecord(ComponentRecord):
    """A training recipe."""

    kind: ClassVar[Kind] = "recipe"


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerRecord(ComponentRecord):
    """Somebody who hears of a run while it goes on: see :class:`xaibench.api.Listener`."""

    kind: ClassVar[Kind] = "listener"


@dataclass(frozen=True, slots=True, kw_only=True)
class SectionRecord(ComponentRecord):
    """A section of the page of ``xaibench report``.

    ``target`` names a function ``section(run) -> str | None``. ``run`` is what :func:`xaibench.open_run` opens; the
    answer is the section's HTML, or None where there is nothing to show. The HTML goes into the page as it is: the
    function escapes what it takes from data, and loads nothing from elsewhere, since the page is one file. A function
    that raises costs its own section alone: the page says so in its place.

    ``title`` stands above the section and in the table of contents; the page escapes it. Sections stand in the order
    of ``position``, those of equal position by name. The built-in ones: detectors 10, boards 20, balance 25, curves
    30, maps 40, left-out 80, provenance 90.
    """

    title: str
    position: int = 50
    kind: ClassVar[Kind] = "section"


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewRecord(ComponentRecord):
    """A way to look at a result. ``target`` names a function.

    ``of="run"``: ``run.NAME(...)`` of an opened run calls ``function(run, ...)``. ``of="explanation"``: ``xaibench
    explain`` writes ``function(pixels, values) -> bytes`` beside each map, as ``EXPLAINER.SUFFIX``: ``pixels``
    ``(H, W, 3)`` uint8 RGB, ``values`` ``(H, W)`` float32.
    """

    of: Literal["run", "explanation"] = "run"
    suffix: str = ""
    kind: ClassVar[Kind] = "view"
