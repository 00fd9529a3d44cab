"""The command ``pack``: options are declared here, everything that computes is imported when it is given."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from xaibench.api import SHARED_FLAGS, JsonFlag, PluginFiles, UsageError, help_page, location, print_json


@help_page(
    "Check and extend",
    "xaibench pack --dataset faces --out s3://bucket/faces",
    "xaibench pack --dataset demo:identities=1000 --out shards --shard-mib 16",
)
def pack(
    dataset: Annotated[
        str, SHARED_FLAGS["dataset"].option("folder, manifest or dataset to pack, NAME[:KEY=VALUE,...]")
    ],
    out: Annotated[str, typer.Option("--out", "-o", help="Folder or address for archives and manifest.")],
    shard_mib: Annotated[
        int, typer.Option("--shard-mib", min=1, max=2048, help="Size of an archive in MiB; it is held in memory.")
    ] = 64,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Only so many samples, real counterparts too.")
    ] = None,
    plugin: PluginFiles = None,
    json: JsonFlag = False,
) -> None:
    """Pack a dataset into tar archives and a manifest of their members, for an object store."""
    from xaibench import load_registry, open_dataset
    from xaibench_datasets.packing import MANIFEST, Packed
    from xaibench_datasets.packing import pack as pack_samples

    source = open_dataset(dataset, registry=load_registry(plugin or [])).instance
    folder = location(out)
    if (folder / MANIFEST).is_file():
        raise UsageError(f"{out} holds a {MANIFEST} already", "give a new folder with --out")
    samples = source.samples()

    def say(packed: Packed) -> None:
        print(
            f"{packed.samples:,} samples in {packed.shards:,} archives, {packed.size / 2**20:,.0f} MiB", file=sys.stderr
        )

    packed = pack_samples(source, samples if limit is None else samples[:limit], folder, shard_mib * 2**20, say)
    for problem in packed.problems[:10]:
        print(f"left out: {problem}", file=sys.stderr)
    if json:
        print_json({
            "schema": "xaibench.pack/1", "out": out, "samples": packed.samples, "archives": packed.shards,
            "bytes": packed.size, "left_out": len(packed.problems),
        })  # fmt: skip
    else:
        print(f"{packed.samples:,} samples in {packed.shards:,} archives, {len(packed.problems):,} left out: {out}")
    if not packed.samples:
        raise typer.Exit(4)
