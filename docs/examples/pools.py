"""Pools for ``--executor futures:pools:NAME``: copy what you need into a ``pools.py`` where you start xaibench."""

from __future__ import annotations

from concurrent.futures import Executor
from typing import Any


def slurm(partition: str = "cpu", minutes: int = 60, cpus: int = 2, gpus: int = 0, folder: str = "slurm-jobs") -> Any:
    """Each task is a job of Slurm. ``folder`` lies on a file system that all nodes see."""
    import submitit

    executor = submitit.AutoExecutor(folder=folder, cluster="slurm")
    executor.update_parameters(
        slurm_partition=partition, timeout_min=minutes, cpus_per_task=cpus, gpus_per_node=gpus, name="xaibench"
    )
    return executor


def slurm_rehearsal(folder: str = "slurm-jobs") -> Any:
    """The same on this machine: each task is a process that submitit begins. It needs no Slurm."""
    import submitit

    executor = submitit.AutoExecutor(folder=folder, cluster="local")
    executor.update_parameters(timeout_min=60)
    return executor


def dask_on_slurm(partition: str = "cpu", workers: int = 8, cpus: int = 2, memory: str = "8GB") -> Executor:
    """Workers of Dask that are jobs of Slurm and stay for many tasks."""
    from dask_jobqueue import SLURMCluster
    from distributed import Client

    cluster = SLURMCluster(queue=partition, cores=1, processes=1, job_cpu=cpus, memory=memory, walltime="02:00:00")
    cluster.scale(jobs=workers)
    return Client(cluster).get_executor()
