"""A CSV of a table runs nothing in a spreadsheet, and its numbers stay numbers."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.csv as pc

from xaibench_report.exports.table_file import without_formulas


def test_text_that_begins_as_a_formula_gets_an_apostrophe(tmp_path) -> None:
    texts = ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "\n=x", "plain", "", None, "a=b", "'quoted"]
    table = pa.table({
        "text": texts, "=name": texts, "number": [-1.5] * len(texts), "count": [-2] * len(texts),
        "coded": pa.array(texts).dictionary_encode(),
    })  # fmt: skip
    safe = without_formulas(table)
    expected = [f"'{t}" if t and t[0] in "=+-@\t\r\n" else t for t in texts]
    assert safe.column_names == ["text", "'=name", "number", "count", "coded"]
    for name in ("text", "'=name", "coded"):
        assert safe[name].to_pylist() == expected
    pc.write_csv(safe, tmp_path / "t.csv")
    read = pc.read_csv(tmp_path / "t.csv", parse_options=pc.ParseOptions(newlines_in_values=True))
    assert set(read["number"].to_pylist()) == {-1.5} and set(read["count"].to_pylist()) == {-2}


def test_an_exported_table_is_safe(toy_eval, cli, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert toy_eval("-o", "one", "-q")[0] == 0
    assert cli("export", "one", "--table", "samples", "-o", "samples.csv")[0] == 0
    import csv

    with open("samples.csv", newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert cells and not [c for c in cells if c[:1] in ("=", "+", "@", "\t", "\r")]
