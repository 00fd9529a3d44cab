"""The tables of a run: Arrow schemas with the meaning of every column, and their version."""

from __future__ import annotations

from typing import Final

import pyarrow as pa

SCHEMA_VERSION: Final = 2

_TEXT: dict[str, str] = {
    "run": "id of the invocation that wrote the row",
    "unit": "the commit that wrote the file of the row: the name of that file",
    "cell": "key of the row's cell: digest of everything that can change its numbers, except the samples",
    "model": "name of the detector or family",
    "member": "training run within the family",
    "dataset": "dataset, distribution/name[:key=value,...]",
    "sample": "sample id; empty for values of a whole set or cell",
    "group": "statistical cluster of the sample",
    "cross_group": "second crossed factor (donor), where one cluster would hold more than a fifth of the samples",
    "label": "real or fake",
    "method": "manipulation method; null when real",
    "prediction": "class the detector predicts on the untouched picture",
    "explainer": "distribution/name[:key=value,...], defaults left out",
    "target": "class explained",
    "metric": "distribution/name[:key=value,...], defaults left out",
    "score": "name of the score within the metric",
    "item": "tells apart several values of one score: k, run pair, axis, level",
    "scope": "what one value covers: sample, detector or family (all maps of one explainer), or model (no map)",
    "better": "direction in which the score improves: higher, lower or none",
    "status": "ok, undefined, not_applicable or failed",
    "reason": "why the status is not ok; null when ok",
    "view": "name of the change under which the picture was shown; empty for none",
    "error": "exception of the last attempt; null when none",
    "trace": "traceback of the last attempt; null when none",
    "device": "device the cell ran on",
    "kind": "kind of the component or cell",
    "digest": "sha256 identifying content",
}


def _field(name: str, kind: pa.DataType, description: str = "", unit: str = "", nullable: bool = False) -> pa.Field:
    metadata = {"description": description or _TEXT[name]}
    if unit:
        metadata["unit"] = unit
    return pa.field(name, kind, nullable=nullable, metadata=metadata)


def _text(name: str, nullable: bool = False) -> pa.Field:
    return _field(name, pa.string(), nullable=nullable)


def _schema(name: str, fields: list[pa.Field]) -> pa.Schema:
    return pa.schema(fields, metadata={"xaibench.schema": f"{name}/{SCHEMA_VERSION}"})


_KEYS = [_text("run"), _text("unit"), _text("cell"), _text("model"), _text("member"), _text("dataset"), _text("sample")]
_SAMPLE = [_text("group"), _text("cross_group", True), _text("label"), _text("method", True)]

PREDICTIONS: Final = _schema("predictions", [
    *_KEYS, *_SAMPLE,
    _field("probabilities", pa.list_(pa.float32()), "class probabilities in the order of `classes`", "probability"),
    _field("classes", pa.list_(pa.string()), "class names"),
    _field("p_fake", pa.float32(), "1 - P(real)", "probability", True),
    _field("log_odds", pa.float64(), "log(P(fake) / P(real)): tells apart what saturates", "nat", True),
    _text("prediction"),
    _field("verdict", pa.string(), "fake when p_fake >= the card's threshold, else real"),
    _field("correct", pa.bool_(), "verdict equals label", nullable=True),
    _text("status"), _text("reason", True),
])  # fmt: skip

SCORES: Final = _schema("scores", [
    *_KEYS, *_SAMPLE, _text("prediction", True), _text("explainer"), _text("target", True), _text("metric"),
    _text("score"), _text("item"), _text("scope"),
    _field("definition", pa.int16(), "version of the score's definition"),
    _field("value", pa.float64(), "the value; null unless ok", nullable=True),
    _text("better"), _text("status"), _text("reason", True),
    _field("seed", pa.int64(), "seed of the run"),
    _field("repeat", pa.int32(), "repeat, counting the draws of explainers that draw several maps"),
])  # fmt: skip

