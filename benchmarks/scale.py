"""A large run on an object store: what it takes of memory, objects and time, while workers are killed.

``python benchmarks/scale.py --samples 10000 --s3`` puts tiny pictures as tar shards on an S3 server on this machine
(moto), evaluates a tiny ONNX detector on them with cheap explainers and metrics in worker processes, kills a worker now
and then, and gives the command once more. It prints as JSON:

* ``driver_mib``: resident memory of the driver, in MiB: after a quarter, a half and three quarters of the time that
  tasks took, at the end, and at most;
* ``workers_mib``: the same of all its workers together;
* ``objects``: the number of objects of the run, and of the data;
* ``second_start``, ``status``, ``export`` and ``page``: seconds and seconds of CPU of the same command, when all is
  done, and of those that read the run.

Without ``--s3`` all of it lies in a folder.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from xaibench.api import Native, Sample, location, write_whole
from xaibench_datasets.packing import pack

SIDE = 16
FAKES = 3
WORKER_MIB = 60  # a process that imports no torch is none
MOTO = "from moto.server import ThreadedMotoServer as S\ns = S('127.0.0.1', {port})\ns.start()\ns._thread.join()"


class TinyFaces:
    """Noise of 16 x 16 pixels; a fake has a brighter square, which is its mask. Three are made of each real one."""

    def __init__(self, count: int) -> None:
        self.count = count

    def samples(self) -> Iterator[Sample]:
        for i in range(self.count):
            person, kind = divmod(i, FAKES + 1)
            group = f"p{person:06d}"
            if kind == 0:
                yield Sample(id=f"{group}-real", label="real", group=group)
            else:
                pair = f"{group}-real"
                yield Sample(
                    id=f"{group}-{kind}", label="fake", group=group, method=f"m{kind}", pair=pair, has_mask=True
                )

    def read(self, sample: Sample) -> Native:
        person, _, kind = sample.id[1:].partition("-")
        rng = np.random.default_rng(int(person))
        pixels = rng.integers(0, 180, (SIDE, SIDE, 3), np.uint8)
        if kind == "real":
            return Native(pixels, None, None)
        mask = np.zeros((SIDE, SIDE), np.uint8)
        top, left = np.random.default_rng([int(person), int(kind)]).integers(0, SIDE - 6, 2)
        mask[top : top + 6, left : left + 6] = 255
        pixels[mask > 0] += 75
        return Native(pixels, mask, None)

    def problems(self) -> Sequence[Any]:
        return ()


def tiny_detector(side: int = SIDE) -> bytes:
    """The brightness of the picture as the probability that it is a fake."""
    weight = numpy_helper.from_array(np.array([[8.0], [9.0], [7.0]], np.float32), "w")
    bias = numpy_helper.from_array(np.array([-9.0], np.float32), "b")
    axes = numpy_helper.from_array(np.array([2, 3]), "axes")
    nodes = [
        helper.make_node("ReduceMean", ["x", "axes"], ["m"], keepdims=0),
        helper.make_node("Gemm", ["m", "w", "b"], ["z"]),
        helper.make_node("Sigmoid", ["z"], ["p"]),
    ]
    graph = helper.make_graph(
        nodes, "tiny", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, side, side])],
        [helper.make_tensor_value_info("p", TensorProto.FLOAT, ["n", 1])], [weight, bias, axes],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def start_server(environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """An S3 server on this machine with a bucket; the variables that lead to it are set."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-c", MOTO.format(port=port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    names = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_ACCESS_KEY_ID": "here",
             "AWS_SECRET_ACCESS_KEY": "here", "AWS_DEFAULT_REGION": "us-east-1"}  # fmt: skip
    os.environ |= names
    environment |= names
    for _ in range(600):
        try:
            fsspec.filesystem("s3").mkdir("scale")
            return server
        except OSError:
            time.sleep(0.1)
    raise SystemExit("the S3 server does not answer")


def children(parent: int) -> list[int]:
    """The processes below one."""
    try:
        own = Path(f"/proc/{parent}/task/{parent}/children").read_text(encoding="ascii").split()
    except OSError:
        return []
    return [int(p) for p in own] + [q for p in own for q in children(int(p))]


def works(process: int, executor: str) -> bool:
    """Whether a process below the driver carries tasks out. Ray's own servers do not."""
    if executor != "ray":
        return memory(process) > WORKER_MIB
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes().startswith(b"ray::TaskRunner")
    except OSError:
        return False


def memory(process: int, what: str = "VmRSS") -> float:
    """Resident memory in MiB, or the most of it so far (``VmHWM``); 0 of a process that has ended."""
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
        return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith(what))
    except (OSError, StopIteration):
        return 0.0


