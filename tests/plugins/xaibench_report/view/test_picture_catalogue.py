"""Filters over all pictures of a run."""

import pyarrow as pa
import pytest

from xaibench.api import UsageError
from xaibench.store.schema import PREDICTIONS
from xaibench_report.values.run_values import RunTables
from xaibench_report.view.picture_catalogue import PAGE, PictureCatalogue

HOSTILE = "<img src=x onerror=alert(1)>"


def catalogue(count=4):
    ids = [HOSTILE, "b/2", "c/3", "d/4", *(f"e/{i}" for i in range(count - 4))]
    labels = ["fake", "real", "fake", "real", *["real"] * (count - 4)]
    samples = pa.table({
        "sample": ids, "order": pa.array([*range(count - 1), None], pa.int64()), "label": labels,
        "method": ["swap\x1b[31m", None, "blend", None, *[None] * (count - 4)],
    })  # fmt: skip
    row = {name: "" for name in PREDICTIONS.names if PREDICTIONS.field(name).type == pa.string()}
    rows = [
        {**row, "sample": s, "status": "ok", "correct": i != 2, "verdict": "fake", "p_fake": 0.75, "probabilities": []}
        for i, s in enumerate(ids)
    ]
    predictions = pa.Table.from_pylist(rows, schema=PREDICTIONS.remove_metadata())
    tables = RunTables(scores=pa.table({}), predictions=predictions, commits=pa.table({}), samples=samples)
    return PictureCatalogue(tables, {"c/3": ("worst", "disputed")})


def keys(page):
    return [p["key"] for p in page["pictures"]]


def test_pictures_of_the_plan_are_listed_in_its_order():
    page = catalogue().page({})
    assert page["total"] == 3  # the last one has no place in the plan
    assert keys(page) == [HOSTILE, "b/2", "c/3"]
    assert page["pictures"][0] == {
        "key": HOSTILE, "sample": HOSTILE, "reasons": [], "right": ["right"], "verdict": "fake",
        "columns": {"label": "fake", "method": "swap\\x1b[31m"},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"column.label": "fake"}, [HOSTILE, "c/3"]),
        ({"column.method": "swap\\x1b[31m"}, [HOSTILE]),
        ({"right": "wrong"}, ["c/3"]),
        ({"reason": "disputed"}, ["c/3"]),
        ({"reason": "best"}, []),
        ({"q": "IMG"}, [HOSTILE]),
        ({"column.label": "fake", "right": "right"}, [HOSTILE]),
        ({"offset": "2"}, ["c/3"]),
        ({"offset": "99"}, []),
    ],
)
def test_filters_leave_what_passes_all_of_them(asked, expected):
    assert keys(catalogue().page(asked)) == expected


def test_a_part_holds_a_hundred_pictures():
    many = catalogue(250)
    assert len(many.page({})["pictures"]) == PAGE
    assert many.page({})["total"] == 249
    assert len(many.page({"offset": "200"})["pictures"]) == 49


@pytest.mark.parametrize("asked", [{"column.digest": "x"}, {"path": "/etc/passwd"}, {"right": "1"}, {"offset": "-1"}])
def test_an_unknown_filter_or_value_is_refused(asked):
    with pytest.raises(UsageError):
        catalogue().page(asked)
