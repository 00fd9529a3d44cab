"""The user's own defaults of flags: a TOML file with a section a command, whose keys are the names of its flags.

A flag, a variable and a run file win over it. Python reads none of it.
"""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xaibench.api import UsageError, parse_toml, toml_value
from xaibench.api.parameters import shorten

_NO_SETTINGS = ("help", "version", "install_completion", "show_completion")


@dataclass(frozen=True, slots=True)
class UserConfig:
    """A config file and its sections by command."""

    path: Path
    sections: Mapping[str, Any]


def config_path() -> Path | None:
    """Where the file is looked for; None where it is turned off, or where nobody's home is known.

    ``XAIBENCH_CONFIG`` names it; empty, it turns it off. Else it is ``xaibench/config.toml`` in ``XDG_CONFIG_HOME``, by
    default ``~/.config``, on Windows in ``APPDATA``.
    """
    given = os.environ.get("XAIBENCH_CONFIG")
    if given is not None:
        return Path(given) if given else None
    base = os.environ.get("APPDATA" if sys.platform == "win32" else "XDG_CONFIG_HOME", "")
    try:
        folder = Path(base) if Path(base).is_absolute() else Path.home() / ".config"
    except RuntimeError:
        return None
    return folder / "xaibench" / "config.toml"


def read_config() -> UserConfig | None:
    """The user's config, None where there is none. Raises :class:`UsageError`, which names the file."""
    path = config_path()
    if path is None or not (path.is_file() or "XAIBENCH_CONFIG" in os.environ):
        return None
    mend = "mend the file, or set XAIBENCH_CONFIG= to read none"
    try:
        sections = parse_toml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"config {path} cannot be read: {error.strerror or error}", mend) from None
    except ValueError as error:  # of TOML or of UTF-8
        raise UsageError(f"config {path} is not valid TOML: {error}", mend) from None
    for name, section in sections.items():
        if not isinstance(section, Mapping):
            raise UsageError(f"config {path}: '{shorten(name)}' stands in no section", "put it under [COMMAND]")
    return UserConfig(path, sections)


def defaults_of(config: UserConfig, commands: Mapping[str, Any], known: Callable[[], Iterable[str]]) -> dict[str, Any]:
    """The config as typer's ``default_map``: values of parameters by command.

    ``commands`` are those that are loaded, ``known`` gives the names of all there are, nothing where that is uncertain.
    Raises :class:`UsageError` for a section, key or value that is wrong. Keys and values of a command that is not
    loaded, and so not the one that was given, are not looked at.
    """
    loaded = {name: section for name, section in config.sections.items() if name in commands}
    if others := config.sections.keys() - loaded.keys():
        names = set(known())
        if names and (wrong := min(others - names, default="")):
            raise UsageError(f"config {config.path}: no command '{shorten(wrong)}'", _known(wrong, names))
    return {name: _defaults(config, name, section, commands[name]) for name, section in loaded.items()}


def _defaults(config: UserConfig, name: str, section: Mapping[str, Any], command: Any) -> dict[str, Any]:
    """The values of a section by parameter, or by command where ``command`` is a group such as ``rank``."""
    options = {flag.removeprefix("--"): p for p in command.params for flag in p.opts if flag.startswith("--")}
    options = {flag: p for flag, p in options.items() if p.name not in _NO_SETTINGS}
    inner = getattr(command, "commands", {})
    context = command.make_context(name, [], resilient_parsing=True)
    defaults = {}
    for key, value in section.items():
        flag = key.replace("_", "-")
        if key in inner and isinstance(value, Mapping):
            defaults[key] = _defaults(config, f"{name}.{key}", value, inner[key])
        elif flag in options:
            option = options[flag]
            defaults[option.name] = _value(option, value, context, f"config {config.path}: [{name}] {key}")
        else:
            known = _known(flag, (*options, *inner))
            raise UsageError(f"config {config.path}: {name} has no flag '{shorten(key)}'", known)
    return defaults


def _value(option: Any, value: Any, context: Any, where: str) -> Any:
    """A value as the command line would give it. Raises :class:`UsageError`."""
    if option.is_flag:
        if not isinstance(value, bool):
            raise UsageError(f"{where} = {shorten(value)} is wrong: it is on or off", "write true or false")
        return value
    table = option.multiple and isinstance(value, Mapping)
    values = [*_assignments(value)] if table else value if option.multiple and isinstance(value, list) else [value]
    if any(isinstance(v, bool | list | dict) for v in values):
        raise UsageError(f"{where} = {shorten(value)} is wrong", "write a text or a number, as after the flag")
    texts = [str(v) for v in values]
    given: Any = texts if option.multiple else texts[0]
    try:
        option.process_value(context, given)
    except Exception as error:
        reason = getattr(error, "message", "") or str(error)
        raise UsageError(f"{where} = {shorten(value)} is wrong: {reason}", str(option.help or "")) from None
    return given


def _assignments(table: Mapping[str, Any], prefix: str = "", depth: int = 1) -> Iterator[str]:
    """A table ``parameter`` as the entries ``KIND.NAME.KEY=VALUE`` of the flag."""
    for key, value in table.items():
        if isinstance(value, Mapping) and depth < 3:
            yield from _assignments(value, f"{prefix}{key}.", depth + 1)
        else:
            yield f"{prefix}{key}={toml_value(value)}"


def _known(wrong: str, names: Iterable[str]) -> str:
    known = sorted(names)
    near = difflib.get_close_matches(wrong, known, n=1)
    return f"did you mean '{near[0]}'?" if near else f"known: {', '.join(known)}"


def settings_in(config: UserConfig) -> Iterator[tuple[str, str]]:
    """Every setting with its value as text, such as ``("eval.limit", "200")``, for people to read.

    Parameters of components are left out of the values, since one may be a secret.
    """
    layers = [("", config.sections)]
    while layers:
        prefix, table = layers.pop(0)
        for key, value in table.items():
            if isinstance(value, Mapping):
                layers.append((f"{prefix}{key}.", value))
            else:
                yield f"{prefix}{key}", _told(f"{prefix}{key}", value)


def _told(key: str, value: Any) -> str:
    if ".parameter" in key:
        return "..."
    values = value if isinstance(value, list) else [value]
    return ", ".join(f"{str(v).partition(':')[0]}:..." if ":" in str(v) and "=" in str(v) else str(v) for v in values)
