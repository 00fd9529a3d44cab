"""Code that calls a function, as a programme: replies, errors, the end, and global generators."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch

from xaibench_explainers.gradient.calls_as_requests import Generators, as_programme


def doubled(ask: Callable[[Any], Any]) -> int:
    return 2 * ask("first") + ask("second")


def test_each_call_becomes_a_request_and_the_result_is_returned() -> None:
    programme: Any = as_programme(doubled, nullcontext())
    assert next(programme) == "first"
    assert programme.send(10) == "second"
    with pytest.raises(StopIteration) as end:
        programme.send(1)
    assert end.value.value == 21


def test_an_error_of_the_engine_is_raised_in_the_call_and_one_of_the_code_in_the_programme() -> None:
    seen: list[str] = []

    def run(ask: Callable[[Any], Any]) -> None:
        try:
            ask("first")
        except ValueError as error:
            seen.append(str(error))
            raise

    programme: Any = as_programme(run, nullcontext())
    next(programme)
    with pytest.raises(ValueError, match="no reply"):
        programme.throw(ValueError("no reply"))
    assert seen == ["no reply"]
    failing: Any = as_programme(lambda ask: 1 // 0, nullcontext())
    with pytest.raises(ZeroDivisionError):
        next(failing)


def test_a_programme_that_is_closed_leaves_no_thread() -> None:
    before = threading.active_count()
    programme: Any = as_programme(doubled, nullcontext())
    next(programme)
    assert threading.active_count() == before + 1
    programme.close()
    assert threading.active_count() == before


def test_generators_go_on_where_they_stood_and_leave_others_alone() -> None:
    torch.manual_seed(3)
    alone = torch.rand(4)
    torch.manual_seed(7)
    np.random.seed(7)
    first, second = (Generators(3, torch.device("cpu")) for _ in range(2))
    drawn: dict[Generators, list[torch.Tensor]] = {first: [], second: []}
    for generators in (first, second, second, first):
        with generators:
            drawn[generators].append(torch.rand(2))
            np.random.rand()
    assert all(torch.equal(torch.cat(parts), alone) for parts in drawn.values())
    after = torch.rand(1), np.random.rand()
    torch.manual_seed(7)
    np.random.seed(7)
    assert (torch.rand(1), np.random.rand()) == after
