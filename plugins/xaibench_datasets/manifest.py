"""A table of pictures: ``manifest.csv``, ``manifest.tsv`` or ``manifest.parquet``, one row a picture.

=============  =====================================================================================================
``id``         unique name of the sample
``image``      picture file; this and all files are relative to the folder of the table and stay inside it. A member of
               a tar archive is ``ARCHIVE.tar@START+SIZE``, its bytes there (:mod:`xaibench_datasets.shards`)
``label``      ``real`` or ``fake``
``method``     the manipulation; empty when real, ``fake`` where a fake has none
``identity``   the person shown, the unit of the statistical groups
``donor``      the person whose face or part was put in; joins two identities into one group
``pair``       id of the real counterpart, aligned pixel by pixel
``mask``       blending weights of the manipulation, as a picture
``landmarks``  CSV of points ``x,y`` in pixels
``split``      ``train``, ``val``, ``test`` or any other name
=============  =====================================================================================================

The first three are required. A column ``group`` or ``video`` stands in for ``identity`` where it is given; without any
of them the counterpart is the group. Where random donors join too much, identity and donor are two crossed factors
(:mod:`xaibench.api`). Further columns (``generator``, ``age``) are kept as columns of the samples: numbers where every
cell is one, else text (:mod:`xaibench_datasets.columns`). Columns without a name are passed over, and so are those of a
Parquet table that hold lists, structures or bytes. A cell holds 131,072 bytes at most, and a table has 10,000 columns.

Cells of a text table are separated as its first line is: by comma, semicolon, tab or vertical bar
(:mod:`xaibench_datasets.csv_dialect`). Numbers have a decimal point; with a decimal comma they are text.
"""

from __future__ import annotations

import csv
import difflib
import math
import posixpath
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NoReturn

from pydantic import Field

from xaibench.api import (
    DatasetError,
    FileNames,
    Location,
    Parameters,
    Problem,
    Sample,
    check_column_names,
    location,
    statistical_groups,
)
from xaibench_datasets.columns import Value, rows_of_columns
from xaibench_datasets.csv_dialect import SEPARATORS, encoding_of, said_separator, separator_of
from xaibench_datasets.entries import Entry
from xaibench_datasets.files import ListedDataset, Listing, listing
from xaibench_datasets.label_names import label_doubt
from xaibench_datasets.shards import Shard, ShardMember

NAMES = ("manifest.csv", "manifest.tsv", "manifest.parquet")
_TEXT = (".csv", ".tsv")
REQUIRED = ("id", "image", "label")
OPTIONAL = ("method", "identity", "donor", "pair", "mask", "landmarks", "split")
GROUPING = ("group", "video", "identity")
_KNOWN = frozenset((*REQUIRED, *OPTIONAL, *GROUPING))
_BATCH = 1024  # rows
_MOST_COLUMNS = 10_000
_LONGEST = 131_072  # bytes of a cell, as the module csv has it
_LARGEST_GROUP = 2**30  # bytes of a row group, unpacked
_INDEX = re.compile(r"__index_level_\d+__")


class ManifestParameters(Parameters):
    """Where the table is."""

    path: str = Field(
        "", description="the table (.csv, .tsv or .parquet), or the folder that holds manifest.csv, .tsv or .parquet"
    )


@dataclass(frozen=True, slots=True)
class _Row:
    """One row: its number as a person counts it, and its cells, ``""`` where empty."""

    number: int
    cells: Mapping[str, str]

    def __getitem__(self, column: str) -> str:
        return self.cells.get(column, "")


class ManifestDataset(ListedDataset):
    """Dataset ``manifest``: a CSV or Parquet table of pictures.

    A row that cannot be understood is a :class:`DatasetError` naming it; a file that is missing or lies outside the
    folder is a problem, and only its sample (or mask, or landmarks) is left out.
    """

    Parameters = ManifestParameters

    def __init__(self, parameters: ManifestParameters) -> None:
        self.parameters = parameters

    def _list(self) -> Listing:
        file = _table_file(self.parameters.path)
        rows = _read(file)
        further = dict(zip((row["id"] for row in rows), _further_values(rows), strict=True))
        problems: list[Problem] = []
        files = _Files(file.parent, problems)
        kept = [(row, image) for row in rows if (image := files.find(row["image"])) is not None]
        return listing(_entries(kept, further, files), problems, file, file.parent)


def _table_file(path: str) -> Location:
    place = location(path)
    candidates = [place / name for name in NAMES] if path and place.is_dir() else [place]
    found = next((c for c in candidates if path and c.is_file()), None)
    if found is None:
        what = f"{path} holds none of {', '.join(NAMES)}" if len(candidates) > 1 else f"manifest: no file {path!r}"
        raise DatasetError(what, "write --dataset manifest:path=FOLDER or path=TABLE.csv")
    if found.suffix.lower() not in (*_TEXT, ".parquet"):
        raise DatasetError(f"{found} is neither .csv, .tsv nor .parquet", "write the table as one of them")
    return found


def _read(file: Location) -> list[_Row]:
    """The rows, checked. The first wrong one ends the reading: a table of a billion such rows costs nothing."""
    read = _csv_rows if file.suffix.lower() in _TEXT else _parquet_rows
    return list(_checked(read(file), file))


