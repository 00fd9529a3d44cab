"""What readers see of a run: the rows that its last plan asks for, from one state of its commits."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from xaibench.api import StoreError
from xaibench.store.commits import PLAN_TABLES, TABLES_OF, CommitLog, damaged
from xaibench.store.merging import keep_rows
from xaibench.store.relation import (
    Address,
    Relation,
    RelationCell,
    RelationSamples,
    groups_digest,
    short_digest,
)

if TYPE_CHECKING:
    import pyarrow as pa


class Snapshot:
    """One state of a run's commits, and the plan that is current in it."""

    def __init__(self, log: CommitLog) -> None:
        self.log = log

    # ---- the plan ----

    @cached_property
    def plan(self) -> dict[str, Any]:
        """The last plan, as ``runs`` holds it. Raises :class:`StoreError` where there is none."""
        try:
            plan: dict[str, Any] = json.loads(self.last_run["plan"])
            whole = {"relation", "run_file"} <= set(plan)
        except (ValueError, TypeError, RecursionError):
            whole = False
        if not whole:
            raise self._unreadable_plan()
        return plan

    def _unreadable_plan(self) -> StoreError:
        return StoreError(
            f"{self.log.files.location} holds a plan that cannot be read: its table 'runs' is damaged",
            "evaluate again with another --out",
        )

    @property
    def plan_digest(self) -> str:
        """The digest of the last plan."""
        return str(self.last_run["plan_digest"])

    @cached_property
    def last_run(self) -> dict[str, Any]:
        """Id, plan and digest of the plan of the last row of ``runs``."""
        # The last row, not the latest time: the clocks of several machines do not agree.
        runs = self.whole_table("runs").select(["run", "plan", "plan_digest"])
        if not len(runs):
            self.refuse_damage()
            raise StoreError(
                f"{self.log.files.location} holds no plan: its table 'runs' is lost", "give the same command again"
            )
        last: dict[str, Any] = runs.slice(len(runs) - 1).to_pylist()[0]
        return last

    @property
    def readable(self) -> bool:
        """Whether there is a plan, and its tables are there."""
        try:
            self.last_run, self.samples  # noqa: B018
        except (StoreError, FileNotFoundError):
            return False
        return True

    @cached_property
    def samples(self) -> pa.Table:
        """The table ``samples``."""
        return self.whole_table("samples")

    @cached_property
    def relation(self) -> Relation:
        """The cells and samples of the last plan."""
        try:
            cells = tuple(RelationCell.from_json(c) for c in self.plan["relation"])
            return Relation(cells, relation_samples(self.samples))
        except (ValueError, TypeError):
            raise self._unreadable_plan() from None

    # ---- tables ----

    def whole_table(self, name: str) -> pa.Table:
        """All rows of a table that belongs to no cell. Raises :class:`StoreError` for a missing or damaged file."""
        import pyarrow as pa

        from xaibench.store.schema import TABLES

        files = [f for c in self._in_order() for f in c.of(name)]
        names = [f"{name}/{f.name}" for f in files]
        if damage := {n: self.log.damage[n] for n in names if n in self.log.damage}:
            raise damaged(self.log.files.location, damage)
        parts = [self.log.read_file(f) for f in files]
        if not parts:
            return TABLES[name].empty_table()
        return pa.concat_tables([p.replace_schema_metadata(None) for p in parts], promote_options="default")

    def commits(self) -> pa.Table:
        """The table ``commits``: what the commits hold of each cell, also what is superseded or of other plans."""
        import pyarrow as pa

        from xaibench.store.schema import COMMITS

        return pa.Table.from_pylist(list(self.commit_rows()), schema=COMMITS.remove_metadata())

    def commit_rows(self) -> Iterator[dict[str, Any]]:
        """The rows of :meth:`commits` one by one. No table is made, since pyarrow imports pandas for its first."""
        return (cell.to_row(c.number) for c in self._in_order() for cell in self.log.rows_of(c))

    def table(
        self, name: str, columns: Sequence[str] | None = None, where: Mapping[str, Sequence[str]] | None = None
    ) -> pa.Table:
        """The rows of a table that the last plan asks for, with the present groups of their samples.

        ``where`` keeps the rows whose texts in some columns are among the given ones; file by file, so that others take
        no memory.

        Raises :class:`StoreError` for a damaged file and ``FileNotFoundError`` for one that vanished.
        """
        import pyarrow as pa

        from xaibench.store.schema import TABLES

        schema = TABLES[name].remove_metadata()
        if name == "commits":
            return _rows_where(self.commits(), where).select(list(columns or schema.names))
        if name in PLAN_TABLES:
            whole = _rows_where(self.whole_table(name), where)
            return whole if columns is None else whole.select(list(columns))
        wanted = schema.names if columns is None else list(columns)
        read = list(dict.fromkeys([*wanted, "cell", "dataset", "sample", *(where or ())]))
        parts = []
        for commit in self._in_order():
            allowed = self._allowed(name).get(commit.number)
            for file in commit.of(name) if allowed else ():
                rows = self.log.read_file(file, read, where).replace_schema_metadata(None)
                rows = _rows_where(rows, where)
                parts.append(rows if self.complete else keep_rows(rows, allowed or {}))
        table = pa.concat_tables(parts) if parts else schema.empty_table().select(read)
        return self._with_groups(table).select(wanted)

    def predictions(
        self, relation: Relation, model: str, member: str, dataset: str
    ) -> list[tuple[str, Sequence[float]]]:
        """Sample and class probabilities of each planned prediction of a detector; no probabilities where it failed."""
        cell = relation.by_address[Address("predict", model, member, dataset)]
        ids = relation.samples[dataset].ids
        holders = self.log.ledger.commits(cell.address, ids).tolist()
        found = {}
        for number in sorted(set(holders) - {0}):
            here = {s for s, holder in zip(ids, holders, strict=True) if holder == number}
            for file in self.log.commits[number].of("predictions"):
                rows = self.log.read_file(file, ["cell", "sample", "probabilities"]).to_pydict()
                for key, sample, probabilities in zip(*rows.values(), strict=True):
                    if key == cell.key and sample in here:
                        found[sample] = probabilities
        return list(found.items())

    @cached_property
    def complete(self) -> bool:
        """Whether every row in the store is one of the last plan."""
        planned = sum(int(self.log.ledger.valid(c, self.relation).sum()) for c in self.relation.cells)
        return planned == sum(c.total for c in self.log.commits.values()) and not self.log.damage

    @property
    def outside(self) -> int:
        """The number of current rows of cells and samples that the last plan does not ask for."""
        planned = sum(int(self.log.ledger.valid(c, self.relation).sum()) for c in self.relation.cells)
        return sum(self.log.ledger.counts().values()) - planned

    @cached_property
    def _allowed_by_table(self) -> dict[str, dict[int, dict[str, frozenset[str]]]]:
        found: dict[str, dict[int, dict[str, frozenset[str]]]] = {}
        for cell in self.relation.cells:
            valid = self.log.ledger.valid(cell, self.relation)
            ids = [""] if cell.whole else [
                s for s, v in zip(self.relation.samples[cell.address.dataset].ids, valid, strict=True) if v
            ]  # fmt: skip
            if not valid.any():
                continue
            holders = self.log.ledger.commits(cell.address, ids).tolist()
            by_commit: dict[int, list[str]] = {}
            for sample, number in zip(ids, holders, strict=True):
                by_commit.setdefault(number, []).append(sample)
            key = self.log.ledger.key_of(cell, self.relation) or ""
            for number, samples in by_commit.items():
                for table in TABLES_OF[cell.address.kind]:
                    found.setdefault(table, {}).setdefault(number, {})[key] = frozenset(samples)
        return found

    def _allowed(self, table: str) -> Mapping[int, Mapping[str, frozenset[str]]]:
        return self._allowed_by_table.get(table, {})

    def _with_groups(self, table: pa.Table) -> pa.Table:
        """The table with the groups that its samples have now: they are no part of what a row depends on."""
        import pyarrow as pa
        import pyarrow.compute as pc

        for name in ("group", "cross_group"):
            if name in table.schema.names and len(table):
                here = _pairs(table)
                at = pc.index_in(here, _pairs(self.samples))
                now = pc.take(self.samples[name].combine_chunks(), at)
                known = pc.is_valid(at)
                values = pc.if_else(known, now, table[name])
                table = table.set_column(
                    table.schema.get_field_index(name), table.schema.field(name), pa.chunked_array(values)
                    if isinstance(values, pa.Array) else values,
                )  # fmt: skip
        return table

    def _in_order(self) -> list[Any]:
        return [self.log.commits[n] for n in sorted(self.log.commits)]

    def refuse_damage(self) -> None:
        """Raise :class:`StoreError` where a file is missing or cut short."""
        if self.log.damage:
            raise damaged(self.log.files.location, self.log.damage)


