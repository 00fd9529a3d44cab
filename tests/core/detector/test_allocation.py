"""Keeping freed memory: arranged where the C library can, left alone where the user has said how."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from xaibench.detector import allocation

GLIBC = platform.libc_ver()[0] == "glibc"
FREED_AND_TAKEN = """
import ctypes, resource, sys
from xaibench.detector.allocation import reuse_freed_memory
assert not sys.argv[1:] or reuse_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
size = 100 << 20
def take():
    buffer = libc.malloc(size)
    ctypes.memset(buffer, 1, size)
    libc.free(buffer)
take()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
take()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch):
    for name in [n for n in os.environ if n.startswith("MALLOC_") or n == "GLIBC_TUNABLES"]:
        monkeypatch.delenv(name)


@pytest.mark.skipif(not GLIBC, reason="only glibc has the setting")
def test_a_large_buffer_is_handed_out_again_without_a_fault_a_page():
    def faults(*arguments: str) -> int:
        done = subprocess.run(
            [sys.executable, "-c", FREED_AND_TAKEN, *arguments], capture_output=True, text=True, check=True
        )
        return int(done.stdout)

    assert faults() > 20, "100 MiB went back to the kernel, as glibc does it by itself"
    assert faults("keep") <= 5


@pytest.mark.parametrize("name", ["MALLOC_TRIM_THRESHOLD_", "MALLOC_ARENA_MAX", "GLIBC_TUNABLES"])
def test_what_the_user_has_set_stands(monkeypatch, name):
    monkeypatch.setenv(name, "1")
    monkeypatch.setattr(allocation.ctypes, "CDLL", lambda _: pytest.fail("the C library was asked"))
    assert not allocation.reuse_freed_memory()


@pytest.mark.parametrize("error", [AttributeError, OSError, TypeError])
def test_other_libraries_are_left_alone(monkeypatch, error):
    def no_library(_):
        raise error

    monkeypatch.setattr(allocation.ctypes, "CDLL", no_library)
    assert not allocation.reuse_freed_memory()
