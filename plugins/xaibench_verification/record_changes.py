"""What of detector, pictures, machine, versions and code is not as a run records it."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xaibench import Address, Recomputation, RelationCell, Run

_MACHINE = ("machine", "processor")
_CODE = ("explainer ", "metric ")
_FEW = 3


@dataclass(frozen=True)
class RecordChanges:
    """The record of a run against its plan made anew on this machine."""

    run: Run
    again: Recomputation

    @property
    def lines(self) -> list[str]:
        """What is not as it was, one line each, without pictures and weights."""
        return self.of_runs(self._machines)

    def of_runs(self, runs: Collection[str]) -> list[str]:
        """The same for rows of some invocations. An invocation that is not recorded may be any of those that are."""
        known = [self._machines[run] for run in runs if run in self._machines]
        if len(known) < len(runs):
            known = list(self._machines.values())
        return list(dict.fromkeys([*self._of_plan, *(line for lines in known for line in lines)]))

    # ---- settings and code ----

    @cached_property
    def _identities(self) -> list[tuple[str, str, str]]:
        """Key, old and new value of what is not the same in the identities of the two plans."""
        old, new = self.again.identities
        return [(k, str(old[k]), str(new[k])) for k in old if k in new and old[k] != new[k]]

    @cached_property
    def _of_plan(self) -> list[str]:
        return [*self._settings(), *self._code()]

    def _settings(self) -> Iterator[str]:
        for key, old, new in self._identities:
            if key.startswith("model "):
                names = ("compute batch of", "code that opens")
                for name, a, b in zip(names, _model_parts(old)[1:], _model_parts(new)[1:], strict=True):
                    if a != b:
                        values = f" was {a}, now {b}" if name.startswith("compute") else " is not as it was"
                        yield f"{name} {key.removeprefix('model ').strip()}{values}"
            elif not key.startswith(_CODE):
                yield f"{key} was {old}, now {new}"

    def _code(self) -> Iterator[str]:
        names = [key.partition(" ")[2] for key, _, _ in self._identities if key.startswith(_CODE)]
        if names:
            more = f" and of {len(names) - _FEW} more" if len(names) > _FEW else ""
            yield f"the code or the defaults of {', '.join(names[:_FEW])}{more} are not as they were"

    # ---- machines ----

    @cached_property
    def _machines(self) -> dict[str, list[str]]:
        """What of machine and versions is not that of each recorded invocation."""
        from xaibench import provenance

        here, rows = provenance(), self.run.to_arrow("runs", ["run", "provenance"]).to_pylist()
        return {row["run"]: list(self._machine(json.loads(row["provenance"]), here)) for row in rows}

    def _machine(self, there: Mapping[str, Any], here: Mapping[str, Any]) -> Iterator[str]:
        names = (*_MACHINE, "gpu") if self.again.identities[1]["device"] == "cuda" else _MACHINE
        for name in names:
            if there.get(name) != here.get(name):
                yield f"{name} was {there.get(name) or 'unknown'}, now {here.get(name) or 'unknown'}"
        old, new = there.get("versions", {}), here["versions"]
        told = {"torch", "onnxruntime"} & {key for key, _, _ in self._identities}
        for name in dict.fromkeys((*old, *new)):
            if old.get(name) != new.get(name) and name not in told:
                yield f"{name} was {old.get(name, 'absent')}, now {new.get(name, 'absent')}"

    # ---- detectors and pictures ----

    def why_not(self, address: Address, sample: str) -> str:
        """Why a row cannot be computed again; empty where it can."""
        then, now = self.again.recorded.by_address[address], self.again.planned.by_address.get(address)
        if now is None:
            return self._why_no_cell(address)
        if weights := self._weights(address):
            return weights
        if bool(then.reason) is not bool(now.reason):
            return f"it could run and now cannot: {now.reason}" if now.reason else f"it can run now: {then.reason}"
        if then.reason:
            return ""
        if sample:
            return self._pictures(then).get(sample, "")
        cells = [self.again.recorded.by_address[a] for a in then.inputs if a in self.again.recorded.by_address]
        reasons = (reason for cell in cells or [then] for reason in self._set_changes(cell))
        return next(reasons, "") or self._groups(then)

    def _groups(self, cell: RelationCell) -> str:
        dataset = cell.address.dataset
        same = self.again.recorded.samples[dataset].groups == self.again.planned.samples[dataset].groups
        return f"the groups of {dataset} are not as they were" if cell.grouped and not same else ""

    def _why_no_cell(self, address: Address) -> str:
        for kind in ("model", "dataset"):
            name, cells = getattr(address, kind), self.again.planned.cells
            if name and not any(getattr(c.address, kind) == name for c in cells):
                given = ", ".join(dict.fromkeys(getattr(c.address, kind) for c in cells if getattr(c.address, kind)))
                return f"no {kind} is called {name} (there is {given}): its file or folder has another name"
        return "the plan of the run file has no such row"

    def _weights(self, address: Address) -> str:
        """Why the detector of an address is another one; that of a family is one of its members."""
        for key, old, new in self._identities:
            member = f"model {address.model} {address.member}"
            mine = key == member if address.member or address.kind != "set" else key.startswith(member)
            if mine and (a := _model_parts(old)[0]) != (b := _model_parts(new)[0]):
                name = " ".join(dict.fromkeys((address.model, key.removeprefix(f"model {address.model} "))))
                return f"the detector {name} is another one: its digest was {a[:12]}, now {b[:12]}"
        return ""

    def _set_changes(self, cell: RelationCell) -> Iterator[str]:
        dataset = cell.address.dataset
        yield from self._pictures(cell).values()
        then, now = self.again.recorded.samples[dataset], self.again.planned.samples[dataset]
        if then.ids != now.ids:
            yield f"{dataset} holds other samples than it did"

    def _pictures(self, cell: RelationCell) -> Mapping[str, str]:
        """Why samples of a cell are other ones, by id."""
        dataset, strangers = cell.address.dataset, cell.strangers
        if (dataset, strangers) not in self._known:
            self._known[dataset, strangers] = dict(self._changed_pictures(cell))
        return self._known[dataset, strangers]

    @cached_property
    def _known(self) -> dict[tuple[str, bool], Mapping[str, str]]:
        return {}

    def _changed_pictures(self, cell: RelationCell) -> Iterator[tuple[str, str]]:
        dataset = cell.address.dataset
        digests = dict(zip(self.again.planned.samples[dataset].ids, self.again.planned.digests(cell), strict=True))
        before = zip(self.again.recorded.samples[dataset].ids, self.again.recorded.digests(cell), strict=True)
        for sample, digest in before:
            if sample not in digests:
                yield sample, f"sample {sample} is not in {dataset} any more"
            elif digests[sample] != digest:
                what = f"sample {sample} of {dataset}" + (", or its stranger," if cell.strangers else "")
                yield sample, f"{what} is not as it was: picture, mask, label or counterpart"


def _model_parts(text: str) -> tuple[str, str, str]:
    """Digest, compute batch and code in the identity of a detector (:attr:`xaibench.Recomputation.identities`)."""
    digest, _, rest = text.partition(" batch ")
    batch, _, code = rest.partition(" code ")
    return digest, batch, code
