"""``xaibench doctor``: what is installed, what runs where, and what is broken."""

from __future__ import annotations

from typing import Any

from xaibench.api import JsonFlag, UsageError, help_page, print_json, printable
from xaibench.discovery.registry import Registry, load_registry
from xaibench.store.provenance import provenance, version_of


@help_page("This machine", "xaibench doctor", "xaibench doctor --json")
def diagnose(json: JsonFlag = False) -> None:
    """Show versions, devices, ONNX providers, and every plugin with its load time or its error."""
    import sys

    light = set(sys.modules)
    registry = load_registry()
    heavy = sorted({"torch", "scipy", "onnxruntime", "pyarrow"} & (set(sys.modules) - light))
    config, wrong = _config()
    found = {
        "schema": "xaibench.doctor/1",
        "provenance": _with_torch(),
        "onnxruntime": _onnxruntime(),
        "config": config,
        "plugins": _plugins(registry),
        "problems": [*wrong, *_problems(registry, heavy)],
        "failures": [{"plugin": str(f.origin), "stage": f.stage, "error": f.error, "trace": f.trace}
                     for f in registry.failures],
    }  # fmt: skip
    if json:
        print_json(found)
        return
    _print(found)


def _config() -> tuple[dict[str, Any], list[str]]:
    """The user's config: where it is looked for and what it sets, and what is wrong with it."""
    from typer.main import get_command

    from xaibench.cli.program import command_names, program
    from xaibench.cli.user_config import config_path, defaults_of, read_config, settings_in

    path = str(config_path() or "")
    try:
        config = read_config()
        group: Any = get_command(program())
        if config is not None:
            defaults_of(config, group.commands, command_names)
    except UsageError as error:
        return {"path": path, "read": False, "sets": {}}, [f"{error.what}: {error.mend}"]
    return {"path": path, "read": config is not None, "sets": dict(settings_in(config)) if config else {}}, []


def _with_torch() -> dict[str, Any]:
    import torch

    found = provenance()
    found["torch threads"] = torch.get_num_threads()
    found["cuda"] = torch.version.cuda if torch.cuda.is_available() else None
    return found


def _onnxruntime() -> dict[str, Any]:
    """Both distributions and the providers that really are there."""
    found: dict[str, Any] = {"onnxruntime": version_of("onnxruntime"), "onnxruntime-gpu": version_of("onnxruntime-gpu")}
    try:
        import onnxruntime

        found["providers"] = onnxruntime.get_available_providers()
    except (ImportError, AttributeError) as error:
        found["providers"] = []
        found["error"] = str(error)
    return found


def _plugins(registry: Registry) -> list[dict[str, Any]]:
    counts = {o: sum(c.origin == o for c in registry.components) for o in registry.seconds}
    return [
        {"distribution": o.distribution, "version": o.version, "entry_point": o.entry_point,
         "milliseconds": round(1000 * s, 1), "components": counts[o]}
        for o, s in registry.seconds.items()
    ]  # fmt: skip


def _problems(registry: Registry, heavy: list[str]) -> list[str]:
    problems = [f"broken plugin: {f}" for f in registry.failures]
    if version_of("onnxruntime") and version_of("onnxruntime-gpu"):
        problems.append(
            "onnxruntime and onnxruntime-gpu are both installed, which removes CUDA or breaks the import: "
            "pip uninstall both, then install one"
        )
    if version_of("onnxruntime") is None and version_of("onnxruntime-gpu") is None:
        problems.append("no ONNX Runtime is installed: pip install onnxruntime-gpu (or onnxruntime)")
    if heavy:
        problems.append(f"a plugin imports {', '.join(heavy)} while registering, which slows every command down")
    return problems


def _print(found: dict[str, Any]) -> None:
    for key, value in found["provenance"].items():
        print(f"{key}: {value}")
    for key, value in found["onnxruntime"].items():
        print(f"onnxruntime {key}: {value}")
    config = found["config"]
    read = "" if config["read"] else " (not read)"
    print(f"config: {config['path']}{read}" if config["path"] else "config: turned off")
    for key, value in config["sets"].items():
        print(printable(f"config {key} = {value}"))
    for p in found["plugins"]:
        print(f"plugin {p['distribution']} {p['version']} ({p['entry_point']}): {p['components']} components, "
              f"{p['milliseconds']} ms")  # fmt: skip
    for failure in found["failures"]:
        print(f"\n{failure['plugin']}: {failure['stage']}: {failure['error']}\n{failure['trace']}")
    print("\n".join(f"problem: {p}" for p in found["problems"]) or "no problems found")