CURVES: Final = _schema("curves", [
    *_KEYS, *_SAMPLE, _text("explainer"), _text("metric"),
    _field("curve", pa.string(), "name of the curve"), _text("item"),
    _field("repeat", pa.int32(), "repeat"),
    _field("point", pa.int32(), "index of the point along the curve"),
    _field("x", pa.float64(), "abscissa: see the metric"), _field("y", pa.float64(), "ordinate: see the metric"),
])  # fmt: skip

MAPS: Final = _schema("maps", [
    *_KEYS, _text("view"), _text("explainer"), _text("target", True),
    _field("repeat", pa.int32(), "repeat"),
    _field("height", pa.int32(), "rows of the map", "pixel"), _field("width", pa.int32(), "columns", "pixel"),
    _field("scale", pa.float32(), "multiply the stored values by this", nullable=True),
    _field("map", pa.binary(), "row-major little-endian float16 values in [-1, 1]; null unless ok", nullable=True),
    _field("native_height", pa.int32(), "rows before upsampling", "pixel", True),
    _field("native_width", pa.int32(), "columns before upsampling", "pixel", True),
    _field("native_scale", pa.float32(), "multiply the stored native values by this", nullable=True),
    _field("native_map", pa.binary(), "the map before upsampling, stored as `map`", nullable=True),
    _field("segment_weights", pa.list_(pa.float32()), "weights of segments, where the method has them", nullable=True),
    _field("details", pa.map_(pa.string(), pa.float64()), "diagnostics of the method by name", nullable=True),
    _field("forward", pa.int64(), "pictures forwarded for this map", "pass"),
    _field("backward", pa.int64(), "pictures differentiated for this map", "pass"),
    _text("status"), _text("reason", True),
])  # fmt: skip

ARTEFACTS: Final = _schema("artefacts", [
    *_KEYS, *_SAMPLE,
    _field("kind", pa.string(), "kind of the artefact: twin and the like"),
    _field("parameters", pa.string(), "everything that tells it from another of its kind, as canonical JSON"),
    _field("artefact", pa.string(), "digest of kind, parameters, detector, picture and seed; empty where it failed"),
    _field("numbers", pa.map_(pa.string(), pa.float64()), "what was measured while making it, by name"),
    _field("tensors", pa.list_(pa.struct([
        ("name", pa.string()), ("dtype", pa.string()), ("shape", pa.list_(pa.int64())), ("data", pa.binary()),
    ])), "row-major little-endian tensors"),
    _field("forward", pa.int64(), "pictures forwarded to make it", "pass"),
    _field("backward", pa.int64(), "pictures differentiated to make it", "pass"),
    _text("status"), _text("reason", True),
])  # fmt: skip

SAMPLES: Final = _schema("samples", [
    _text("dataset"),
    _text("sample"),
    _field("order", pa.int64(), "place in the order of the last plan; null where it has none", nullable=True),
    _text("label"), _text("method", True), _text("group"), _text("cross_group", True),
    _field("pair", pa.string(), "id of the real counterpart, in doubt or not", nullable=True),
    _field("split", pa.string(), "name of the split", nullable=True),
    _field("stranger", pa.string(), "id of the stranger, where one was asked for", nullable=True),
    _field("face_size", pa.float64(), "square root of the area of the box around landmarks or mask", "pixel", True),
    _field("doubt", pa.string(), "findings that put mask, counterpart or label in doubt, joined by '; '; such a sample "
           "takes no part in localisation", nullable=True),
    _field("digest", pa.string(), "sha256 of what results of the sample depend on: picture, mask, landmarks, "
           "annotations, label, method, doubt and counterpart; empty for one that is only shown"),
    _field("stranger_digest", pa.string(), "the same with the stranger"),
    _field("picture", pa.string(), "sha256 of the picture before resizing, with mask and landmarks"),
    _field("pixel_digest", pa.string(), "sha256 of the pixels alone, before resizing"),
    _field("fingerprint", pa.string(), "what tells without decoding whether its files changed", nullable=True),
])  # fmt: skip

