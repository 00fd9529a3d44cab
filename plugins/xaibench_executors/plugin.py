"""Registers the executors for clusters."""

from __future__ import annotations

from xaibench.api import ExecutorRecord, hookimpl

XAIBENCH_API = "1"


@hookimpl
def xaibench_executors() -> list[ExecutorRecord]:
    """Ray, and pools of futures. Neither library is imported before a run uses it."""
    return [
        ExecutorRecord(
            name="ray",
            target="xaibench_executors.ray_executor:RayExecutor",
            summary="Actors of a Ray cluster, or of Ray on this machine; needs xaibench[ray].",
        ),
        ExecutorRecord(
            name="futures",
            target="xaibench_executors.futures_executor:FuturesExecutor",
            summary="A pool of futures, MODULE:FACTORY: Dask, submitit (Slurm), mpi4py, loky, the standard library.",
        ),
    ]
