"""Manifests as spreadsheets write them: separators, marks of the encoding, and a line that names the separator."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest

from xaibench.api import DatasetError
from xaibench_datasets.csv_dialect import separator_of
from xaibench_datasets.manifest import REQUIRED, ManifestDataset, ManifestParameters

ROWS = (
    ("id", "image", "label", "method", "note"),
    ("r", "r.png", "real", "", "a,b"),
    ("f", "f.png", "fake", "m", "0,5"),
)


def samples(folder: Path, name: str = "manifest.csv") -> list[tuple[str, str, str | None, dict[str, object]]]:
    for picture in ("r.png", "f.png"):
        (folder / picture).touch()
    dataset = ManifestDataset(ManifestParameters(path=str(folder / name)))
    assert dataset.problems() == ()
    return [(s.id, s.label, s.method, dict(s.columns)) for s in dataset.samples()]


WANTED = [("f", "fake", "m", {"note": "0,5"}), ("r", "real", None, {"note": "a,b"})]


@pytest.mark.parametrize("separator", [";", "\t", "|"])
@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
@pytest.mark.parametrize("said", [False, True])
def test_separators(tmp_path: Path, separator: str, mark: bytes, said: bool) -> None:
    lines = [f"sep={separator}"] * said + [separator.join(row) for row in ROWS]
    (tmp_path / "manifest.csv").write_bytes(mark + "\r\n".join(lines).encode())
    assert samples(tmp_path) == WANTED


def test_unicode_text_of_a_spreadsheet(tmp_path: Path) -> None:
    (tmp_path / "manifest.tsv").write_bytes("\n".join("\t".join(row) for row in ROWS).encode("utf-16"))
    assert samples(tmp_path, "manifest.tsv") == WANTED


@pytest.mark.parametrize(
    ("header", "separator"),
    [
        ("id,image,label", ","),
        ("id;image;label;age,years", ";"),
        ('"id"\t"image"\t"label"', "\t"),
        ("id,image", ","),
        ("id;image", ";"),
        ("name of it", ","),
        ("", ","),
    ],
)
def test_the_separator_is_the_one_of_the_required_columns(header: str, separator: str) -> None:
    assert separator_of(header, REQUIRED) == separator


@pytest.mark.parametrize(
    ("content", "what", "mend"),
    [
        (
            "id image label\nr r.png real\n",
            "has one column alone, 'id image label'",
            "comma, semicolon, tab, vertical bar",
        ),
        ("id;image;label\nr;r.png;real;x\n", "row 2: 4 cells for 3 columns", "hold a semicolon"),
        ("sep=;\nid;image;label\nr;r.png;Real\n", "row 3: label 'Real'", "'real' or 'fake'"),
        ("id;image;kind\n", "no column 'label'", "required: id, image, label"),
    ],
)
def test_errors_name_the_separator(tmp_path: Path, content: str, what: str, mend: str) -> None:
    (tmp_path / "manifest.csv").write_text(content)
    with pytest.raises(DatasetError) as caught:
        samples(tmp_path)
    assert what in caught.value.what
    assert mend in caught.value.mend
