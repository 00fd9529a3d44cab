"""The hook marker, and the records that describe components.

A plugin is a module named by an entry point of the group ``xaibench``::

    from xaibench.api import ExplainerRecord, hookimpl

    @hookimpl
    def xaibench_explainers():
        return [ExplainerRecord(name="acme-map", target="acme.maps:AcmeMap", summary="Acme's saliency map.")]

Importing this module loads neither torch nor numpy. A registration module should load neither.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, get_args

import pluggy

from xaibench.api.references import Reference
from xaibench.api.safe_text import printable

PROJECT = "xaibench"

hookimpl = pluggy.HookimplMarker(PROJECT)

Kind = Literal[
    "model", "explainer", "dataset", "metric", "fill", "executor", "recipe", "listener", "section", "view", "paper"
]
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
    presets: names of the presets (``standard``) that include the component. ``full`` includes every built-in component
        that it does not leave out by name.
    references: the publications that define it.
    note: what these leave open, in a few words, such as ``own, after``; it stands before them.
    parameters: values in place of the target's own defaults, for variants of one class.
    version: raise it when the numbers that the component produces change; it is part of the key of every cell that
        the component takes part in.

    Raises ``ValueError`` for a name or target of another form, and ``TypeError`` for a text that is none. Control
    characters in a text are written out.
    """

    name: str
    target: str
    summary: str
    presets: frozenset[str] = frozenset()
    references: tuple[Reference, ...] = ()
    note: str = ""
    parameters: Mapping[str, object] = field(default_factory=dict)
    version: int = 1
    kind: ClassVar[Kind]
    _texts: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} is no component name: use kebab-case, such as 'acme-map'")
        if not _TARGET.fullmatch(self.target):
            raise ValueError(f"target {self.target!r} of {self.name!r} is not of the form 'package.module:Class'")
        object.__setattr__(self, "presets", frozenset(self.presets))
        for text in ("summary", "note", *self._texts):
            if not isinstance(getattr(self, text), str):
                raise TypeError(f"{text} of {self.name!r} is {type(getattr(self, text)).__name__}, not str")
            object.__setattr__(self, text, printable(getattr(self, text)))
        if not isinstance(self.references, tuple) or not all(isinstance(r, Reference) for r in self.references):
            raise TypeError(f"references of {self.name!r} are no tuple of xaibench.api.Reference")

    @property
    def source(self) -> str:
        """Where it comes from, on one line: the note, then the references in their short form."""
        return " ".join(part for part in (self.note, "; ".join(r.short for r in self.references)) if part)

    @property
    def sources(self) -> tuple[str, ...]:
        """Where it comes from, in full: a line a reference, the note before the first."""
        first, *more = [r.text for r in self.references] or [""]
        return tuple(line for line in (f"{self.note} {first}".strip(), *more) if line)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRecord(ComponentRecord):
    """A source of detectors.

    ``gives`` names the capabilities of its detectors beyond probabilities (``gradients``, ``activations``); those of an
    opened detector (``Facts.gives``) take precedence. ``suffixes`` are the suffixes of the files that ``--model FILE``
    opens with this component, through its parameter ``path``. ``wraps`` names a function
    ``(thing, name, card, version) -> Model``, ``"package.module:function"``. It makes a source of detectors from a live
    ``torch.nn.Module``, or from a callable that maps pictures ``(N, 3, H, W)`` to values ``(N, K)``; ``card`` holds the
    keys of a model card. ``card`` names the class of these keys, ``"package.module:Class"``, a kind of
    :class:`xaibench.api.Parameters`; ``xaibench info card`` lists them.
    """

    gives: frozenset[str] = frozenset()
    suffixes: tuple[str, ...] = ()
    wraps: str = ""
    card: str = ""
    kind: ClassVar[Kind] = "model"


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetRecord(ComponentRecord):
    """A source of samples.

    ``markers`` are names of files and folders. ``--dataset FOLDER`` opens a folder that holds one of them with this
    component, through its parameter ``path``. Where several components match, the lowest ``precedence`` wins.
    """

    gives: frozenset[str] = frozenset()
    markers: tuple[str, ...] = ()
    precedence: int = 50
    kind: ClassVar[Kind] = "dataset"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainerRecord(ComponentRecord):
    """A method that draws a saliency map.

    Parameters
    ----------
    needs: capabilities of the detector (``gradients``, ``activations``, ``operations``, ``attention``) and of the
        sample (``mask``, ``pair``, ``landmarks``; ``stranger``: a masked fake of other people).
    signed: negative values are evidence against the target.
    class_specific: the map depends on the explained class.
    control: a baseline that knows nothing of the detector. It runs with every explainer and is never ranked.
    reference: uses what no detector shows (the mask, the counterpart). It is shown with the explainers, neither ranked
        nor to be beaten, and is in no preset unless named there.
    model_independent: the map does not depend on the detector. It is marked and never ranked, since measures of
        stability score such a map best.
    stochastic: the map depends on the seed, so ``--repeats`` repeats it.
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
    """A measure.

    Parameters
    ----------
    family: the leaderboard that shows it.
    better: direction in which its first score improves; the declaration of the score takes precedence.
    scope: what one case holds: a map (``sample``), all maps of an explainer for one detector (``detector``) or for a
        family of training runs (``family``), or a detector without maps (``model``).
    needs: those of :class:`ExplainerRecord`, ``family`` (of training runs) and ``reference`` (the maps of the run's
        first dataset).
    """

    family: MetricFamily
    better: Literal["higher", "lower", "none"] = "none"
    scope: Scope = "sample"
    needs: frozenset[str] = frozenset()
    kind: ClassVar[Kind] = "metric"


@dataclass(frozen=True, slots=True, kw_only=True)
class FillRecord(ComponentRecord):
    """A replacement of pixels that are switched off. ``target`` names a function (:class:`xaibench.api.FillFunction`).

    ``needs`` are its needs in addition to the pixels of the picture. Every component that takes a fill accepts one that
    needs nothing, or ``sigma`` alone. A fill that needs more is refused by components that do not fulfil the need.
    Explainers that switch regions off fulfil all needs; measures and baselines fulfil little beyond ``sigma``.

    ==============  ==================================================================================================
    ``sigma``       the component's parameter ``sigma``: a blur, as a share of the shorter side
    ``colour``      the component's parameter ``colour``
    ``random``      random streams: the fill depends on the seed
    ``segments``    the segments that are switched off
    ``masks``       each mask: the fill depends on the pixels that are switched off
    ``twin``        the adversarial twin, as the component's parameters describe it
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
    """A training recipe: see :class:`xaibench.api.Recipe`."""

    kind: ClassVar[Kind] = "recipe"


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerRecord(ComponentRecord):
    """A listener, which receives the events of a run: see :class:`xaibench.api.Listener`."""

    kind: ClassVar[Kind] = "listener"


