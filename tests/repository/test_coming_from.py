"""The page for people who come from other libraries: our snippets run, and every name of ours is one."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from small_networks import PairNet

import xaibench
from xaibench.api import parse_spec

PAGE = (Path(__file__).parents[2] / "docs/how-to/coming-from.md").read_text(encoding="utf-8")


def test_the_snippets_run():
    draw = np.random.default_rng(0)
    mask = np.zeros((32, 32))
    mask[4:16, 4:16] = 1
    names = {"net": PairNet(), "images": draw.integers(0, 256, (6, 32, 32, 3), dtype=np.uint8),
             "labels": ["fake", "fake", "real"] * 2, "masks": [mask, mask, None] * 2}  # fmt: skip
    for block in re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL):
        torch.manual_seed(0)
        exec(block.replace("card=card\n)", "card=card, controls=False\n)"), names)
        if "scores" in names:
            assert any("ok" in status for status in names["scores"].status.values()), block
    assert names["saliency"].shape == (6, 32, 32) and names["scores"].metric == "average-drop"
    assert np.array_equal(names["saliency"], names["maps"].array)


def test_every_name_of_a_table_is_a_component():
    registry = xaibench.load_registry()
    known = {c.record.name for c in registry.components if c.record.kind in ("explainer", "metric")}
    rows = [line.split("|")[2] for line in PAGE.splitlines() if line.startswith("| `")]
    names = [name for cell in rows for name in re.findall("`([^`]+)`", cell)]
    assert len(names) > 40 and {parse_spec(name)[0] for name in names} <= known


@pytest.mark.parametrize("spec", sorted(set(re.findall(r'"([a-z+-]+:[a-z0-9=,.]+)"', PAGE))))
def test_every_spec_of_a_snippet_is_one(spec):
    kinds = ("metric", "explainer")
    registry = xaibench.load_registry()
    kind = next(k for k in kinds if parse_spec(spec)[0] in {c.record.name for c in registry.of_kind(k)})
    assert xaibench.open_component(kind, spec, registry=registry).name == f"xaibench/{spec}"


@pytest.mark.parametrize("library", ["quantus", "captum"])
def test_the_classes_of_a_table_are_there(library):
    module = pytest.importorskip(library)
    section = re.split(r"^## ", PAGE, flags=re.MULTILINE)
    text = next(s for s in section if s.lower().startswith(library))
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    names = [name for cell in rows for name in re.findall("`([A-Za-z_]+)`", cell)]
    places = [module, *(getattr(module, part) for part in ("attr", "metrics") if hasattr(module, part))]
    assert not [n for n in names if not any(hasattr(p, n) for p in places)]
