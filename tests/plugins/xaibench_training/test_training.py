"""Families of training runs: the command, its folder, determinism, resuming after a kill, what is refused."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn

from xaibench.api import Parameters, PlanError, StoreError, build_parameters
from xaibench_testing import planted_samples
from xaibench_training import checkpoints, loop
from xaibench_training.checkpoints import Epoch, History, RunState, held, snapshot
from xaibench_training.data import load, no_guides
from xaibench_training.networks import build
from xaibench_training.recipes.cross_entropy import CrossEntropy
from xaibench_training.settings import TrainingSettings, read_augmentation
from xaibench_training.table import TRAIN
from xaibench_training.writing import staged_name

SMALL = ("--size", 32, "--epochs", 2, "--batch-size", 8, "--threads", 1, "--json", "--quiet")

STATEFUL = """
import os, signal
import torch
from torch.nn import functional
from xaibench.api import RecipeRecord, hookimpl
from xaibench.api import Loss

@hookimpl
def xaibench_recipes():
    return [RecipeRecord(name="stateful", target="xaibench_local_stateful:Stateful", summary="Keeps and draws.")]

class Stateful:
    def __init__(self, parameters):
        self.drift = torch.zeros(1, dtype=torch.float64)

    def prepare(self, network, generator):
        with torch.no_grad():
            network.head.bias.add_(torch.rand(2, generator=generator))
        return network

    def loss(self, network, batch):
        logits = network.classify(network.features(batch.images))
        return Loss(functional.cross_entropy(logits, batch.labels))

    def after_step(self, network, batch, step, generator):
        self.drift += torch.rand(1, generator=generator)
        with torch.no_grad():
            network.head.bias.add_(0.001 * self.drift.float())
        stop = os.environ.get("STOP_AT", "")
        if stop.partition(":")[0] == str(step):
            if stop.endswith(":kill"):
                os.kill(os.getpid(), signal.SIGKILL)
            raise KeyboardInterrupt
        return {"drift": float(self.drift)}

    def state(self):
        return {"drift": self.drift}

    def restore(self, state):
        self.drift = state["drift"].clone()
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Ten people: a real picture of each, a brighter patch (method bright) and a finer one (method fine), masks."""
    folder = tmp_path_factory.mktemp("people")
    lines = ["id,image,label,method,identity,mask"]
    for method in ("bright", "fine"):
        source = planted_samples(10, size=(48, 48), pattern="brightness" if method == "bright" else "contrast")
        for s in source.samples():
            native, person = source.read(s), s.id.partition("/")[2]
            name = f"real-{person}" if s.label == "real" else f"{method}-{person}"
            if s.label == "real" and method == "fine":
                continue
            Image.fromarray(native.pixels).save(folder / f"{name}.png")
            if s.label == "fake":
                Image.fromarray(np.roll(native.mask, 3 * int(person), axis=0)).save(folder / f"{name}-mask.png")
            mask = f"{name}-mask.png" if s.label == "fake" else ""
            lines.append(f"{name},{name}.png,{s.label},{method if mask else ''},{person},{mask}")
    (folder / "manifest.csv").write_text("\n".join(lines), encoding="utf-8")
    return folder


@pytest.fixture
def call(cli, data):
    """``xaibench train RECIPE`` on these people."""
    return lambda recipe, *arguments: cli("train", recipe, "--dataset", data, *SMALL, *arguments)


@pytest.fixture
def train(call):
    def run(out, *arguments, recipe="cross-entropy"):
        code, text, err = call(recipe, "--out", out, *arguments)
        return code, json.loads(text) if code == 0 else None, err

    return run


@pytest.fixture
def stateful(tmp_path):
    file = tmp_path / "stateful.py"
    file.write_text(STATEFUL, encoding="utf-8")
    return file


def weights(folder, run=0):
    return (Path(folder) / f"run-{run}.safetensors").read_bytes()


def rows(folder):
    return [{k: v for k, v in r.items() if k != "seconds"} for r in pq.read_table(folder / "train.parquet").to_pylist()]


# ---- the folder -----------------------------------------------------------------------------------------------------


def test_a_family_is_a_folder_that_eval_takes(train, tmp_path):
    from xaibench.api import Runtime
    from xaibench.discovery.paths import open_models
    from xaibench.discovery.registry import load_registry

    code, said, err = train(tmp_path / "f", "--runs", 2)
    assert code == 0, err
    assert sorted(p.relative_to(tmp_path / "f").as_posix() for p in (tmp_path / "f").rglob("*") if p.is_file()) == [
        ".lock", "best/run-0.safetensors", "best/run-0.toml", "best/run-1.safetensors", "best/run-1.toml",
        "family.toml", "onnx/run-0.onnx", "onnx/run-1.onnx", "run-0.safetensors", "run-0.toml", "run-1.safetensors",
        "run-1.toml", "train.parquet",
    ]  # fmt: skip
    assert not (tmp_path / "f" / ".state").exists()
    assert all(r["onnx_difference"] <= 1e-5 for r in said["runs"])
    assert weights(tmp_path / "f", 0) != weights(tmp_path / "f", 1)
    members = open_models(str(tmp_path / "f"), registry=load_registry())
    assert [name for name, _ in members] == ["run-0", "run-1"]
    detector = members[1][1].instance.open(members[1][1].instance.members()[0], Runtime())
    assert detector.facts.classes == ("real", "fake")
    exported = open_models(str(tmp_path / "f" / "onnx"), registry=load_registry())[1][1].instance
    picture = torch.rand((2, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    other = exported.open(exported.members()[0], Runtime())
    assert torch.allclose(detector.probabilities(picture), other.probabilities(picture), atol=1e-5)


def test_the_table_describes_every_epoch(train, tmp_path):
    _, said, _ = train(tmp_path / "f", "--no-export", "--lr", 0.1, "-p", "alpha=0.25", recipe="cyborg")
    table = pq.read_table(tmp_path / "f" / "train.parquet")
    assert table.schema.metadata == TRAIN.metadata
    assert [(f.name, f.type, f.nullable, f.metadata[b"description"]) for f in table.schema] == [
        (f.name, f.type, f.nullable, f.metadata[b"description"]) for f in TRAIN
    ]
    found = table.to_pylist()
    assert [(r["run"], r["epoch"], r["recipe"]) for r in found] == [
        (0, e, "xaibench/cyborg:alpha=0.25") for e in (1, 2)
    ]
    assert [r["learning_rate"] for r in found] == [0.1, 0.05]
    assert [r["examples"] for r in found] == [24, 24]  # eight of ten people
    for r in found:
        parts = dict(r["parts"])
        assert set(parts) == {"cross-entropy", "guide"}
        assert r["loss"] == pytest.approx(0.25 * parts["cross-entropy"] + 0.75 * parts["guide"], rel=1e-5)
    assert said["runs"][0]["validation_auc"] == found[-1]["validation_auc"]


def test_the_best_epoch_is_kept_beside_the_last(train, data, tmp_path):
    from xaibench.discovery.paths import open_dataset
    from xaibench.discovery.registry import load_registry
    from xaibench_training.networks import build_trained
    from xaibench_training.splits import choose

    _, said, _ = train(tmp_path / "f", "--no-export", "--epochs", 5, "--seed", 3)
    source = open_dataset(str(data), registry=load_registry()).instance
    pictures, _ = load(source, choose(source.samples(), None, None, (), 3).validation, 32)
    found = said["runs"][0]
    for folder, auc in (("f", found["validation_auc"]), ("f/best", found["best_auc"])):
        network = build_trained(name="small", size=32)
        network.load_state_dict(load_file(tmp_path / folder / "run-0.safetensors"))
        assert loop.evaluate(network, pictures, 8, torch.device("cpu"))[0] == auc
    assert found["best_auc"] == max(r["validation_auc"] for r in rows(tmp_path / "f"))


def test_of_equally_good_epochs_the_earliest_is_the_best():
    epochs = [Epoch(epoch=i, loss=0, parts={}, validation_auc=a, validation_loss=0, learning_rate=0, seconds=0,
                    examples=1) for i, a in enumerate((0.5, 0.8, 0.8, 0.7), 1)]  # fmt: skip
    assert History(epochs).best.epoch == 2


# ---- determinism ----------------------------------------------------------------------------------------------------


def test_alpha_of_one_is_cross_entropy_to_the_byte(train, tmp_path):
    for name, recipe in (("plain", "cross-entropy"), ("one", "cyborg:alpha=1"), ("half", "cyborg")):
        assert train(tmp_path / name, "--no-export", recipe=recipe)[0] == 0
    assert weights(tmp_path / "plain") == weights(tmp_path / "one")
    assert weights(tmp_path / "plain/best") == weights(tmp_path / "one/best")
    assert weights(tmp_path / "plain") != weights(tmp_path / "half")


def test_shuffled_guides_train_another_network(train, tmp_path):
    for recipe in ("cyborg", "cyborg-shuffled"):
        assert train(tmp_path / recipe, "--no-export", recipe=recipe)[0] == 0
    assert weights(tmp_path / "cyborg") != weights(tmp_path / "cyborg-shuffled")


def test_runs_follow_the_seed_and_can_be_added(train, tmp_path):
    train(tmp_path / "two", "--no-export", "--runs", 2, "--seed", 7)
    train(tmp_path / "grown", "--no-export", "--seed", 7)
    before = (tmp_path / "grown" / "run-0.safetensors").stat().st_mtime_ns
    _, said, _ = train(tmp_path / "grown", "--no-export", "--runs", 2, "--seed", 7)
    assert [r["resumed"] for r in said["runs"]] == [None, 0]
    assert (tmp_path / "grown" / "run-0.safetensors").stat().st_mtime_ns == before
    assert [weights(tmp_path / "two", r) for r in (0, 1)] == [weights(tmp_path / "grown", r) for r in (0, 1)]
    assert rows(tmp_path / "two") == rows(tmp_path / "grown")
    train(tmp_path / "other", "--no-export", "--seed", 8)
    assert weights(tmp_path / "other") != weights(tmp_path / "two")


def test_an_export_can_be_added_to_a_complete_family(train, tmp_path):
    train(tmp_path / "f", "--no-export")
    _, said, _ = train(tmp_path / "f")
    assert (tmp_path / "f" / "onnx" / "run-0.onnx").exists()
    assert said["runs"][0]["resumed"] is None


class Dropping(nn.Module):
    """A network that draws from torch's own generator."""

    layers, last_convolution = (), "conv"

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=4)
        self.head = nn.Linear(4, 2)

    def features(self, pictures):
        return torch.relu(self.conv(pictures))

    def classify(self, features):
        return self.head(nn.functional.dropout(features.mean((2, 3)), 0.5, self.training))

    def module(self):
        return self


