"""The index and the entries of the picture browser."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from report_tables import METRIC, HandMadeRun, N, map_table, run_tables

from xaibench.api import UnreadablePicture
from xaibench.store.schema import ARTEFACTS
from xaibench_report.browser.browser_data import PictureBrowser
from xaibench_report.page.report_context import ReportContext
from xaibench_report.values.run_values import ScoreInfo

INFO = ScoreInfo(controls=frozenset({"xaibench/random"}), families={METRIC: "faithfulness"})
MASK = np.zeros((8, 8), bool)
MASK[5:, :4] = True  # lower left, 12 of 64 pixels


class MaskedRun(HandMadeRun):
    def picture(self, sample):
        if sample == "s01":
            raise UnreadablePicture("s01 is broken")
        return np.full((8, 8, 3), 128, np.uint8), MASK if sample == "s03" else None

    def to_arrow(self, name, columns=None, where=None):
        return TWINS if name == "artefacts" else super().to_arrow(name, columns, where)


def twin(flipped):
    data = np.full((3, 8, 8), 0.5, "<f4").tobytes()
    return {
        "run": "r", "unit": "u", "cell": "c", "model": "xaibench/demo", "member": "0", "dataset": "xaibench/faces",
        "sample": "s03", "group": "g3", "cross_group": None, "label": "fake", "method": "swap", "kind": "twin",
        "parameters": '{"steps":9}', "artefact": "a", "numbers": [("flipped", flipped), ("p_real_after", 0.75)],
        "tensors": [{"name": "twin", "dtype": "float32", "shape": [3, 8, 8], "data": data}], "forward": 1,
        "backward": 0, "status": "ok", "reason": None,
    }  # fmt: skip


TWINS = pa.Table.from_pylist([twin(1.0)], schema=ARTEFACTS)


def context(**changes):
    tables = run_tables()
    run = MaskedRun(map_table(), object(), "")
    return ReportContext(run=run, tables=replace(tables, artefacts=TWINS), info=INFO, **changes)


def entry(sample):
    browser = PictureBrowser(context())
    return browser.entry(sample, browser.map_rows([sample]))


def test_the_index_lists_pictures_with_what_filters_them():
    index = PictureBrowser(context()).index
    assert len(index["pictures"]) == N and index["rule"].startswith(f"{N} of {N} pictures with maps.")
    assert index["explainers"] == [{"name": "gradcam", "role": "explainer"}, {"name": "random", "role": "control"}]
    listed = {p["sample"]: p for p in index["pictures"]}
    assert listed["s03"]["verdict"] in ("real", "fake") and set(listed["s03"]["right"]) <= {"right", "wrong", "none"}
    assert "transparent" in index["normalisation"] and len(index["legend"]["signed"]) == 9
    json.dumps(index, allow_nan=False)


def test_a_number_that_is_asked_for_is_kept():
    assert len(PictureBrowser(context(most_pictures=5)).index["pictures"]) == 5


def test_an_entry_holds_picture_mask_maps_and_twin():
    masked = entry("s03")
    assert masked["picture"].startswith("data:image/webp;base64,") and masked["outline"].startswith("M")
    assert masked["mask"] == "19 % of the picture" and "lower left" in masked["alt"]
    (detector,) = masked["detectors"]
    assert [m["explainer"] for m in detector["maps"]] == ["gradcam", "random"]
    first = detector["maps"][0]
    # the map is a ramp from -1 in the upper left to 1 in the lower right; 12 of its positive values lie in the mask
    ramp = np.clip(np.linspace(-1, 1, 64).reshape(8, 8).astype("<f2").astype(float), 0, None)
    share = round(100 * ramp[MASK].sum() / ramp.sum())
    assert first["words"] == f"{share} % of the relevance inside the mask; strongest in the lower right"
    assert first["alt"].startswith("gradcam on fake picture s03 (swap): ") and first["signed"] is True
    assert [(a["title"], a["verdict"]) for a in detector["attacked"]] == [
        ("twin steps 9", "called real, P(fake) = 0.250")
    ]
    assert entry("s05")["outline"] == "" == entry("s05")["mask"]


def test_a_picture_that_broke_says_so_and_the_others_are_there():
    browser = PictureBrowser(context())
    index, entries = browser.index, browser.entries()
    broken = [e for e in entries.values() if "failed" in e]
    assert [e["failed"] for e in broken] == ["s01 is broken"] and len(entries) == len(index["pictures"]) == N
    with pytest.raises(UnreadablePicture):
        entry("s01")