def _check_columns(columns: Sequence[str], file: Location) -> None:
    if len(columns) > _MOST_COLUMNS:
        raise DatasetError(
            f"{file} has {len(columns):,} columns, more than {_MOST_COLUMNS:,}", "leave out those that tell no picture"
        )
    if len(columns) == 1 and file.suffix.lower() in _TEXT:
        names = ", ".join(SEPARATORS.values())
        raise DatasetError(
            f"{file} has one column alone, {columns[0][:80]!r}",
            f"separate columns {', '.join(REQUIRED)} by one of: {names}",
        )
    missing = [name for name in REQUIRED if name not in columns]
    if missing:
        raise DatasetError(
            f"{file} has no column {missing[0]!r}", f"required: {', '.join(REQUIRED)}; optional: {', '.join(OPTIONAL)}"
        )
    for name in _further(columns):
        near = difflib.get_close_matches(name, (*REQUIRED, *OPTIONAL), n=1, cutoff=0.8)
        if near and near[0] not in columns:
            raise DatasetError(f"{file}: column {name!r} is not known", f"did you mean {near[0]!r}?")
    twice = [name for name, count in Counter(columns).items() if count > 1]
    if twice:
        raise DatasetError(f"{file} has two columns {twice[0]!r}", "rename one of them")
    check_column_names(_further(columns), str(file))


def _further(columns: Iterable[str]) -> list[str]:
    """The columns that this module does not interpret; not those without a name, as which pandas writes its index."""
    return [c for c in columns if c not in (*REQUIRED, *OPTIONAL, *GROUPING) and c and not _INDEX.fullmatch(c)]


def _csv_rows(file: Location) -> Iterator[_Row]:
    try:
        with file.open(encoding=encoding_of(file), newline="") as stream:
            first = stream.readline()
            said = said_separator(first)
            separator = said or separator_of(first, REQUIRED)
            reader = csv.reader(stream if said else chain([first], stream), delimiter=separator, strict=True)
            columns = [name.strip() for name in next(reader, [])]
            _check_columns(columns, file)
            for cells in reader:
                if len(cells) > len(columns):
                    raise DatasetError(
                        f"{file}, row {reader.line_num + bool(said)}: {len(cells)} cells for {len(columns)} columns",
                        f"put cells that hold a {SEPARATORS[separator]} into double quotes",
                    )
                if any(cells):
                    yield _Row(reader.line_num + bool(said), dict(zip(columns, map(str.strip, cells), strict=False)))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{file} cannot be read as CSV: {error}", "save it as comma-separated UTF-8") from None


def _parquet_rows(file: Location) -> Iterator[_Row]:
    import pyarrow
    from pyarrow import parquet

    try:
        with file.open("rb") as stream:
            schema = parquet.ParquetFile(stream).schema_arrow
            _check_columns(schema.names, file)
            # What repeats stays as it is stored: a file of a kilobyte may say one long text a million times.
            table = parquet.ParquetFile(stream, read_dictionary=[f.name for f in schema if _is_text(f.type)])
            _check_sizes(table, file)
            fields = [f for f in table.schema_arrow if f.name in _KNOWN or _is_plain(f.type)]
            number = 0
            for batch in table.iter_batches(_BATCH, columns=[f.name for f in fields], use_threads=False):
                columns = [_texts(batch.column(f.name), f, file) for f in fields]
                for cells in zip(*columns, strict=True):
                    number += 1
                    yield _Row(number, dict(zip((f.name for f in fields), cells, strict=True)))
    except (OSError, pyarrow.ArrowException, MemoryError, OverflowError, UnicodeDecodeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise DatasetError(f"{file} cannot be read as Parquet: {reason}", "write it again") from None


def _check_sizes(table: Any, file: Location) -> None:
    """Refuse a file that says of itself that a part of it fills the memory."""
    sizes = [table.metadata.row_group(i).total_byte_size for i in range(table.metadata.num_row_groups)]
    if max(sizes, default=0) > _LARGEST_GROUP:
        raise DatasetError(
            f"{file} has a row group of {max(sizes):,} bytes, more than {_LARGEST_GROUP:,}", "write smaller row groups"
        )


def _texts(column: Any, field: Any, file: Location) -> list[str]:
    """The cells of a column as text. Raises :class:`DatasetError` for what cannot be written as text."""
    import pyarrow.compute as pc
    from pyarrow import types

    texts = column.dictionary if types.is_dictionary(column.type) else column
    if _is_text(texts.type):
        longest = pc.max(pc.binary_length(texts)).as_py() or 0
        if longest > _LONGEST:
            raise DatasetError(
                f"{file}: a cell of column {field.name!r} holds {longest:,} bytes, more than {_LONGEST:,}", "shorten it"
            )
    try:
        cells = [_text(value) for value in texts.to_pylist()]
        if texts is column:
            return cells
        return ["" if index is None else cells[index] for index in column.indices.to_pylist()]
    except (ArithmeticError, ValueError, LookupError, TypeError) as error:  # dates and zones that Python does not have
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise DatasetError(
            f"{file}: column {field.name!r} of type {field.type} cannot be written as text: {reason}",
            "write it as text",
        ) from None


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_string(kind) or types.is_large_string(kind))


