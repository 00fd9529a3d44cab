"""Packing a dataset into tar archives and the manifest of their members.

Files of a dataset made of files are taken over byte by byte; pictures of others are written as PNG, masks as PNG or
TIFF, landmarks as CSV, which lose nothing. The same dataset gives the same bytes whenever it is packed.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from xaibench.api import Dataset, Location, Native, Sample, UnreadablePicture, write_whole
from xaibench_datasets.entries import Entry
from xaibench_datasets.file_ranges import FileRange
from xaibench_datasets.shards import ShardMember

MANIFEST = "manifest.parquet"
_TEXT_COLUMNS = ("id", "image", "label", "method", "group", "donor", "pair", "mask", "landmarks", "split")


@dataclass(slots=True)
class Packed:
    """What was packed: samples, archives, bytes, and the files that could not be read."""

    samples: int = 0
    shards: int = 0
    size: int = 0
    problems: list[str] = field(default_factory=list)


def pack(
    dataset: Dataset,
    samples: Iterable[Sample],
    folder: Location,
    largest: int,
    say: Callable[[Packed], None] = lambda packed: None,
) -> Packed:
    """Pack samples of a dataset into archives of about ``largest`` bytes in a folder; the manifest is written last.

    One archive is in memory at a time. ``say`` is called after each of them. A sample that cannot be read is left out.
    Raises :class:`~xaibench.api.StoreError` where nothing can be written.
    """
    packed, rows = Packed(), list[dict[str, Any]]()
    shard = _Shard(0)
    for sample in samples:
        try:
            files = dict(_files(dataset, sample))
        except UnreadablePicture as error:
            packed.problems.append(error.what)
            continue
        key = f"{packed.samples:08d}"
        cells = {kind: shard.add(f"{key}.{end}", data) for kind, (end, data) in files.items()}
        rows.append({**_columns(sample), **cells})
        packed.samples += 1
        if shard.size >= largest:
            _write(shard, folder, packed, say)
            shard = _Shard(packed.shards)
    if shard.size:
        _write(shard, folder, packed, say)
    if rows:
        write_whole(folder / MANIFEST, _manifest(rows))
    return packed


class _Shard:
    """An archive that is being filled."""

    def __init__(self, number: int) -> None:
        self.name = f"shard-{number:05d}.tar"
        self._bytes = io.BytesIO()
        self._tar = tarfile.open(fileobj=self._bytes, mode="w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115

    @property
    def size(self) -> int:
        return self._bytes.tell()

    def add(self, name: str, data: bytes) -> str:
        """Add a member; the cell that names it."""
        member = tarfile.TarInfo(name)
        member.size = len(data)
        start = self._bytes.tell() + tarfile.BLOCKSIZE
        self._tar.addfile(member, io.BytesIO(data))
        return str(ShardMember(self.name, start, len(data)))

    def close(self) -> bytes:
        self._tar.close()
        return self._bytes.getvalue()


def _write(shard: _Shard, folder: Location, packed: Packed, say: Callable[[Packed], None]) -> None:
    data = shard.close()
    write_whole(folder / shard.name, data)
    packed.shards += 1
    packed.size += len(data)
    say(packed)


def _files(dataset: Dataset, sample: Sample) -> Iterator[tuple[str, tuple[str, bytes]]]:
    """The files of a sample by column, each with the end of its name."""
    entry = getattr(dataset, "entry", lambda sample: None)(sample)
    yield from _own_files(entry) if isinstance(entry, Entry) else _encoded(dataset.read(sample))


def _own_files(entry: Entry) -> Iterator[tuple[str, tuple[str, bytes]]]:
    entry.read()  # refuses what cannot be decoded
    content = entry.picture.read_bytes()
    yield "image", (_ending(entry.picture, content) or "png", content)
    if entry.mask:
        content = entry.mask.read_bytes()
        yield "mask", (f"mask.{_ending(entry.mask, content)}", content)
    if entry.landmarks:
        yield "landmarks", ("landmarks.csv", entry.landmarks.read_bytes())


def _ending(file: Location, content: bytes) -> str:
    """The ending of a file's name; of a member of an archive, which has no name, that of its format."""
    if not isinstance(file, FileRange):
        return file.suffix.lower().lstrip(".")
    with Image.open(io.BytesIO(content)) as image:
        return (image.format or "").lower()


def _encoded(native: Native) -> Iterator[tuple[str, tuple[str, bytes]]]:
    yield "image", ("png", _picture(native.pixels, "PNG"))
    if native.mask is not None:
        whole = native.mask.dtype == np.uint8
        yield "mask", ("mask.png" if whole else "mask.tif", _picture(native.mask, "PNG" if whole else "TIFF"))
    if native.landmarks is not None:
        lines = (",".join(repr(float(v)) for v in point) for point in native.landmarks)
        yield "landmarks", ("landmarks.csv", "\n".join(["x,y", *lines, ""]).encode())


def _picture(values: Any, form: str) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(values)).save(stream, form)
    return stream.getvalue()


def _columns(sample: Sample) -> dict[str, Any]:
    """The row of a sample without its files. ``donor`` is the other factor of a crossed group."""
    return {
        "id": sample.id, "label": sample.label, "method": sample.method, "group": sample.group,
        "donor": sample.cross_group, "pair": sample.pair, "split": sample.split, **dict(sample.columns),
    }  # fmt: skip


def _manifest(rows: list[dict[str, Any]]) -> bytes:
    """The manifest as Parquet; columns that nobody fills are left out."""
    import pyarrow as pa
    from pyarrow import parquet

    names = dict.fromkeys([*_TEXT_COLUMNS, *(name for row in rows for name in row)])
    columns = {name: [row.get(name) for row in rows] for name in names}
    table = pa.table({n: v for n, v in columns.items() if any(x is not None for x in v)})
    sink = io.BytesIO()
    parquet.write_table(table, sink, compression="zstd", row_group_size=65536)
    return sink.getvalue()