def dropping(seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Dropping()


def whitened():
    from xaibench_training.whitening.recipe import Whitening, WhiteningParameters

    return Whitening(build_parameters(WhiteningParameters, {"patches": 2, "period": 2}, "whitening"))


def planted_run(epochs=3, pattern="contrast", recipe=None, network=dropping, **values):
    data = planted_samples(6, size=(48, 48), pattern=pattern)
    pictures, _ = load(data, data.samples(), 48)
    settings = build_parameters(TrainingSettings, {"epochs": epochs, "batch_size": 4, **values}, "train")
    return loop.Run(number=0, seed=5, settings=settings, recipe=recipe or CrossEntropy(Parameters()),
                    network=network, train=pictures, validation=pictures, guides=no_guides(pictures),
                    device=torch.device("cpu"))  # fmt: skip


@pytest.mark.parametrize("kind", ["dropout", "whitening"])
def test_a_run_goes_on_from_any_epoch_and_leaves_global_state_alone(tmp_path, kind):
    class Stop(Exception):
        pass

    def stop(epoch, history):
        if epoch.epoch == 2:
            raise Stop

    def fresh():
        if kind == "dropout":
            return planted_run()
        return planted_run(recipe=whitened(), network=lambda seed: build("small", seed=seed))

    before = torch.random.get_rng_state()
    whole = loop.train(fresh(), RunState(tmp_path, "whole"), on_epoch=lambda *_: None)
    assert torch.equal(torch.random.get_rng_state(), before)
    state = RunState(tmp_path, "parts")
    with pytest.raises(Stop):
        loop.train(fresh(), state, on_epoch=stop)
    torch.rand(3)  # whatever else the process draws
    seen = []
    parts = loop.train(fresh(), state, on_epoch=lambda epoch, history: seen.append(epoch.epoch))
    assert seen == [3]
    first, second = snapshot(whole.network.module()), snapshot(parts.network.module())
    assert all(torch.equal(first[k], second[k]) for k in first)
    kept = [load_file(tmp_path / f"{name}.safetensors") for name in ("whole", "parts")]
    assert kept[0].keys() == kept[1].keys()
    assert all(torch.equal(kept[0][k], kept[1][k]) for k in kept[0])
    assert any(k.startswith("momentum/") for k in kept[0])
    for name in ("validation_loss", "parts"):
        assert [getattr(e, name) for e in whole.history.epochs] == [getattr(e, name) for e in parts.history.epochs]
    assert whole.history.epochs[-1].examples == 12


def test_a_training_that_diverges_is_refused(tmp_path):
    with pytest.raises(PlanError, match="diverged"):
        loop.train(planted_run(lr=1e30), RunState(tmp_path, "run-0"), on_epoch=lambda *_: None)


def test_a_network_learns_what_there_is_to_learn(tmp_path):
    run = planted_run(30, "brightness", lr=0.1, augmentation=read_augmentation("none"))
    trained = loop.train(run, RunState(tmp_path, "run-0"), on_epoch=lambda *_: None)
    first, last = trained.history.epochs[0], trained.history.epochs[-1]
    assert (last.validation_auc, last.validation_loss < first.validation_loss) == (1, True)


# ---- interruptions --------------------------------------------------------------------------------------------------


def test_a_training_killed_in_an_epoch_goes_on_to_the_same_bytes(call, data, stateful, tmp_path):
    """Three steps an epoch: the kill falls into the third epoch of the first run, the two before are kept."""
    more = ("--plugin", stateful, "--no-export", "--epochs", 3, "--runs", 2)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert call("stateful", "--out", whole, *more)[0] == 0
    words = [sys.executable, "-m", "xaibench", "train", "stateful", "--dataset", data, *SMALL, "--out", parts, *more]
    env = {**os.environ, "STOP_AT": "8:kill", "OMP_NUM_THREADS": "1"}
    killed = subprocess.run([*map(str, words)], env=env, capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (parts / "run-0.toml").exists()
    assert [r["epoch"] for r in rows(parts)] == [1, 2]
    code, out, err = call("stateful", "--out", parts, *more)
    assert code == 0, err
    assert [r["resumed"] for r in json.loads(out)["runs"]] == [2, 0]
    for part in ("", "best"):
        for run in (0, 1):
            assert weights(whole / part, run) == weights(parts / part, run)
    assert rows(whole) == rows(parts)
    assert not (parts / ".state").exists()


def test_an_interrupted_training_says_so_and_goes_on(call, stateful, tmp_path, monkeypatch):
    words = ("stateful", "--plugin", stateful, "--out", tmp_path / "f", "--no-export")
    monkeypatch.setenv("STOP_AT", "5")
    code, _, err = call(*words)
    assert code == 130
    assert err == "xaibench: interrupted; finished epochs are kept, the same command goes on from there\n"
    monkeypatch.delenv("STOP_AT")
    code, out, err = call(*words)
    assert code == 0, err
    assert json.loads(out)["runs"][0]["resumed"] == 1


@pytest.mark.parametrize("moment", ["before", "between", "after"])
def test_a_run_stopped_while_it_is_written_out_is_completed(train, tmp_path, monkeypatch, moment):
    """Before its networks are written, after the best of them, and after both with half of the state left."""
    from xaibench_training import trainer

    train(tmp_path / "whole", "--no-export")
    write = trainer.write_member

    def stop_member(folder, *rest, **more):
        if moment == "before" or folder.name != "best":
            raise KeyboardInterrupt
        return write(folder, *rest, **more)

    def stop_removal(state):
        state.file.unlink(missing_ok=True)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if moment == "after":
            patch.setattr(trainer.RunState, "remove", stop_removal)
        else:
            patch.setattr(trainer, "write_member", stop_member)
        assert train(tmp_path / "f", "--no-export")[0] == 130
    _, said, err = train(tmp_path / "f", "--no-export")
    assert said is not None, err
    assert said["runs"][0]["resumed"] == (None if moment == "after" else 2)
    assert weights(tmp_path / "f") == weights(tmp_path / "whole")
    assert weights(tmp_path / "f/best") == weights(tmp_path / "whole/best")
    assert rows(tmp_path / "f") == rows(tmp_path / "whole")
    assert not (tmp_path / "f" / ".state").exists()


def test_a_broken_state_is_said_and_can_be_dropped(call, stateful, tmp_path, monkeypatch):
    words = ("stateful", "--plugin", stateful, "--out", tmp_path / "f", "--no-export")
    monkeypatch.setenv("STOP_AT", "5")
    assert call(*words)[0] == 130
    monkeypatch.delenv("STOP_AT")
    state = tmp_path / "f" / ".state" / "run-0.safetensors"
    state.write_bytes(state.read_bytes()[:100])
    code, _, err = call(*words)
    assert code == 3
    assert f"{state} cannot be read" in err
    state.unlink()
    assert call(*words)[0] == 0


def test_a_broken_best_network_says_which_file_to_delete(call, stateful, tmp_path, monkeypatch):
    """Without its best network a run cannot be completed, and deleting that file alone would not help."""
    words = ("stateful", "--plugin", stateful, "--out", tmp_path / "f", "--no-export")
    state = tmp_path / "f" / ".state"
    monkeypatch.setenv("STOP_AT", "5")
    assert call(*words)[0] == 130
    monkeypatch.delenv("STOP_AT")
    best = state / "run-0.best.safetensors"
    best.write_bytes(best.read_bytes()[:100])
    with monkeypatch.context() as patch:
        patch.setattr(RunState, "_save_best", lambda *_: None)
        code, _, err = call(*words)
    assert code == 3
    assert f"{best} cannot be read" in err
    assert "delete run-0.safetensors there" in err
    (state / "run-0.safetensors").unlink()
    assert call(*words)[0] == 0


def test_a_best_network_that_a_kill_kept_from_disk_is_written_again(tmp_path, monkeypatch):
    """On devices whose numbers do not repeat, the network of a lost epoch must not stay as the best one."""
    run, state = planted_run(1), RunState(tmp_path, "run-0")

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RunState, "_save_best", killed)
        with pytest.raises(KeyboardInterrupt):
            loop.train(run, state, on_epoch=lambda *_: None)
    assert state.exists()
    assert not state.best_file.exists()
    trained = loop.train(planted_run(1), state, on_epoch=lambda *_: None)
    kept, now = state.best(), snapshot(trained.network.module())
    assert kept.keys() == now.keys()
    assert all(torch.equal(kept[k], now[k]) for k in kept)


def test_a_full_disk_is_said_and_leaves_no_part_behind(call, tmp_path, monkeypatch):
    """At the first member: two epochs are in the state, and the same command completes the run."""
    whole, out = tmp_path / "whole", tmp_path / "f"
    assert call("cross-entropy", "--out", whole)[0] == 0
    fsync = os.fsync

    def full(handle):
        if "/best/" in str(Path(f"/proc/self/fd/{handle}").readlink()):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(handle)

    if not Path("/proc/self/fd").is_dir():
        pytest.skip("no /proc")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        code, _, err = call("cross-entropy", "--out", out)
    assert code == 3
    assert err.startswith(f"xaibench: cannot write {out / 'best' / 'run-0.safetensors'}: No space left")
    assert not list(out.rglob("*.part"))
    assert not list((out / "best").iterdir())
    code, said, err = call("cross-entropy", "--out", out)
    assert code == 0, err
    assert json.loads(said)["runs"][0]["resumed"] == 2
    assert weights(out) == weights(whole)


def test_a_kill_before_the_family_is_written_leaves_a_folder_that_can_be_used(train, tmp_path):
    out = tmp_path / "f"
    out.mkdir()
    (out / ".lock").touch()
    staged_name(out / "family.toml").write_bytes(b"[fam")
    assert train(out, "--no-export")[0] == 0
    assert not staged_name(out / "family.toml").exists()


def test_two_processes_do_not_train_into_one_folder(tmp_path):
    with held(tmp_path), pytest.raises(StoreError, match="being trained by another"), held(tmp_path):
        pass


def test_a_file_system_without_locks_is_not_taken_for_another_process(tmp_path, monkeypatch):
    def without(_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(checkpoints, "_lock", without)
    with pytest.raises(StoreError, match="cannot be locked: No locks available"), held(tmp_path):
        pass


# ---- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("cyborgs",), 3, "no recipe called 'cyborgs'"),
        (("cyborg", "-p", "alfa=1"), 2, "cyborg has no parameter 'alfa'"),
        (("cyborg:alpha=2",), 2, "alpha=2 is wrong"),
        (("cyborg", "-p", "alpha"), 2, "'alpha' has no value"),
        (("cyborg", "--network", "smal"), 2, "no network 'smal'"),
        (("cyborg", "--size", 33), 2, "takes no pictures of 33 x 33"),
        (("cyborg", "--split", "dev"), 2, "no split 'dev' in the dataset"),
        (("cyborg", "--validation", "dev"), 2, "no split 'dev' in the dataset"),
        (("cyborg", "--method", "none"), 2, "no manipulation method 'none'"),
        (("cyborg", "--limit", 1), 3, "do not hold both real and fake"),
        (("cyborg", "--lr", 0), 2, "lr=0"),
        (("cyborg", "--schedule", "linear"), 2, "schedule=linear"),
        (("cyborg", "--device", "tpu"), 2, "device 'tpu'"),
        (("cyborg", "--weights", "nowhere.pt"), 3, "nowhere.pt: no such file"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_a_line(call, tmp_path, arguments, code, says):
    found, _, err = call(arguments[0], "--out", tmp_path / "f", *arguments[1:])
    lines = [line for line in err.splitlines() if not line.startswith("broken plugin")]
    assert (found, len(lines)) == (code, 2), err
    assert lines[0].startswith("xaibench: ")
    assert says in lines[0]
    assert not (tmp_path / "f").exists()


@pytest.mark.parametrize(
    ("dataset", "flags", "mend"),
    [
        ("demo", (), "splits: test; write --dataset demo:split=train"),
        ("demo:split=test,identities=5", ("--split", "train"), "splits: test; write --dataset demo:split=train"),
        ("demo:split=train", ("--validation", "test"), "splits: train; write --dataset demo:split=all"),
        ("demo", ("--split", "dev"), "splits: test"),
    ],
)
def test_a_split_that_the_demo_faces_have_and_do_not_list_is_named(cli, tmp_path, dataset, flags, mend):
    code, _, err = cli("train", "cross-entropy", "--dataset", dataset, "--out", tmp_path / "f", *flags)
    assert code == 2
    assert err.splitlines()[-1].strip() == mend


def test_a_recipe_that_needs_guides_is_refused_without_any(call, tmp_path):
    (tmp_path / "empty").mkdir()
    guide = ("-p", "guide=files", "-p", f"path={tmp_path / 'empty'}")
    code, _, err = call("cyborg", "--out", tmp_path / "f", *guide)
    assert code == 3
    assert "needs guides, and none of the 24 training pictures has one" in err
    assert not (tmp_path / "f").exists()


BAD = """
from torch.nn import functional
from xaibench.api import RecipeRecord, hookimpl
from xaibench.api import Loss

@hookimpl
def xaibench_recipes():
    names = ("raising", "guiding", "preparing", "rowwise", "stepping")
    return [RecipeRecord(name=n, target=f"xaibench_local_bad:{n.title()}", summary="Bad.") for n in names]

class Base:
    def __init__(self, parameters): pass
    def prepare(self, network, generator): return network
    def loss(self, network, batch, reduction="mean"):
        logits = network.classify(network.features(batch.images))
        return Loss(functional.cross_entropy(logits, batch.labels, reduction=reduction))

class Raising(Base):
    def loss(self, network, batch): return {}["lost"]

class Guiding(Base):
    def guides(self, pictures, generator): return 1 / 0

class Preparing(Base):
    def prepare(self, network, generator): return network.tail

class Rowwise(Base):
    def loss(self, network, batch): return super().loss(network, batch, "none")

class Stepping(Base):
    def after_step(self, network, batch, step, generator): raise ValueError("at\\nstep")
"""


@pytest.mark.parametrize(
    ("recipe", "says"),
    [("raising", "recipe Raising: loss() raised KeyError: 'lost'"),
     ("guiding", "recipe Guiding: guides() raised ZeroDivisionError: division by zero"),
     ("preparing", "recipe Preparing: prepare() raised AttributeError: "),
     ("rowwise", "the recipe's loss, of shape (8,), is not one number"),
     ("stepping", "recipe Stepping: after_step() raised ValueError: at step")],
)  # fmt: skip
def test_what_another_recipe_does_wrong_is_said_as_its_own(call, tmp_path, recipe, says):
    plugin = tmp_path / "bad.py"
    plugin.write_text(BAD, encoding="utf-8")
    code, _, err = call(recipe, "--plugin", plugin, "--out", tmp_path / "f", "--no-export")
    assert code == 3
    assert err.startswith(f"xaibench: {says}")
    assert "xaibench check" in err.splitlines()[1]


def test_a_bug_of_an_own_recipe_stays_a_bug(tmp_path):
    class Buggy(CrossEntropy):
        def loss(self, network, batch):
            raise ZeroDivisionError

    Buggy.__module__ = CrossEntropy.__module__
    with pytest.raises(ZeroDivisionError):
        loop.train(planted_run(recipe=Buggy(Parameters())), RunState(tmp_path, "r"), on_epoch=lambda *_: None)


def test_a_full_device_is_said_in_a_line(tmp_path):
    class Greedy(CrossEntropy):
        def loss(self, network, batch):
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(PlanError, match="too little memory for 4 pictures of 48 x 48"):
        loop.train(planted_run(recipe=Greedy(Parameters())), RunState(tmp_path, "r"), on_epoch=lambda *_: None)


def test_masks_of_everything_guide_nobody(call, data, cli, tmp_path):
    """They would be counted as guides, and the guide's term skipped at every step."""
    whole = tmp_path / "whole"
    shutil.copytree(data, whole)
    for file in whole.glob("*-mask.png"):
        Image.fromarray(np.full((48, 48), 255, np.uint8)).save(file)
    code, _, err = cli("train", "cyborg", "--dataset", whole, *SMALL, "--out", tmp_path / "f")
    assert code == 3
    assert "none of the 24 training pictures has one" in err


def test_a_folder_that_holds_something_else_is_refused(train, tmp_path):
    train(tmp_path / "f", "--no-export")
    for changed, says in ((("--lr", 0.5), "lr was 0.02, now 0.5"), (("--seed", 1), "seed was 0, now 1"),
                          (("--limit", 12), "training pictures: not the same")):  # fmt: skip
        code, _, err = train(tmp_path / "f", "--no-export", *changed)
        assert code == 3
        assert f"holds another training: {says}" in err
        code, _, dry = train(tmp_path / "f", "--no-export", "--dry-run", *changed)
        assert (code, dry) == (3, err)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("mine", encoding="utf-8")
    code, _, err = train(tmp_path / "notes", "--no-export")
    assert code == 3
    assert "is no family and holds mine.txt" in err
    assert not (tmp_path / "notes" / "family.toml").exists()


def test_a_dry_run_says_what_would_be_trained_and_writes_nothing(train, tmp_path):
    _, said, _ = train(tmp_path / "f", "--dry-run", "--runs", 3, "--method", "fine", recipe="cyborg")
    assert (said["training"], said["validation"], said["guided"], len(said["seeds"])) == (16, 4, 8, 3)
    assert said["notes"][0] == "16 training pictures (8 fake) and 4 validation pictures (2 fake)"
    assert said["notes"][1] == "the data have no splits and were divided: 2 of 10 groups, drawn from seed 0, validate"
    assert not (tmp_path / "f").exists()


def test_progress_is_a_line_an_epoch_without_a_terminal(cli, data, tmp_path):
    words = [w for w in SMALL if w not in ("--quiet", "--json")]
    code, out, err = cli("train", "cross-entropy", "--dataset", data, "--out", tmp_path / "f", *words, "--no-export")
    assert code == 0
    assert "run 1 of 1, epoch 2 of 2: loss 0." in err
    assert "validation AUC" in err
    assert "best/ was chosen on the validation pictures" in out
    assert f"xaibench eval --model {tmp_path / 'f'}" in out


# ---- the guide ------------------------------------------------------------------------------------------------------


def test_the_guides_recipe_keeps_its_contract_and_trains(cli, call, tmp_path):
    page = Path(__file__).parents[3] / "docs" / "how-to" / "training.md"
    if not page.exists():
        pytest.skip("no documentation here")
    (code,) = re.findall(r"^```python\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    plugin = tmp_path / "smooth.py"
    plugin.write_text(code, encoding="utf-8")
    status, out, err = cli("check", plugin)
    assert status == 0, out + err
    status, out, err = call("smooth", "--plugin", plugin, "--out", tmp_path / "f", "-p", "smoothing=0.2")
    assert status == 0, err
    assert json.loads(out)["recipe"] == "local/smooth:smoothing=0.2"
    assert set(json.loads(out)["runs"][0]["parts"]) == {"smoothed"}


def test_a_whitened_member_is_opened_again(call, tmp_path):
    from xaibench.api import Runtime
    from xaibench.discovery.paths import open_models
    from xaibench.discovery.registry import load_registry

    status, out, err = call("whitening", "-p", "patches=2", "-p", "period=2", "--out", tmp_path / "f")
    assert status == 0, err
    said = json.loads(out)["runs"][0]
    assert said["onnx_difference"] <= 1e-5
    assert set(said["parts"]) == {"alignment", "attained", "cross-entropy"}
    assert any("rotation" in name for name in load_file(tmp_path / "f" / "run-0.safetensors"))
    picture = torch.rand((2, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    found = []
    for folder in ("f", "f/onnx"):
        ((_, use),) = open_models(str(tmp_path / folder), registry=load_registry())
        detector = use.instance.open(use.instance.members()[0], Runtime())
        found.append(detector.scores(picture))
    assert torch.allclose(found[0], found[1], atol=1e-5)
