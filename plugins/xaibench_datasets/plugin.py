"""Registers the built-in datasets and the command ``pack``; imports none of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from xaibench.api import DatasetRecord, hookimpl
from xaibench_datasets.references import ROSSLER_2019, SHIOHARA_2022

if TYPE_CHECKING:
    import typer

XAIBENCH_API = "1"

_EVERYTHING = frozenset(("mask", "pair", "landmarks"))


@hookimpl
def xaibench_datasets() -> Sequence[DatasetRecord]:
    return [
        DatasetRecord(
            name="demo",
            target="xaibench_datasets.demo:DemoDataset",
            summary="Procedural faces and manipulations of one known part; nothing to download.",
            gives=_EVERYTHING,
        ),
        DatasetRecord(
            name="folder",
            target="xaibench_datasets.folder:FolderDataset",
            summary="A folder of real/, fake/METHOD/ and, if there are any, masks/METHOD/ and landmarks/.",
            gives=_EVERYTHING,
            markers=("real", "fake"),
            precedence=30,
        ),
        DatasetRecord(
            name="manifest",
            target="xaibench_datasets.manifest:ManifestDataset",
            summary="A CSV or Parquet table with one row a picture: id, image, label and more.",
            gives=_EVERYTHING,
            markers=("manifest.csv", "manifest.tsv", "manifest.parquet"),
            precedence=10,
        ),
        DatasetRecord(
            name="faceforensics",
            target="xaibench_datasets.faceforensics:FaceForensicsDataset",
            summary="The FaceForensics++ tree of frames: six methods, raw, c23 or c40, masks and official splits.",
            references=(ROSSLER_2019,),
            gives=frozenset(("mask", "pair")),
            markers=("original_sequences", "manipulated_sequences"),
            precedence=20,
        ),
        DatasetRecord(
            name="self-blend",
            target="xaibench_datasets.self_blending.dataset:SelfBlendDataset",
            summary="Real faces of another dataset, and pseudo-fakes blended of each picture with itself.",
            references=(SHIOHARA_2022,),
            gives=_EVERYTHING,
        ),
    ]


@hookimpl
def xaibench_add_commands(app: typer.Typer) -> None:
    """``xaibench pack``."""
    from xaibench_datasets.pack_command import pack

    app.command("pack")(pack)
