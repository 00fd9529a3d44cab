"""Provenance of a run: versions, hardware, settings that change numbers, git revision."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from functools import cache
from typing import Any

from xaibench.api import Runtime

_LIBRARIES = (
    "torch",
    "numpy",
    "scipy",
    "onnxruntime",
    "onnxruntime-gpu",
    "onnx",
    "pyarrow",
    "captum",
    "scikit-image",
    "pillow",
)


def version_of(distribution: str) -> str | None:
    """Installed version, or None."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


@cache
def runtime_versions() -> dict[str, str]:
    """Versions of the libraries that compute the numbers; they are part of every key."""
    ort = version_of("onnxruntime-gpu") or version_of("onnxruntime") or "none"
    return {"torch": version_of("torch") or "none", "onnxruntime": ort}


def provenance() -> dict[str, Any]:
    """Versions, hardware and git revision, as JSON values. The name of the host is left out."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "gpu": _gpu(),
        "versions": versions(),
        "git": _git(),
    }


def versions() -> dict[str, str]:
    """Versions of xaibench and of the libraries that it computes with, as far as they are installed."""
    return {n: v for n in ("xaibench", *_LIBRARIES) if (v := version_of(n))}


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next((line.partition(":")[2].strip() for line in file if line.startswith("model name")), "")
    except OSError:
        return platform.processor()


def _gpu() -> str | None:
    if "torch" not in sys.modules:
        return None
    import torch

    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else None


def _git() -> dict[str, Any] | None:
    """Revision of the working directory and whether it is dirty; no remote, whose URL may hold credentials."""
    try:
        revision = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=True)
        status = subprocess.run(
            ["git", "status", "--porcelain"], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return {"revision": revision.stdout.strip(), "dirty": bool(status.stdout.strip())}


def runtime_identity(runtime: Runtime) -> dict[str, Any]:
    """What of the runtime changes numbers: class of the device (without its index), precision, threads and versions."""
    device = runtime.device.partition(":")[0]
    return {"device": device, "precision": runtime.precision, "threads": runtime.threads, **runtime_versions()}
