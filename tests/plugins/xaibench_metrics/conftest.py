"""What several tests of metrics share."""

from typing import Any

import numpy as np
import pytest


@pytest.fixture
def quantus(monkeypatch: pytest.MonkeyPatch) -> Any:
    if not hasattr(np, "trapz"):
        monkeypatch.setattr(np, "trapz", np.trapezoid, raising=False)
    return pytest.importorskip("quantus", exc_type=ImportError)