def relation_samples(table: pa.Table) -> dict[str, RelationSamples]:
    """The samples of each dataset that the last plan evaluates, in order, from the table ``samples``."""
    import pyarrow.compute as pc

    # a dataset without a planned sample has an entry, too
    rows = table.select(["dataset", "sample", "order", "digest", "stranger_digest", "group", "cross_group"])
    planned = rows.filter(pc.is_valid(rows["order"])).sort_by([("dataset", "ascending"), ("order", "ascending")])
    rows_of: dict[str, list[tuple[str, int, int]]] = {d: [] for d in rows["dataset"].unique().to_pylist()}
    groups: dict[str, list[tuple[str, str | None]]] = {d: [] for d in rows_of}
    for dataset, sample, _, digest, stranger, group, cross in zip(*planned.to_pydict().values(), strict=True):
        rows_of[dataset].append((sample, short_digest(digest), short_digest(stranger)))
        groups[dataset].append((group, cross))
    found = {}
    for dataset, values in rows_of.items():
        ids, digests, with_strangers = zip(*values, strict=True) if values else ((), (), ())
        found[dataset] = RelationSamples(ids, digests, with_strangers, groups_digest(groups[dataset]))
    return found


def _rows_where(table: pa.Table, where: Mapping[str, Sequence[str]] | None) -> pa.Table:
    """The rows whose texts in some columns are among the given ones; None: all."""
    import pyarrow as pa
    import pyarrow.compute as pc

    for column, values in (where or {}).items():
        table = table.filter(pc.is_in(table[column], pa.array(list(values), pa.string())))
    return table


def _pairs(table: pa.Table) -> Any:
    import pyarrow.compute as pc

    return pc.binary_join_element_wise(table["dataset"], table["sample"], "\0").combine_chunks()
