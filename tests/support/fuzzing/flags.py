"""Flags with huge, odd and contradicting values."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random

from fuzzing.base import EVAL, TOY, Base, Command, explain, save_picture

_NUMBERS = ("seed", "repeats", "limit", "batch-size", "task-samples", "jobs", "threads", "max-hours")
_TEXTS = ("model", "dataset", "explainer", "metric", "preset", "target", "out", "split", "method", "part", "executor",
          "device", "precision", "maps", "members", "plugin", "no-plugin", "requires", "parameter", "rerun")  # fmt: skip
_HUGE = ("1" + "0" * 30, "1" + "0" * 400, "9" * 5000, "1e30", "nan", "inf", "-inf", "-1", "0", "0x10", "1_000", "", " ", "٣",
         "9223372036854775807", "9223372036854775808", "4294967296", "1.0", "true")  # fmt: skip
_ODD = ("", " ", ":", "=", "a=", "=a", "a:=", "a:b=" + "9" * 5000, "[" * 3000, "(" * 3000 + ")" * 3000, "a:b=" + "[" * 3000,
        "a:b=" + "{a=" * 3000, "x" * 100_000, "\x1b[31m", "../..", "/", "/dev/null", "/proc/self/mem", "zz://a/b", "s3://", "memory://",
        "file:///", "http://127.0.0.1:9/x", "%s%n", "1/0", "0/1", "9" * 5000 + "/" + "9" * 5000, "٣/٣", "1/" + "9" * 30, "cuda:99999999999", "cpu:0",
        "cuda:x", "rise:masks=-1", "rise:masks=1" + "0" * 400, "rise:masks=1e400", "demo:identities=1" + "0" * 30, "rows:x=1", "~nobody/x",
        "explainer.rise.masks=1" + "0" * 5000, "a.b.c=[[[[", "é" * 300, "\udcff")  # fmt: skip


def _huge(rng: Random, here: Path, base: Base) -> Sequence[Command]:
    return [(*EVAL, f"--{name}", rng.choice(_HUGE), "--dry-run") for name in rng.sample(_NUMBERS, 3)]


def _huge_run(rng: Random, here: Path, base: Base) -> Sequence[Command]:
    """What is refused before anything runs, and what runs."""
    name, number = rng.choice((
        ("limit", "1" + "0" * 30), ("batch-size", "1" + "0" * 12), ("jobs", "1000000"), ("threads", "1000000000"),
        ("seed", "1" + "0" * 40), ("repeats", "1000000000"), ("task-samples", "1" + "0" * 30), ("max-hours", "nan"),
        ("max-hours", "inf"), ("seed", "4294967296"), ("seed", "18446744073709551615"), ("seed", "9223372036854775807"),
    ))  # fmt: skip
    return ((*EVAL, f"--{name}", number),)


def _odd(rng: Random, here: Path, base: Base) -> Sequence[Command]:
    return [(*EVAL, f"--{name}", rng.choice(_ODD), "--dry-run") for name in rng.sample(_TEXTS, 3)]


def _components(rng: Random, here: Path, base: Base) -> Sequence[Command]:
    """Parameters of built-in components, huge and odd."""
    spec = rng.choice((
        "rise:masks", "rise:cells", "lime:samples", "occlusion:window", "integrated-gradients:steps", "smoothgrad:samples", "sobol:designs",
        "xrai:steps", "kernel-shap:samples",
    ))  # fmt: skip
    number = rng.choice(("1000000000", "1" + "0" * 30, "nan", "-1", "0", "[1]", "1" + "0" * 400, "65537"))
    metric = rng.choice(
        (f"deletion:steps={number}", f"insertion:steps={number}", "deletion", f"infidelity:samples={number}")
    )
    return ((*EVAL, "-e", f"{spec}={number}", "-x", metric, "--dry-run"),)


def _others(rng: Random, here: Path, base: Base) -> Sequence[Command]:
    save_picture(here / "p.png")
    huge, odd = rng.choice(_HUGE), rng.choice(_ODD)
    return rng.sample((
        ("list", odd), ("info", odd), ("status", odd), ("report", odd), ("report", str(base.run), "-o", odd),
        ("export", str(base.run), "--table", odd), ("export", str(base.run), "-o", odd), ("merge", odd, "-o", "joined"),
        ("merge", str(base.run), "-o", odd), ("check", odd), ("check", "toy", "--plugin", str(TOY), "-D", "demo", "--limit", huge),
        explain("p.png", "--seed", huge), explain("p.png", "--target", odd), explain(odd), explain("p.png", "-e", odd),
        explain("p.png", "-p", odd), ("doctor", "--plugin", odd), ("rank", "detectors", odd), ("compare", odd, odd), ("table", odd),
        ("new-plugin", odd), ("list", "--plugin", odd),
    ), 3)  # fmt: skip


MAKERS = (_huge_run, _odd, _huge, _others, _components, _huge_run, _others, _odd)
