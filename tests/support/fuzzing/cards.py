"""Cards and run files with wrong types, huge numbers, bombs of nesting, and what is no TOML."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from random import Random

from fuzzing.base import TOY, Base, Command, check, cut, eval_model, flipped

_CARD = ("layout", "size", "range", "mean", "std", "colour", "resize", "activation", "classes", "real", "high",
         "threshold", "batch", "stochastic", "remote", "licence", "training_data", "input", "output", "target_layer", "nonsense")  # fmt: skip
_FACTORY = (*_CARD[:17], "factory", "kwargs", "weights", "pythonpath", "target_layer", "batch_norm", "family")
_RUN = ("model", "dataset", "explainer", "metric", "preset", "target", "out", "seed", "repeats", "limit", "split",
        "method", "batch-size", "part", "task-samples", "executor", "jobs", "threads", "device", "precision", "maps",
        "members", "controls", "plugin", "no-plugin", "requires", "parameter", "nonsense", "record")  # fmt: skip


def value(rng: Random) -> str:
    """A value as TOML writes it, seldom one that fits."""
    deep = rng.choice((50, 300, 1500, 10_000))
    return rng.choice((
        "true", "1", "0", "-1", "1.5", "nan", "-inf", "inf", '""', '"x"', "[]", "{}", "[1, 2, 3]", "[[1], [2]]",
        '["a", "b"]', '["a", 1]', "{a = 1}", "{a = {b = {c = {d = 1}}}}", "1979-05-27", "07:32:00", "1979-05-27T07:32:00Z",
        "1" + "0" * 400, "-1" + "0" * 400, "9" * 5000, "0x" + "f" * 5000, "1e400", "1e308", "9223372036854775808",
        '"' + "x" * 100_000 + '"', '"\\u0000"', '"\\u001b[2J"', '"a\\nb"', "[" * deep + "]" * deep,
        "{a = " * deep + "1" + "}" * deep, "[" + "1, " * 200_000 + "]", '"../../x"', '"/dev/zero"', '"/"', '"~"', "65536",
        "2147483648", "0b1", "'''x'''", '":"', '"a:b=("', '"a:[[["', '"demo:identities=1' + "0" * 400 + '"', '"zz://x"',
    ))  # fmt: skip


def _toml(rng: Random, keys: Sequence[str]) -> str:
    return "\n".join(f"{key} = {value(rng)}" for key in rng.sample(keys, rng.randrange(1, 4))) + "\n"


def _broken(rng: Random, text: str) -> bytes:
    data = text.encode()
    deep = rng.choice((900, 10_000))
    return rng.choice((
        b"", b"\0", b"\xff\xfe", cut(rng, data), flipped(rng, data, 3), b"a = 1\na = 2\n", b"[" * 5000, b"a" * 10**6,
        b".".join([b"a"] * deep) + b" = 1\n", b"[" + b".".join([b"a"] * deep) + b"]\nb = 1\n", b"a.b = 1\na = 2\n", rng.randbytes(999),
        text.encode("utf-16"), b"[[x]]\n" * 50_000, b"\xef\xbb\xbf" + data,
    ))  # fmt: skip


def _onnx_card(rng: Random, here: Path, base: Base) -> Sequence[Command]:
    shutil.copy(base.onnx, here / "m.onnx")
    (here / "m.toml").write_text(_toml(rng, _CARD))
    return check("m.onnx"), eval_model("m.onnx")


def _broken_card(rng: Random, here: Path, base: Base) -> Sequence[Command]:
    shutil.copy(base.onnx, here / "m.onnx")
    (here / "m.toml").write_bytes(_broken(rng, 'real = "real"\nsize = 32\n'))
    return check("m.onnx"), eval_model("m.onnx")


def _factory_card(rng: Random, here: Path, base: Base) -> Sequence[Command]:
    (here / "maker.py").write_text(
        "import torch\n\n\ndef make(**kwargs):\n"
        "    return torch.nn.Sequential(torch.nn.Conv2d(3, 2, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())\n"
    )
    sound = 'factory = "maker:make"\npythonpath = ["."]\nweights = "factory"\nsize = 32\nclasses = ["real", "fake"]\nreal = "real"\n'
    odd = _toml(rng, _FACTORY)
    kept = [line for line in sound.splitlines() if line.split()[0] not in {o.split()[0] for o in odd.splitlines()}]
    (here / "m.toml").write_text("\n".join([*kept, odd]))
    return check("m.toml"), eval_model("m.toml")


def _card_flags(rng: Random, here: Path, base: Base) -> Sequence[Command]:
    """The keys of a card as parameters."""
    key, given = rng.choice(_CARD), value(rng)[:100_000].replace("\0", "")
    return check(str(base.onnx), "-p", f"model.onnx.{key}={given}"), eval_model(f"onnx:path={base.onnx},{key}={given}")


def _no_card(rng: Random, here: Path, base: Base) -> Sequence[Command]:
    """A card that is a folder, a link in a circle or not readable, and a family of nonsense."""
    shutil.copy(base.onnx, here / "m.onnx")
    card = here / "m.toml"
    way = rng.randrange(4)
    if way == 0:
        card.mkdir()
    elif way == 1:
        card.symlink_to("m.toml")
    elif way == 2:
        card.write_text("size = 32\n")
        card.chmod(0)
    else:
        (here / "family").mkdir()
        (here / "family" / "family.json").write_bytes(_broken(rng, '{"runs": 3}'))
        (here / "family" / "a.onnx").write_bytes(b"x")
        return check("family"), eval_model("family")
    return (
        check("m.onnx"),
        eval_model("m.onnx"),
        eval_model(f"onnx:path=m.onnx,card={rng.choice(('/', 'x', 'm.onnx'))}"),
    )


def _run_values(rng: Random, here: Path, base: Base) -> Sequence[Command]:
    sound = {
        "model": '"toy"', "dataset": '"demo:identities=2"', "explainer": '"rows"', "metric": '"range"', "limit": "2",
        "threads": "1", "out": '"out"', "controls": "false", "plugin": f'"{TOY}"',
    }  # fmt: skip
    changed = {key: value(rng) for key in rng.sample(_RUN, rng.randrange(1, 3))}
    (here / "r.toml").write_text("".join(f"{key} = {text}\n" for key, text in {**sound, **changed}.items()))
    return ("eval", "r.toml", "-q", "-y"), ("eval", "r.toml", "--dry-run", "--json")


def _run_broken(rng: Random, here: Path, base: Base) -> Sequence[Command]:
    (here / "r.toml").write_bytes(_broken(rng, 'model = "toy"\nlimit = 2\n'))
    return (("eval", "r.toml", "-q", "-y", "--plugin", str(TOY), "-m", "toy", "-e", "rows", "-x", "range", "--limit", "2",
             "-D", "demo:identities=2", "-o", "out", "--no-controls", "--threads", "1"),)  # fmt: skip


def _run_parameters(rng: Random, here: Path, base: Base) -> Sequence[Command]:
    keys = rng.sample(("explainer.rise.masks", "metric.deletion.steps", "dataset.demo.identities", "model.onnx.size",
                       "executor.local.jobs", "executor.local.retries", "explainer.rise.cells", "x", "a.b.c.d.e"), 2)  # fmt: skip
    lines = "".join(f'"{key}" = {value(rng)}\n' for key in keys)
    (here / "r.toml").write_text(
        f'model = "toy"\nplugin = "{TOY}"\ndataset = "demo"\nexplainer = ["rise"]\nmetric = "deletion"\nlimit = 2\n'
        f'threads = 1\nout = "out"\ncontrols = false\n[parameter]\n{lines}'
    )
    return (("eval", "r.toml", "--dry-run", "--json"),)


CARDS = (_onnx_card, _factory_card, _broken_card, _card_flags, _no_card, _onnx_card, _factory_card)
RUN_FILES = (_run_values, _run_parameters, _run_broken, _run_values)
