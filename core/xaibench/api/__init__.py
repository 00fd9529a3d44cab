"""The lower door: everything that the author of a plugin imports.

::

    from xaibench.api import Explanation, ExplainerRecord, Forward, Passes, hookimpl

A *record* describes a component, and a hook returns records. A *contract* is a protocol that says what a component
receives and what it returns. Pictures are float32 tensors of RGB values in [0, 1], of shape ``(N, 3, H, W)`` or
``(3, H, W)``, resized to the detector's input size. A *programme* is a generator that yields requests such as
:class:`Forward` and returns its result. A method that may return a programme may return the plain result instead, where
it needs no detector call.

Importing this package loads neither torch nor numpy. Names that need pydantic, numpy or Pillow are loaded on first
access. The modules behind the package may move; the names in ``__all__`` stay.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from xaibench.api.artefacts import Artefact, ArtefactQuery, Artefacts, Product
from xaibench.api.atomic_files import commit_file, stage_table, stage_text, sync_folder, write_error
from xaibench.api.command_help import CommandGroup, help_page
from xaibench.api.datasets import Dataset, Native, Picture, Problem, Resize, Sample, View
from xaibench.api.delays import Delay, name_delay, silent_delays
from xaibench.api.detectors import (
    Batch,
    CardVariant,
    Detector,
    DifferentiableDetector,
    Facts,
    Features,
    LayerShape,
    Model,
    Runtime,
)
from xaibench.api.devices import to_device
from xaibench.api.digests import canonical_json, digest
from xaibench.api.errors import (
    DatasetError,
    ModelError,
    NothingToEvaluate,
    PlanError,
    PluginError,
    StoreError,
    UnknownComponent,
    UnreadablePicture,
    UsageError,
    XaibenchError,
    as_exception,
    describe_error,
    trace_of,
)
from xaibench.api.events import Listener, PassesDone, RunBegins, RunEnds, RunWarning, StageBegins, TaskCommitted
from xaibench.api.executors import Component, Executor, Lost
from xaibench.api.explained_pictures import ExplainedMap, ExplainedPicture, MapRegion, Sheet, SheetView
from xaibench.api.explainers import Explainer, ExplainRequest, Explanation
from xaibench.api.fills import Fill, FillFunction, FillParameter, FillRequest, FillResult, MaskFill
from xaibench.api.flags import SHARED_FLAGS, Flag, setting, with_flags
from xaibench.api.groups import Groups, connected_components, statistical_groups
from xaibench.api.line_breaks import break_lines, longest_piece
from xaibench.api.locations import (
    FileNames,
    Location,
    RemotePath,
    file_state,
    files_below,
    is_url,
    list_folder,
    location,
    relative_name,
    split_parameters,
    write_whole,
)
from xaibench.api.metrics import Curve, Headroom, MapCase, Metric, ModelCase, Score, Scores, ScoreSpec, SetCase
from xaibench.api.near_names import closest_first
from xaibench.api.output_streams import plugin_output
from xaibench.api.parent_watch import end_with_parent
from xaibench.api.passes import Passes, PassQuery
from xaibench.api.probes import (
    Apply,
    Backward,
    Done,
    Forward,
    Gradients,
    LayerBackward,
    LayerGradients,
    Probe,
    Programme,
    Reply,
    Request,
    Together,
    Wait,
)
from xaibench.api.recipes import FAKE, FAMILY_RECORD, REAL, Loss, Network, Recipe, TrainingBatch
from xaibench.api.records import (
    DETECTOR_NEEDS,
    FILL_NEEDS,
    KINDS,
    NEEDS,
    PROJECT,
    SAMPLE_NEEDS,
    ComponentRecord,
    DatasetRecord,
    ExecutorRecord,
    ExplainerRecord,
    FillRecord,
    Kind,
    ListenerRecord,
    MetricFamily,
    MetricRecord,
    ModelRecord,
    PaperRecord,
    RecipeRecord,
    Scope,
    SectionRecord,
    ViewRecord,
    hookimpl,
)
from xaibench.api.references import Reference, ReferenceKind
from xaibench.api.safe_text import printable, redact, secret_variable
from xaibench.api.sample_columns import SAMPLE_COLUMNS, check_column_names, check_columns
from xaibench.api.score_checks import BadScores, check_scores
from xaibench.api.streams import Streams
from xaibench.api.targets import (
    TARGET_RULES,
    check_target_rule,
    is_fake,
    likeliest_fake,
    log_odds,
    p_fake,
    predicted_class,
    resolve_target,
    verdict,
)
from xaibench.api.toml_text import parse_toml, toml_value
from xaibench.api.value_completion import completion
from xaibench.api.versions import API_VERSION, accepts_api
from xaibench.api.vocabulary import STATUSES, Better, Label, Output, Status

if TYPE_CHECKING:
    from xaibench.api.console import (
        JsonFlag,
        PluginFiles,
        RunFolder,
        guarded,
        literal,
        make_console,
        print_json,
        say,
    )
    from xaibench.api.image_files import (
        MAX_PIXELS,
        PICTURE_SUFFIXES,
        decoder_versions,
        read_landmarks,
        read_mask,
        read_picture,
    )
    from xaibench.api.native_pictures import check_native, digest_native, digest_pixels, digest_shown
    from xaibench.api.parameters import (
        Parameters,
        build_parameters,
        describe_parameters,
        format_spec,
        format_value,
        parameter_class,
        parse_assignments,
        parse_spec,
        parse_value,
    )

_LAZY = {
    "console": (
        "JsonFlag",
        "PluginFiles",
        "RunFolder",
        "guarded",
        "literal",
        "make_console",
        "print_json",
        "say",
    ),
    "image_files": (
        "MAX_PIXELS",
        "PICTURE_SUFFIXES",
        "decoder_versions",
        "read_landmarks",
        "read_mask",
        "read_picture",
    ),
    "native_pictures": (
        "check_native",
        "digest_native",
        "digest_pixels",
        "digest_shown",
    ),
    "parameters": (
        "Parameters",
        "build_parameters",
        "describe_parameters",
        "format_spec",
        "format_value",
        "parameter_class",
        "parse_assignments",
        "parse_spec",
        "parse_value",
    ),
}
"""Names by the module that is loaded on first access to one of them."""

_MODULE_OF = {name: module for module, names in _LAZY.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return list(__all__)


__all__ = [
    "API_VERSION",
    "DETECTOR_NEEDS",
    "FAKE",
    "FAMILY_RECORD",
    "FILL_NEEDS",
    "KINDS",
    "MAX_PIXELS",
    "NEEDS",
    "PICTURE_SUFFIXES",
    "PROJECT",
    "REAL",
    "SAMPLE_COLUMNS",
    "SAMPLE_NEEDS",
    "SHARED_FLAGS",
    "STATUSES",
    "TARGET_RULES",
    "Apply",
    "Artefact",
    "ArtefactQuery",
    "Artefacts",
    "Backward",
    "BadScores",
    "Batch",
    "Better",
    "CardVariant",
    "CommandGroup",
    "Component",
    "ComponentRecord",
    "Curve",
    "Dataset",
    "DatasetError",
    "DatasetRecord",
    "Delay",
    "Detector",
    "DifferentiableDetector",
    "Done",
    "Executor",
    "ExecutorRecord",
    "ExplainRequest",
    "ExplainedMap",
    "ExplainedPicture",
    "Explainer",
    "ExplainerRecord",
    "Explanation",
    "Facts",
    "Features",
    "FileNames",
    "Fill",
    "FillFunction",
    "FillParameter",
    "FillRecord",
    "FillRequest",
    "FillResult",
    "Flag",
    "Forward",
    "Gradients",
    "Groups",
    "Headroom",
    "JsonFlag",
    "Kind",
    "Label",
    "LayerBackward",
    "LayerGradients",
    "LayerShape",
    "Listener",
    "ListenerRecord",
    "Location",
    "Loss",
    "Lost",
    "MapCase",
    "MapRegion",
    "MaskFill",
    "Metric",
    "MetricFamily",
    "MetricRecord",
    "Model",
    "ModelCase",
    "ModelError",
    "ModelRecord",
    "Native",
    "Network",
    "NothingToEvaluate",
    "Output",
    "PaperRecord",
    "Parameters",
    "PassQuery",
    "Passes",
    "PassesDone",
    "Picture",
    "PlanError",
    "PluginError",
    "PluginFiles",
    "Probe",
    "Problem",
    "Product",
    "Programme",
    "Recipe",
    "RecipeRecord",
    "Reference",
    "ReferenceKind",
    "RemotePath",
    "Reply",
    "Request",
    "Resize",
    "RunBegins",
    "RunEnds",
    "RunFolder",
    "RunWarning",
    "Runtime",
    "Sample",
    "Scope",
    "Score",
    "ScoreSpec",
    "Scores",
    "SectionRecord",
    "SetCase",
    "Sheet",
    "SheetView",
    "StageBegins",
    "Status",
    "StoreError",
    "Streams",
    "TaskCommitted",
    "Together",
    "TrainingBatch",
    "UnknownComponent",
    "UnreadablePicture",
    "UsageError",
    "View",
    "ViewRecord",
    "Wait",
    "XaibenchError",
    "accepts_api",
    "as_exception",
    "break_lines",
    "build_parameters",
    "canonical_json",
    "check_column_names",
    "check_columns",
    "check_native",
    "check_scores",
    "check_target_rule",
    "closest_first",
    "commit_file",
    "completion",
    "connected_components",
    "decoder_versions",
    "describe_error",
    "describe_parameters",
    "digest",
    "digest_native",
    "digest_pixels",
    "digest_shown",
    "end_with_parent",
    "file_state",
    "files_below",
    "format_spec",
    "format_value",
    "guarded",
    "help_page",
    "hookimpl",
    "is_fake",
    "is_url",
    "likeliest_fake",
    "list_folder",
    "literal",
    "location",
    "log_odds",
    "longest_piece",
    "make_console",
    "name_delay",
    "p_fake",
    "parameter_class",
    "parse_assignments",
    "parse_spec",
    "parse_toml",
    "parse_value",
    "plugin_output",
    "predicted_class",
    "print_json",
    "printable",
    "read_landmarks",
    "read_mask",
    "read_picture",
    "redact",
    "relative_name",
    "resolve_target",
    "say",
    "secret_variable",
    "setting",
    "silent_delays",
    "split_parameters",
    "stage_table",
    "stage_text",
    "statistical_groups",
    "sync_folder",
    "to_device",
    "toml_value",
    "trace_of",
    "verdict",
    "with_flags",
    "write_error",
    "write_whole",
]
