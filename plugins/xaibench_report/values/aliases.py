"""Short names for the components of one run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from xaibench.api import UsageError, parse_spec
from xaibench_report.values.run_values import short

_INVERSE = "inverse:of="


@dataclass(frozen=True, slots=True)
class Aliases:
    """The short name of every explainer and metric of a run: ``rise`` for ``rise:masks=400`` where the run has no other
    ``rise``, else the name with the parameters in which they differ."""

    names: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, *kinds: Iterable[str]) -> Aliases:
        """``kinds``: the full names of explainers, and those of metrics; names are kept apart within one kind."""
        found: dict[str, str] = {}
        for names in kinds:
            found |= _aliases(sorted(set(names)))
        return cls(found)

    def __call__(self, name: str) -> str:
        """The short name of a component; that of a reference or a stranger is its own."""
        return self.names.get(name, short(name))

    def score(self, metric: str, score: str, between: str = " ") -> str:
        """A metric's short name and its score, said once where both have the same."""
        alias = self(metric)
        return alias if alias.partition(":")[0] == score else f"{alias}{between}{score}"

    def text(self, text: str) -> str:
        """A sentence with the full names in it shortened."""
        longer = {short(n): alias for n, alias in self.names.items() if short(n) != alias}
        for name in sorted(longer, key=len, reverse=True):
            text = re.sub(rf"(?<![\w/=-]){re.escape(name)}(?![\w=-])", longer[name].replace("\\", r"\\"), text)
        return text

    def legend(self, names: Iterable[str]) -> str:
        """``integrated-gradients is integrated-gradients:steps=16``, for those of ``names`` that were shortened; empty
        where none was."""
        shortened = {self(n): short(n) for n in names if self(n) != short(n) and not short(n).startswith(_INVERSE)}
        return ", ".join(f"{alias} ({full.removeprefix(alias).lstrip(':')})" for alias, full in shortened.items())


def _aliases(names: Iterable[str]) -> dict[str, str]:
    plain = [n for n in names if not short(n).startswith(_INVERSE)]
    by_base: dict[str, list[str]] = {}
    for name in plain:
        by_base.setdefault(short(name).partition(":")[0], []).append(name)
    found = {name: alias for base, some in by_base.items() for name, alias in _apart(base, some).items()}
    own = {short(name): alias for name, alias in found.items()}
    inverses = (n for n in names if short(n).startswith(_INVERSE))
    return found | {n: f"inverse of {own.get(of, of)}" for n in inverses for of in [short(n).removeprefix(_INVERSE)]}


def _apart(base: str, names: list[str]) -> dict[str, str]:
    """The names of one component with the parameters in which they differ."""
    if len(names) == 1:
        return {names[0]: base}
    try:
        values = {name: parse_spec(short(name))[1] for name in names}
    except UsageError:  # a component of another process may have a name of any form
        return {name: short(name) for name in names}
    keys = list(dict.fromkeys(k for v in values.values() for k in v))
    differing = [k for k in keys if len({repr(v.get(k)) for v in values.values()}) > 1]
    found = {name: _spec(base, {k: v[k] for k in differing if k in v}) for name, v in values.items()}
    return found if len(set(found.values())) == len(found) else {name: short(name) for name in names}


def _spec(base: str, values: Mapping[str, object]) -> str:
    parts = [f"{key}={value}" if key else str(value) for key, value in values.items()]
    return f"{base}:{','.join(parts)}" if parts else base