@dataclass(frozen=True, slots=True, kw_only=True)
class SectionRecord(ComponentRecord):
    """A section of the page of ``xaibench report``.

    ``target`` names a function ``section(run) -> str | None``. It takes an opened run (:func:`xaibench.open_run`) and
    returns the section's HTML, or None where there is nothing to show. The page includes the HTML unchanged: the
    function escapes text from data and refers to no other file, since the page is a single file. Where the function
    raises, the page shows the error in place of the section.

    ``title`` is the heading and the entry in the table of contents; the page escapes it. Sections are sorted by
    ``position``, then by name. Built-in sections: detectors 10, boards 20, balance 25, curves 30, maps 40, left-out 80,
    provenance 90.
    """

    title: str
    position: int = 50
    kind: ClassVar[Kind] = "section"
    _texts: ClassVar[tuple[str, ...]] = ("title",)


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewRecord(ComponentRecord):
    """A view of a result. ``target`` names a function, or for runs a class.

    ``of="run"``: ``run.NAME(...)`` of an opened run calls ``function(run, ...)``; where the target is a class,
    ``run.NAME`` is the object ``class(run)``, whose methods are views: ``run.NAME.METHOD(...)``.
    ``of="explanation"``: ``xaibench explain`` calls ``function(pixels, values) -> bytes`` for each map, with ``pixels``
    ``(H, W, 3)`` uint8 RGB and ``values`` ``(H, W)`` float32, and writes the result to ``EXPLAINER.SUFFIX``.
    ``of="explanations"``: it calls ``function(pictures)`` with a sequence of :class:`ExplainedPicture` and saves the
    :class:`Sheet` that comes back.
    """

    of: Literal["run", "explanation", "explanations"] = "run"
    suffix: str = ""
    kind: ClassVar[Kind] = "view"

    def __post_init__(self) -> None:
        super(ViewRecord, self).__post_init__()  # a class with slots is made anew, which super() alone does not follow
        if not re.fullmatch(r"[A-Za-z0-9]*(\.[A-Za-z0-9]+)*", self.suffix):
            raise ValueError(f"suffix {self.suffix!r} of {self.name!r} is no ending of a file, such as 'png'")


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperRecord(ComponentRecord):
    """A run file that does again what a publication did: ``xaibench eval papers/NAME``.

    ``target`` names a function ``(name) -> Path`` that gives the run file of a record's name; its docstring tells what
    is done and claimed, and ``xaibench info NAME`` shows it. The file is data of the plugin's package. ``references``
    name the publication and ``summary`` what is done again. ``minutes`` is the processor time of a run on the
    data that the file names; None where nobody measured it.
    """

    minutes: float | None = None
    kind: ClassVar[Kind] = "paper"
