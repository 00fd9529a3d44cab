"""Data, a detector and a run on an S3 server on this machine: what a user types, and what a store answers."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time

import pytest
from toy_runs import LONG, differences

from conftest import comparable, same_bytes
from xaibench.store.files import open_files

s3fs = pytest.importorskip("s3fs")
pytest.importorskip("moto.server")

SMALL = ("-e", "edges", "-x", "relevance-mass", "--no-controls", "-q", "-y", "--threads", 1)


@pytest.fixture(scope="module")
def server():
    """An S3 server with a bucket; the usual variables lead to it."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    running = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    names = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_ACCESS_KEY_ID": "here", "AWS_SECRET_ACCESS_KEY": "here",
        "AWS_DEFAULT_REGION": "us-east-1",
    }  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        for name, value in names.items():
            patch.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()
        s3fs.S3FileSystem().mkdir("bucket")
        yield names["AWS_ENDPOINT_URL"]
    running.stop()
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture(scope="module")
def data(server, tmp_path_factory):
    """A detector and the demo, packed: on the store and in a folder."""
    from xaibench.api import location, write_whole
    from xaibench.discovery.paths import open_dataset
    from xaibench.discovery.registry import load_registry
    from xaibench_datasets.packing import pack

    local = tmp_path_factory.mktemp("data")
    demo = open_dataset("demo:identities=4", registry=load_registry()).instance
    for place in (str(local), "s3://bucket"):
        pack(demo, demo.samples(), location(f"{place}/faces"), 2**19)
        write_whole(location(f"{place}/tiny.onnx"), onnx_detector())
        write_whole(location(f"{place}/tiny.toml"), b'high = "fake"\n')
    return local


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XAIBENCH_CACHE", str(tmp_path / "cache"))


def asked(place, *more):
    return ("eval", "-m", f"{place}/tiny.onnx", "-D", f"{place}/faces", "--limit", 8, *SMALL, *more)


def test_a_run_on_a_store_is_the_run_in_a_folder(data, cli, tmp_path):
    """Data in shards, the detector and the run are on the store; every command reads it there."""
    run = "s3://bucket/run"
    assert cli(*asked("s3://bucket", "-o", run))[0] == 0
    assert cli(*asked(data, "-o", tmp_path / "run"))[0] == 0
    for table in ("scores", "predictions", "curves", "maps"):
        assert same_bytes(comparable(run, table), comparable(tmp_path / "run", table))
    assert json.loads(cli("eval", f"{run}/run.toml", "--json", "-q", "-y")[1])["done"] == 0
    assert json.loads(cli("status", run, "--verify", "--json")[1])["left"] == 0
    assert cli("report", run, "--out", tmp_path / "page.html")[0] == 0
    assert cli("export", run, "--out", tmp_path / "scores.parquet")[0] == 0
    assert cli("merge", run, "-o", "s3://bucket/merged")[0] == 0
    assert differences("s3://bucket/merged", tmp_path / "run") == []
    objects = s3fs.S3FileSystem().find("bucket/run")
    assert len(objects) < 20 and [o for o in objects if "/.lock/" in o] == ["bucket/run/.lock/00000002"]


@LONG
def test_workers_read_and_a_verifier_compares_there(data, cli, tmp_path):
    run = "s3://bucket/workers"
    assert cli(*asked("s3://bucket", "-o", run, "--jobs", 2, "--task-samples", 3))[0] == 0
    assert cli(*asked(data, "-o", tmp_path / "run"))[0] == 0
    assert differences(run, tmp_path / "run") == []
    assert cli("verify", run)[0] == 0


@LONG
def test_a_killed_driver_is_followed_at_once(data, cli, tmp_path):
    """Its lease ends with it on this machine; nothing is lost and nothing there twice."""
    run, fs = "s3://bucket/killed", s3fs.S3FileSystem()
    command = [sys.executable, "-m", "xaibench", *map(str, asked("s3://bucket", "-o", run, "--task-samples", 1))]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as driver:
        while len(commits(fs, "bucket/killed")) < 5:
            assert driver.poll() is None
            time.sleep(0.02)
        driver.send_signal(signal.SIGKILL)
    again = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["done"] and json.loads(again.stdout)["reused"]
    assert cli(*asked(data, "-o", tmp_path / "run"))[0] == 0
    assert differences(run, tmp_path / "run") == []


