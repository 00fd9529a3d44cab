"""The tables of an audit, as Parquet files and as JSON."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from xaibench.api import StoreError, commit_file, stage_table
from xaibench_audit.audit import Audit, Ranked
from xaibench_audit.evidence import evidence
from xaibench_audit.ranking import Tau
from xaibench_audit.scoring import Measure
from xaibench_audit.verdicts import standing
from xaibench_statistics import Estimate

JSON_SCHEMA: Final = "xaibench.audit/1"
_TEXT, _NUMBER, _COUNT = pa.string(), pa.float64(), pa.int64()
_MEASURE = {
    "metric": _TEXT,
    "score": _TEXT,
    "item": _TEXT,
    "better": _TEXT,
    "headline": pa.bool_(),
    "claims": pa.bool_(),
}
_EVIDENCE = {"evidence": _TEXT, "sensitive": _TEXT, "weight": _NUMBER}
_INTERVAL = {"value": _NUMBER, "low": _NUMBER, "high": _NUMBER}

SCHEMAS: Final[Mapping[str, Mapping[str, pa.DataType]]] = {
    "scores": {**_EVIDENCE, **_MEASURE, "map": _TEXT, "role": _TEXT, "sample": _TEXT, "group": _TEXT, "value": _NUMBER},
    "truth": {**_EVIDENCE, "map": _TEXT, "role": _TEXT, "sample": _TEXT, "group": _TEXT, "correlation": _NUMBER},
    "taus": {**_EVIDENCE, **_MEASURE, "minus": _TEXT, **_INTERVAL, "maps": _COUNT, "n": _COUNT, "standing": _TEXT,
             "reason": _TEXT},
    "above": {**_EVIDENCE, **_MEASURE, "rival": _TEXT, **_INTERVAL, "n": _COUNT, "reason": _TEXT},
    "mechanism": {**_EVIDENCE, "fill": _TEXT, "what": _TEXT, **_INTERVAL, "n": _COUNT},
    "salience": {"question": _TEXT, "explainer": _TEXT, **_MEASURE, "first": _NUMBER, "second": _NUMBER, **_INTERVAL,
                 "n": _COUNT, "verdict": _TEXT},
    "costs": {**_EVIDENCE, "metric": _TEXT, "maps": _COUNT, "forward": _COUNT, "backward": _COUNT, "seconds": _NUMBER},
    "verdicts": {**_MEASURE, "verdict": _TEXT, "sensitive": _TEXT, "begins": _NUMBER, "holds": _NUMBER},
}  # fmt: skip
"""Columns by table. ``value`` to ``high`` is an estimate with its 95 % interval; what has none is null. ``weight`` is
the patch's share l of the verdict; ``headline``: the score stands in leaderboards; ``claims``: it is declared to rank
the evidence. In ``taus``, ``minus`` names the reference that was taken off ("" for tau itself). In ``verdicts`` there
is a row for each fill-sensitive evidence: the largest l at which the measure misleads, the smallest down to which it
ranks."""


def rows(audit: Audit) -> dict[str, list[dict[str, Any]]]:
    """All tables as lists of rows, in a fixed order."""
    return {
        "scores": list(_scores(audit)),
        "truth": list(_truth(audit)),
        "taus": [row for r in audit.ranked for row in _taus(r)],
        "above": [row for r in audit.ranked for row in _above(r)],
        "mechanism": list(_mechanism(audit)),
        "salience": list(_salience(audit)),
        "costs": list(_costs(audit)),
        "verdicts": list(_verdicts(audit)),
    }


@contextmanager
def opened(folder: Path) -> Iterator[Path]:
    """Make the folder and, within, one to stage tables in, which is given; it is gone afterwards, and so is a folder
    that was made and stayed empty. What else the folder holds is left alone.

    One that holds an audit already is refused before anything is computed.
    """
    taken = [f for f in SCHEMAS if (folder / f"{f}.parquet").exists()]
    if taken:
        raise StoreError(f"{folder} holds an audit already ({taken[0]}.parquet)", "choose another --out, or remove it")
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=".audit-", dir=folder))
    except OSError as error:
        raise StoreError(f"cannot write {folder}: {error.strerror or error}", "choose another --out") from error
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        if made and not any(folder.iterdir()):
            folder.rmdir()


def write(audit: Audit, folder: Path, staging: Path) -> None:
    """One Parquet file a table: all are staged and synced first, then renamed into the folder.

    The settings and the version of xaibench are in each file's metadata (``xaibench.audit``, JSON).
    """
    from xaibench import __version__

    about = json.dumps({"schema": JSON_SCHEMA, "version": __version__, "settings": _settings(audit)})
    staged = []
    try:
        for name, found in rows(audit).items():
            schema = pa.schema(list(SCHEMAS[name].items()), metadata={"xaibench.audit": about})
            table = pa.Table.from_pylist(found, schema=schema)
            staged.append((stage_table(table, staging, name), folder / f"{name}.parquet"))
        for path, final in staged:
            commit_file(path, final)
    except StoreError as error:
        raise StoreError(error.what, "free some space, or choose another --out, and give the command again") from error


def to_json(audit: Audit) -> dict[str, Any]:
    """Settings, verdicts and every table but the single scores, as JSON-able data."""
    found = rows(audit)
    return {
        "schema": JSON_SCHEMA,
        "settings": _settings(audit),
        "left_out": dict(audit.settings.left),
        "failed": list(audit.failures),
        "tables": {name: found[name] for name in SCHEMAS if name not in ("scores", "truth")},
    }


def _settings(audit: Audit) -> dict[str, Any]:
    s = audit.settings
    return {"evidence": list(s.evidence), "metrics": list(s.metrics), "questions": [list(q) for q in s.questions],
            "pairs": s.pairs, "seed": s.seed, "draws": s.draws, "explainers": list(s.explainers)}  # fmt: skip


# ---- rows -----------------------------------------------------------------------------------------------------------


def _scores(audit: Audit) -> Iterator[dict[str, Any]]:
    for on in audit.on:
        for m in on.measured:
            for name, values in m.values.items():
                for sample, value in values.items():
                    yield (
                        _on(on.name) | _of(m.measure)
                        | {"map": name, "role": on.roles[name], "sample": sample, "group": on.groups[sample],
                           "value": value}
                    )  # fmt: skip


def _truth(audit: Audit) -> Iterator[dict[str, Any]]:
    for on in audit.on:
        for name, values in on.truth.items():
            for sample, value in values.items():
                yield _on(on.name) | {"map": name, "role": on.roles[name], "sample": sample,
                                      "group": on.groups[sample], "correlation": value}  # fmt: skip


def _taus(r: Ranked) -> Iterator[dict[str, Any]]:
    for minus, found in {"": r.tau, **r.against}.items():
        yield (
            _on(r.evidence) | _of(r.measure) | _interval(found)
            | {"minus": minus, "maps": found.maps, "n": found.n, "standing": "" if minus else standing(found),
               "reason": found.reason}
        )  # fmt: skip


def _above(r: Ranked) -> Iterator[dict[str, Any]]:
    for rival, found in r.above.items():
        known = isinstance(found, Estimate)
        about = {"n": found.n, "reason": found.note} if isinstance(found, Estimate) else {"n": 0, "reason": found}
        yield _on(r.evidence) | _of(r.measure) | {"rival": rival} | _interval(found if known else None) | about


def _mechanism(audit: Audit) -> Iterator[dict[str, Any]]:
    for on in audit.on:
        for m in on.mechanism:
            for what, found in (("fakes rise", m.rises), ("reals turn", m.turned)):
                yield _on(on.name) | {"fill": m.fill, "what": what, "n": found.n} | _interval(found)


def _salience(audit: Audit) -> Iterator[dict[str, Any]]:
    for f in audit.salience:
        d = f.difference
        yield (
            {"question": f.question, "explainer": f.explainer, "first": f.first, "second": f.second, "verdict": f.text}
            | _of(f.measure)
            | {"value": d and d.value, "low": d and d.low, "high": d and d.high, "n": d.n if d else 0}
        )


def _costs(audit: Audit) -> Iterator[dict[str, Any]]:
    for on in audit.on:
        for c in on.costs:
            yield _on(on.name) | {"metric": c.metric, "maps": c.maps, "forward": c.passes.forward,
                                  "backward": c.passes.backward, "seconds": c.seconds}  # fmt: skip


def _verdicts(audit: Audit) -> Iterator[dict[str, Any]]:
    for measure, found in audit.verdicts.items():
        for kind in found.begins:
            yield _of(measure) | {"verdict": found.text, "sensitive": kind, "begins": found.begins[kind],
                                  "holds": found.holds[kind]}  # fmt: skip


def _on(name: str) -> dict[str, Any]:
    kind = evidence(name)
    return {"evidence": name, "sensitive": kind.sensitive, "weight": kind.weight}


def _of(m: Measure) -> dict[str, Any]:
    return {
        "metric": m.metric,
        "score": m.score,
        "item": m.item,
        "better": m.better,
        "headline": m.primary,
        "claims": m.claims,
    }


def _interval(found: Any) -> dict[str, float | None]:
    estimate: Estimate | Tau | None = found if isinstance(found, Estimate | Tau) else None
    return {k: getattr(estimate, k, None) for k in ("value", "low", "high")}
