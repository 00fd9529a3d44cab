"""What the datasets made of files share: finding pictures, reading them, and patterns on their names."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, ClassVar

from pydantic import AfterValidator

from xaibench.api import (
    PICTURE_SUFFIXES,
    DatasetError,
    Location,
    Native,
    NothingToEvaluate,
    Problem,
    RemotePath,
    Sample,
    list_folder,
    location,
    relative_name,
)
from xaibench_datasets.entries import Entry
from xaibench_datasets.files_ahead import FilesAhead


@dataclass(frozen=True, slots=True)
class Listing:
    """A dataset listed: entries by id, in the order of the ids, the files left out, the folder or table, and the folder
    that its files lie in."""

    entries: Mapping[str, Entry]
    problems: tuple[Problem, ...]
    where: str
    root: Location

    @property
    def samples(self) -> tuple[Sample, ...]:
        return tuple(entry.sample for entry in self.entries.values())


class ListedDataset:
    """A dataset whose files are listed once, when they are first asked for. A child lists them in ``_list``.

    Files on another machine are fetched ahead of those that are read (:meth:`expect`).

    ``both_labels``: whether pictures of one label alone mean that a part of the dataset is missing.
    """

    both_labels: ClassVar[bool] = False
    _ahead: FilesAhead | None = None

    @cached_property
    def _listing(self) -> Listing:
        return self._list()

    def _list(self) -> Listing:
        raise NotImplementedError

    def samples(self) -> Sequence[Sample]:
        refuse_lost_label(self._listing, self.both_labels)
        return self._listing.samples

    def listed(self) -> Sequence[Sample]:
        """The samples, be they all real or all fake; for a dataset that makes the others of them."""
        return self._listing.samples

    def read(self, sample: Sample) -> Native:
        entry = self._listing.entries[sample.id]
        return (self._ahead.take(entry) if self._ahead is not None else entry).read()

    def expect(self, samples: Iterable[Sample]) -> None:
        """Fetch the files of samples that lie on another machine while earlier ones are worked on."""
        if self._ahead is not None:
            self._ahead.close()
        entries = (self._listing.entries[s.id] for s in samples)
        self._ahead = FilesAhead(entries) if isinstance(self._listing.root, RemotePath) else None

    def entry(self, sample: Sample) -> Entry:
        """The files of a sample."""
        return self._listing.entries[sample.id]

    def fingerprint(self, sample: Sample) -> str | None:
        return self._listing.entries[sample.id].fingerprint(self._listing.root)

    def problems(self) -> Sequence[Problem]:
        return self._listing.problems


def listing(entries: Sequence[Entry], problems: Sequence[Problem], where: Location, root: Location) -> Listing:
    """Put a listing of the files below ``root`` into its stable order. ``where`` is its name in messages."""
    return Listing(
        {entry.sample.id: entry for entry in sorted(entries, key=lambda e: e.sample.id)},
        tuple(sorted(problems, key=lambda p: (p.file, p.reason))),
        str(where),
        root,
    )


def refuse_lost_label(found: Listing, both_labels: bool) -> None:
    """Raise where a label is missing that was meant to be there: ``both_labels``, or files were left out.

    Raises :class:`NothingToEvaluate` without fakes and :class:`DatasetError` without real pictures.
    """
    labels, problems, where = {s.label for s in found.samples}, found.problems, found.where
    if labels and not problems and not both_labels:
        return
    lost = f" ({len(problems)} files left out, first: {problems[0].file}: {problems[0].reason})" if problems else ""
    other = ", or mend or remove the files that are left out" if problems else ""
    if "fake" not in labels:
        raise NothingToEvaluate(f"no fakes in {where}{lost}", f"add manipulated pictures{other}")
    if "real" not in labels:
        raise DatasetError(f"no real pictures in {where}{lost}", f"add real pictures{other}")


def existing_folder(path: str, component: str) -> Location:
    """The folder of a dataset, local or remote, or :class:`DatasetError`."""
    folder = location(path)
    if not path or not folder.is_dir():
        raise DatasetError(
            f"{component}: {path!r} is no folder" if path else f"{component} needs a folder",
            f"write --dataset {component}:path=FOLDER",
        )
    return folder


def pictures_below(folder: Location, root: Location, problems: list[Problem]) -> Iterator[tuple[str, Location]]:
    """Pictures anywhere below ``folder`` as (name, file), sorted by name.

    A name is the path relative to ``folder`` without suffix, with forward slashes, in one Unicode form. Hidden files
    are passed over. What is no picture by its suffix, has another's name, or cannot be listed is added to
    ``problems``, named relative to ``root``.
    """
    if not folder.is_dir():
        return
    base = portable(relative_name(folder, root))
    seen: dict[str, Location] = {}
    for relative, file in sorted(_files_below(folder, "", base, frozenset(), problems)):
        name, _, suffix = portable(relative).rpartition(".")
        where = f"{base}/{portable(relative)}"
        if not _is_utf8(relative):
            problems.append(Problem(where, "its name is not UTF-8"))
        elif f".{suffix.lower()}" not in PICTURE_SUFFIXES:
            problems.append(Problem(where, "is no picture by its suffix"))
        elif name in seen:
            problems.append(Problem(where, f"has the same name as {seen[name].name}"))
        else:
            seen[name] = file
    yield from sorted(seen.items())


def landmarks_below(folder: Location) -> dict[str, Location]:
    """Files of landmarks (``.csv``) anywhere below ``folder`` by their path relative to it."""
    if not folder.is_dir():
        return {}
    files = _files_below(folder, "", "", frozenset(), [])
    return {portable(relative): file for relative, file in files if relative.endswith(".csv")}


def _files_below(
    folder: Location, prefix: str, base: str, above: frozenset[Location], problems: list[Problem]
) -> Iterator[tuple[str, Location]]:
    """Files as (relative path, file), in no order. ``above`` are the folders that this one is in."""
    real = folder.resolve()
    if real in above:  # a link back to a folder above would never end
        return
    try:
        entries = list_folder(folder)
    except OSError as error:
        reason = f"cannot be listed ({error.strerror or error})"
        problems.append(Problem(f"{base}/{portable(prefix)}".rstrip("/"), reason))
        return
    for name, is_folder in entries:
        if _is_hidden(name):
            continue
        if is_folder:
            yield from _files_below(folder / name, f"{prefix}{name}/", base, above | {real}, problems)
        else:
            yield f"{prefix}{name}", folder / name


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() == "thumbs.db"


def portable(path: str) -> str:
    """A relative path in one Unicode form, and printable."""
    return unicodedata.normalize("NFC", path.encode("utf-8", "backslashreplace").decode())


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _compiles(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"no regular expression: {error}") from None
    return text


Pattern = Annotated[str, AfterValidator(_compiles)]
"""A parameter that holds a regular expression."""


def part_of(name: str, pattern: str, parameter: str) -> str:
    """What ``pattern`` finds in ``name``: its bracketed parts joined, or all that it matches. No match is an error."""
    match = re.search(pattern, name)
    if match is None:
        raise DatasetError(f"{parameter} {pattern!r} does not match {name!r}", "widen the pattern")
    return "".join(part or "" for part in match.groups()) if match.re.groups else match.group()