def _is_plain(kind: Any) -> bool:
    """Whether cells of an Arrow type are numbers or text, or are written as text, such as dates."""
    from pyarrow import types

    kind = kind.value_type if types.is_dictionary(kind) else kind
    return not types.is_nested(kind) and "binary" not in str(kind)


def _text(value: object) -> str:
    """A cell as text. Numbers that only became floating because of empty cells (17.0) are whole again."""
    if isinstance(value, float):
        return "" if math.isnan(value) else str(int(value)) if value.is_integer() else str(value)
    return "" if value is None else str(value).strip()


def _checked(rows: Iterable[_Row], file: Location) -> Iterator[_Row]:
    first: dict[str, int] = {}
    for row in rows:
        name, _, label = (row[column] or _refuse_empty(column, row, file) for column in REQUIRED)
        if label not in ("real", "fake"):
            raise DatasetError(f"{file}, row {row.number}: label {label!r}", "a label is 'real' or 'fake'")
        if (number := first.setdefault(name, row.number)) != row.number:
            raise DatasetError(f"{file}, row {row.number}: id {name!r} is also row {number}'s", "ids must be unique")
        yield row


def _refuse_empty(column: str, row: _Row, file: Location) -> NoReturn:
    raise DatasetError(f"{file}, row {row.number}: no {column}", f"fill in the column {column!r}")


def _further_values(rows: Sequence[_Row]) -> list[tuple[tuple[str, Value], ...]]:
    names = _further(dict.fromkeys(name for row in rows for name in row.cells))
    return rows_of_columns({name: [row[name] for row in rows] for name in names}, len(rows))


class _Files:
    """The files that the cells of a table name, and the ``problems`` of those that are not there."""

    def __init__(self, root: Location, problems: list[Problem]) -> None:
        self.problems = problems
        self._names = FileNames(root)
        self._shards: dict[str, Shard | None] = {}

    def find(self, cell: str) -> Location | None:
        """The file of a cell, or None with a problem where it is missing or lies outside the folder of the table."""
        member = ShardMember.parse(cell)
        if member is None:
            return self._find(cell)
        if member.shard not in self._shards:
            found = self._find(member.shard)
            self._shards[member.shard] = Shard.of(found) if found is not None else None
        shard = self._shards[member.shard]
        if shard is not None and (reason := shard.refuses(member)):
            self.problems.append(Problem(cell, reason))
            return None
        return shard.range_of(member) if shard is not None else None

    def _find(self, relative: str) -> Location | None:
        path = posixpath.normpath(relative.replace("\\", "/"))
        if path.startswith(("/", "../")) or path == ".." or path[1:2] == ":":
            self.problems.append(Problem(relative, "lies outside the folder of the manifest"))
            return None
        if not self._names.is_file(path):
            self.problems.append(Problem(relative, "does not exist"))
            return None
        return self._names.root / path


def _entries(
    kept: Sequence[tuple[_Row, Location]],
    further: Mapping[str, tuple[tuple[str, Value], ...]],
    files: _Files,
) -> list[Entry]:
    rows = [row for row, _ in kept]
    by_id = {row["id"]: row for row in rows}
    groups = statistical_groups(
        [_identity(row, by_id) for row in rows],
        [row["donor"] or None for row in rows],
        [row["split"] or None for row in rows],
    )
    entries = []
    for (row, image), group, cross in zip(kept, groups.group, groups.cross_group, strict=True):
        fake = row["label"] == "fake"
        mask = files.find(row["mask"]) if row["mask"] else None
        landmarks = files.find(row["landmarks"]) if row["landmarks"] else None
        sample = Sample(
            id=row["id"],
            label="fake" if fake else "real",
            group=group,
            cross_group=cross,
            method=(row["method"] or "fake") if fake else None,
            pair=_pair(row, by_id, files.problems) if fake else None,
            split=row["split"] or None,
            has_mask=mask is not None,
            has_landmarks=landmarks is not None,
            columns=further[row["id"]],
            doubt=label_doubt(
                posixpath.dirname(row["image"].replace("\\", "/")).split("/"), "fake" if fake else "real"
            ),
        )
        entries.append(Entry(sample, image, mask, landmarks))
    return entries


def _identity(row: _Row, by_id: Mapping[str, _Row]) -> str:
    given = next((row[column] for column in GROUPING if row[column]), "")
    if given:
        return given
    real = by_id.get(row["pair"])
    return (next((real[c] for c in GROUPING if real[c]), "") if real else "") or row["pair"] or row["id"]


def _pair(row: _Row, by_id: Mapping[str, _Row], problems: list[Problem]) -> str | None:
    if not row["pair"]:
        return None
    real = by_id.get(row["pair"])
    if real is None or real["label"] != "real":
        reason = "is not listed, or its picture is missing" if real is None else "is not a real picture"
        problems.append(Problem(row["id"], f"its pair {row['pair']!r} {reason}"))
        return None
    return row["pair"]