COMMITS: Final = _schema("commits", [
    _field("commit", pa.int64(), "number of the commit; a later one supersedes what stands at its addresses"),
    _text("cell"),
    _field("kind", pa.string(), "predict, artefact, explain, score, set, model, structure, accuracy or card"),
    _text("model"), _text("member"), _text("dataset"), _text("explainer"), _text("metric"),
    _field("artefact", pa.string(), "name of the artefact; empty for none"),
    _field("repeat", pa.int32(), "repeat of the explainer"),
    _field("samples", pa.list_(pa.string()), "the samples that were done; one empty id for a whole cell"),
    _field("digests", pa.list_(pa.uint64()), "first 64 bits of the digest of each"),
    _field("statuses", pa.list_(pa.string()), "status of each: of all its rows, where they differ"),
    _field("done", pa.int64(), "number of samples done", "sample"),
    _field("failed", pa.int64(), "number of these that failed", "sample"),
    _field("kept", pa.bool_(), "whether maps are in the store"),
    _field("attempts", pa.int32(), "times the cell was tried"),
    _field("seconds", pa.float64(), "wall time", "s"),
    _field("forward", pa.int64(), "pictures forwarded, padding not counted", "pass"),
    _field("backward", pa.int64(), "pictures differentiated, padding not counted", "pass"),
    _field("peak_memory", pa.int64(), "peak resident memory of the process so far", "byte"),
    _text("device"), _text("reason", True), _text("error", True), _text("trace", True),
])  # fmt: skip

DETECTORS: Final = _schema("detectors", [
    _text("run"), _text("unit"), _text("cell"), _text("model"), _text("member"),
    _field("dataset", pa.string(), "the dataset whose pictures were shown"),
    _field("sample", pa.string(), "empty: no row belongs to one sample"),
    _field("check", pa.string(), "what was looked at: structure, accuracy or card"),
    _field("name", pa.string(), "what was measured"),
    _field("item", pa.string(), "of the card: the reading, as keys and values; empty for the card's own"),
    _field("value", pa.float64(), "the value; null where there is none", nullable=True),
    _field("low", pa.float64(), "lower end of the 95 % interval", nullable=True),
    _field("high", pa.float64(), "upper end of the 95 % interval", nullable=True),
    _field("count", pa.int64(), "pictures that the value stands on", "picture"),
    _text("status"), _text("reason", True),
    _field("mark", pa.string(), "what a reader of any result of this detector must know; empty for nothing"),
    _field("withholds_ranks", pa.bool_(), "whether the mark withholds the ranks of explanations"),
])  # fmt: skip

RUNS: Final = _schema("runs", [
    _text("run"),
    _field("started", pa.timestamp("us", "UTC"), "start of the invocation"),
    _field("command", pa.string(), "command line"),
    _field("seed", pa.int64(), "seed"),
    _field("plan", pa.string(), "the resolved plan as JSON"),
    _field("plan_digest", pa.string(), "sha256 of the plan"),
    _field("provenance", pa.string(), "versions, hardware, execution providers, git revision, as JSON"),
])  # fmt: skip

COMPONENTS: Final = _schema("components", [
    _text("run"), _text("kind"),
    _field("name", pa.string(), "distribution/name[:key=value,...]"),
    _field("distribution", pa.string(), "distribution that brings it"),
    _field("version", pa.string(), "version of the distribution"),
    _field("component_version", pa.int32(), "version of the component's definition"),
    _field("parameters", pa.string(), "all parameters as canonical JSON"),
    _field("digest", pa.string(), "weights or data digest, or code digest of local code", nullable=True),
    _field("details", pa.string(), "card, licence, providers, notes, source and references, as JSON", nullable=True),
])  # fmt: skip

TABLES: Final[dict[str, pa.Schema]] = {
    "samples": SAMPLES, "predictions": PREDICTIONS, "scores": SCORES, "curves": CURVES, "maps": MAPS,
    "artefacts": ARTEFACTS, "detectors": DETECTORS, "commits": COMMITS, "runs": RUNS, "components": COMPONENTS,
}  # fmt: skip
