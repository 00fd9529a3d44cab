"""No file and no flag ends a command in another way than those that are documented."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from fuzzing import cases
from fuzzing.base import Base, make_base
from fuzzing.running import Worker
from toy_runs import LONG

SEED = int(os.environ.get("XAIBENCH_TEST_SEED", "0"))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    return make_base(tmp_path_factory.mktemp("sound"))


def faults(base: Base, folder: Path, count: int, seed: int, commands: int | None = None) -> list[str]:
    """A line for each command that ended badly, of the first ``commands`` of each input."""
    found = []
    with Worker(folder) as worker:
        for case in cases(base, folder / "inputs", count, seed):
            for command in case.commands[:commands]:
                if fault := worker.run(command, case.folder).fault:
                    found.append(f"{case.name}: {' '.join(command)[-200:]}: {fault}")
    return found


def test_a_few_hostile_inputs_end_in_documented_ways(base: Base, tmp_path: Path) -> None:
    assert faults(base, tmp_path, 18, SEED, commands=1) == []


@LONG
def test_hostile_inputs_end_in_documented_ways(base: Base, tmp_path: Path) -> None:
    assert faults(base, tmp_path, 300, SEED + 1) == []