def test_two_drivers(data, cli):
    run = "s3://bucket/two"
    with open_files(run).lock():
        code, _, err = cli(*asked("s3://bucket", "-o", run))
    *_, what, mend = err.splitlines()
    assert code == 3 and f"{run} is being written by process {os.getpid()} of" in what and "its lease ends in" in mend


def commits(fs, run):
    fs.invalidate_cache()
    return fs.find(f"{run}/commits")


def test_pictures_as_objects_are_listed_once(server, cli, monkeypatch):
    """A folder of them: no request for the state of each."""
    from xaibench.api import location
    from xaibench.discovery.paths import open_dataset
    from xaibench.discovery.registry import load_registry
    from xaibench_datasets.packing import pack

    demo = open_dataset("demo:identities=2", registry=load_registry()).instance
    fs = s3fs.S3FileSystem()
    pack(demo, demo.samples(), location("memory://packed"), 2**20)
    packed = open_dataset("memory://packed", registry=load_registry()).instance
    for sample in packed.samples():
        kind = "real" if sample.label == "real" else f"fake/{sample.method}"
        fs.pipe_file(
            f"bucket/loose/{kind}/{sample.id.rpartition('/')[2]}.png", packed.entry(sample).picture.read_bytes()
        )
    calls = []
    original = s3fs.S3FileSystem._call_s3

    async def counted(self, method, *arguments, **more):
        calls.append(method)
        return await original(self, method, *arguments, **more)

    monkeypatch.setattr(s3fs.S3FileSystem, "_call_s3", counted)
    dataset = open_dataset("s3://bucket/loose", registry=load_registry()).instance
    assert len(dataset.samples()) == len(packed.samples()) and "list_objects_v2" in calls
    calls.clear()
    assert None not in [dataset.fingerprint(s) for s in dataset.samples()] and calls == []


@pytest.mark.parametrize(
    ("arguments", "what", "mend"),
    [
        (("-D", "demo", "-o", "s3://nowhere/run"), "s3://nowhere/run cannot be written: The specified bucket", "make"),
        (("-D", "s3://nowhere/faces", "-o", "s3://bucket/x"), "s3://nowhere/faces does not exist", "give a folder"),
        (("-D", "demo", "-m", "s3://bucket/none.onnx"), "s3://bucket/none.onnx does not exist", "give a file"),
    ],
)
def test_what_is_not_there_is_said_in_a_line(data, cli, arguments, what, mend):
    code, _, err = cli("eval", *arguments, "--limit", 4, *SMALL)
    lines = err.splitlines()
    assert code == 3 and what in lines[-2] and mend in lines[-1] and "Traceback" not in err
    assert "nowhere" not in s3fs.S3FileSystem().ls("")  # no bucket is made


@pytest.mark.parametrize(
    ("changes", "what", "mend"),
    [
        (
            {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None},
            "Unable to locate credentials",
            "AWS_ACCESS_KEY_ID",
        ),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "Could not connect", "AWS_ENDPOINT_URL"),
    ],
)
def test_a_store_that_does_not_answer(server, tmp_path, changes, what, mend):
    environment = {**os.environ, "AWS_MAX_ATTEMPTS": "1", "HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true"}
    for name, value in changes.items():
        environment.pop(name)
        environment |= {name: value} if value else {}
    command = [sys.executable, "-m", "xaibench", "status", "s3://bucket/run"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    first, second = done.stderr.strip().splitlines()
    assert done.returncode == 3 and what in first and mend in second


def onnx_detector() -> bytes:
    """Brightness as the probability of a fake, of pictures of 32 x 32."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    constants = {
        "w": np.array([[8.0], [9.0], [7.0]], np.float32), "b": np.array([-9.0], np.float32), "axes": np.array([2, 3]),
    }  # fmt: skip
    nodes = [
        helper.make_node("ReduceMean", ["x", "axes"], ["m"], keepdims=0),
        helper.make_node("Gemm", ["m", "w", "b"], ["z"]),
        helper.make_node("Sigmoid", ["z"], ["p"]),
    ]
    graph = helper.make_graph(
        nodes, "tiny", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 32, 32])],
        [helper.make_tensor_value_info("p", TensorProto.FLOAT, ["n", 1])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()