def watch(command: Sequence[str], environment: dict[str, str], kill_every: float, executor: str) -> dict[str, Any]:
    """Run a command, look at its memory every second, and kill one of its workers now and then."""
    begin, killed, seen = time.monotonic(), 0, list[tuple[float, float]]()
    last_kill = begin
    with subprocess.Popen(command, env=environment, stdout=sys.stderr) as driver:
        while driver.poll() is None:
            time.sleep(1)
            workers = [p for p in children(driver.pid) if works(p, executor)]
            now = memory(driver.pid), sum(map(memory, workers))
            seen += [now] if now[0] else []
            if len(seen) % 30 == 1:
                print(f"{time.monotonic() - begin:.0f} s: {now[0]:.0f} MiB, workers {now[1]:.0f} MiB", file=sys.stderr)
            if kill_every and workers and time.monotonic() - last_kill > kill_every:
                os.kill(workers[killed % len(workers)], signal.SIGKILL)
                killed, last_kill = killed + 1, time.monotonic()
    working = [s for s in seen if s[1]] or seen
    at = [working[len(working) * i // 4 - (i == 4)] for i in (1, 2, 3, 4)]
    return {
        "exit": driver.returncode, "seconds": round(time.monotonic() - begin, 1), "killed": killed,
        "driver_mib": [round(s[0]) for s in at] + [round(max(s[0] for s in seen))],
        "workers_mib": [round(s[1]) for s in at] + [round(max(s[1] for s in seen))],
    }  # fmt: skip


def timed(command: Sequence[str], environment: dict[str, str]) -> tuple[float, float]:
    """Seconds and seconds of CPU of a command."""
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(command, env=environment, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return round(time.monotonic() - begin, 1), round(cpu, 1)


def objects(place: str) -> int:
    fs, path = fsspec.core.url_to_fs(place)
    fs.invalidate_cache()
    return len(fs.find(path))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--executor", default="local")
    parser.add_argument("--kill-every", type=float, default=60.0, help="seconds; 0: never")
    parser.add_argument("--shard-mib", type=int, default=4)
    parser.add_argument("--s3", action="store_true", help="on an S3 server on this machine")
    parser.add_argument("--folder", type=Path, default=None, help="where files lie that are no objects")
    given = parser.parse_args()
    environment, server = dict(os.environ), None
    folder = given.folder or Path(tempfile.mkdtemp(prefix="scale-"))
    folder.mkdir(exist_ok=True)
    place = "s3://scale" if given.s3 else str(folder)
    try:
        server = start_server(environment) if given.s3 else None
        print(json.dumps(measure(given, place, folder, environment), indent=1))
    finally:
        if server is not None:
            server.kill()


def measure(given: argparse.Namespace, place: str, folder: Path, environment: dict[str, str]) -> dict[str, Any]:
    environment.setdefault("XAIBENCH_CACHE", str(folder / "cache"))
    begin = time.monotonic()
    faces = TinyFaces(given.samples)
    packed = pack(faces, faces.samples(), location(f"{place}/data"), given.shard_mib * 2**20)
    write_whole(location(f"{place}/tiny.onnx"), tiny_detector())
    write_whole(location(f"{place}/tiny.toml"), b'high = "fake"\n')
    packing = time.monotonic() - begin
    tool = [sys.executable, "-m", "xaibench"]
    run = [
        *tool, "eval", "-m", f"{place}/tiny.onnx", "-D", f"{place}/data", "--limit", str(given.samples),
        "-e", "edges", "-e", "center-prior", "-x", "entropy-spatial", "-x", "relevance-mass", "--no-controls",
        "-q", "-y", "--jobs", str(given.jobs), "--threads", "1", "--executor", given.executor, "-o", f"{place}/run",
    ]  # fmt: skip
    found = {
        "samples": packed.samples,
        "packing_s": round(packing, 1),
        **watch(run, environment, given.kill_every, given.executor),
    }
    found["objects"] = {"run": objects(f"{place}/run"), "data": objects(f"{place}/data")}
    page = str(folder / "page.html")
    commands = {
        "second_start": run, "status": [*tool, "status", f"{place}/run"],
        "export": [*tool, "export", f"{place}/run", "--out", str(folder / "scores.parquet")],
        "page": [*tool, "report", f"{place}/run", "--out", page],
    }  # fmt: skip
    for name, command in commands.items():
        seconds, cpu = timed(command, environment)
        found[name] = {"seconds": seconds, "cpu_s": cpu}
    return found


if __name__ == "__main__":
    main()
