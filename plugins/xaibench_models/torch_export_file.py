"""``torch.export`` files, checked before torch reads them.

The loader of torch evaluates the sizes and guards of such a file as Python, looks up the functions that its graph
names, imports modules that its trees name, writes the names in it into Python code that it runs, unpickles objects and
opens compiled libraries. What it gets here is an archive made anew of what is known to be none of that.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

from xaibench.api import ModelError
from xaibench_models.torch_archive import pickled_globals, read_archive, write_archive
from xaibench_models.torch_expressions import is_arithmetic, is_guard
from xaibench_models.torch_operators import is_allowed_target

_GRAPH = "models/model.json"
_CONFIGS = ("data/weights/model_weights_config.json", "data/constants/model_constants_config.json")
_PICKLES = ("data/sample_inputs/model.pt", "data/weights/model.pt", "data/constants/model.pt")
_TENSORS = re.compile(r"data/(weights/weight|constants/tensor)_\d+")
_FORMAT = ("archive_format", "archive_version", "byteorder", ".data/version", "version")
_IGNORED = ("extra/", ".data/", ".format_version")
_LARGEST_JSON = 64 << 20
_LARGEST_INTEGER = 1 << 63
_PICKLED = re.compile(
    r"(torch\.(_utils\._rebuild_\w+|\w+Storage|device|Size|nn\.parameter\.\w+)|collections\.OrderedDict)"
)
_MEND = "export it again with torch.export, from a model of tensors and arithmetic"

_IDENTIFIER = re.compile(r"([A-Za-z_]\w*)?", re.ASCII)
_PATH = re.compile(r"[\w.@/ +-]*")
_STACK = re.compile(r"[\w.,;:@/()\[\]<>' =*+-]*")
_WORDS = re.compile(r"[\w.,:;<>=()+ -]*")
_NAMES = frozenset(("name", "as_name", "forward_arg_names"))
_TREES = ("in_spec", "out_spec")
_CUSTOM = frozenset(("as_custom_obj", "custom_obj", "custom_obj_values", "custom_obj_name", "class_fqn"))
_FREE = frozenset(("as_string", "as_strings"))
_TREE_TYPES = frozenset(("builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict", None))
_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 2, 7: 4, 8: 8, 9: 4, 10: 8, 11: 16, 12: 1, 13: 2}
_BYTES |= {28: 2, 29: 1, 30: 1, 31: 1, 32: 1, 33: 1, 34: 4, 35: 8}


def checked_export(path: Path) -> BytesIO:
    """The file as an archive that ``torch.export.load`` may read.

    Raises :class:`ModelError`, naming what it found, for everything that would be run, imported or unpickled, and for
    what is no ``torch.export`` file of one program.
    """
    members = read_archive(path, str(path))
    kept = {name: content for name, content in members.items() if _is_kept(path, name)}
    if _GRAPH not in kept:
        raise ModelError(f"{path}: holds no program called 'model'", "export it again with torch.export.save")
    program = _checked_program(path, _parsed(path, _GRAPH, kept[_GRAPH]))
    try:
        kept[_GRAPH] = json.dumps(program).encode()
    except RecursionError:
        raise ModelError(f"{path}: its graph is nested too deeply", _MEND) from None
    for name in _CONFIGS:
        if name in kept:
            _check_config(path, name, _parsed(path, name, kept[name]), kept)
    for name in _PICKLES:
        if kept.get(name):
            _check_pickle(path, name, kept[name])
    if _PICKLES[0] in kept:
        kept[_PICKLES[0]] = b""  # example inputs are not needed, and are never unpickled
    return write_archive(kept)


def _is_kept(path: Path, name: str) -> bool:
    known = name == _GRAPH or name in _CONFIGS or name in _PICKLES or name in _FORMAT or _TENSORS.fullmatch(name)
    if known:
        return True
    if name.startswith(_IGNORED):
        return False
    kind = "pickled objects" if "_obj_" in name else "compiled code" if "aotinductor" in name else "what no model needs"
    raise ModelError(f"{path}: holds {kind}, '{_short(name)}', which is never loaded", "export it again without it")


def _parsed(path: Path, name: str, content: bytes) -> dict[str, Any]:
    if len(content) > _LARGEST_JSON:
        raise ModelError(f"{path}: '{name}' has {len(content):,} bytes, too many for a graph", _MEND)
    try:
        tree = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError, MemoryError):
        raise ModelError(f"{path}: '{name}' is no JSON that can be read", "export or copy it again") from None
    if not isinstance(tree, dict):
        raise ModelError(f"{path}: '{name}' is no table", "export or copy it again")
    return tree


# ---- the program ------------------------------------------------------------------------------------------------


def _checked_program(path: Path, tree: dict[str, Any]) -> dict[str, Any]:
    """The graph without guards and notes, which nothing here needs, its values checked one by one."""
    for guard in _texts(tree.pop("guards_code", None)):
        if not is_guard(guard):
            raise _refused(path, "the guard", guard)
    for key, value in _walk(path, tree):
        if isinstance(value, dict):
            _check_table(path, key, value)
        elif isinstance(value, str):
            _check_text(path, key, value)
        elif isinstance(value, int) and abs(value) >= _LARGEST_INTEGER:
            raise ModelError(f"{path}: has the size {_short(str(value))}", _MEND)
    return tree


def _walk(path: Path, tree: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every value with the key that it, or the list it is in, stands under; notes on nodes are taken off first."""
    queue: list[tuple[str, Any]] = [("", tree)]
    while queue:
        key, value = queue.pop()
        if isinstance(value, dict):
            if isinstance(notes := value.get("metadata"), dict):
                stack = notes.get("nn_module_stack")
                value["metadata"] = {} if stack is None else {"nn_module_stack": stack}
            value.pop("treespec_namedtuple_fields", None)
        yield key, value
        if isinstance(value, dict):
            queue += value.items()
        elif isinstance(value, list):
            queue += ((key, item) for item in value)


def _check_table(path: Path, key: str, table: dict[str, Any]) -> None:
    if custom := next((k for k in table if k in _CUSTOM and table[k] not in (None, {}, [])), None):
        raise ModelError(f"{path}: holds a custom object ('{custom}'), which is never loaded", _MEND)
    for name in table:
        if not _PATH.fullmatch(name):
            raise _refused(path, "the name", name)
    if key == "range_constraints":
        for name in table:
            if not _IDENTIFIER.fullmatch(name):
                raise _refused(path, "the symbol", name)


def _check_text(path: Path, key: str, text: str) -> None:
    if key == "expr_str":
        right, what = is_arithmetic(text), "the expression"
    elif key in ("target", "as_operator"):
        if not is_allowed_target(text):
            raise ModelError(f"{path}: calls '{_short(text)}', which is no operator that a detector needs", _MEND)
        return
    elif key in _NAMES:
        right, what = _IDENTIFIER.fullmatch(text) is not None, "the name"
    elif key in _TREES:
        right, what = _is_plain_tree(text), "the tree"
    elif key == "nn_module_stack":
        right, what = _STACK.fullmatch(text) is not None, "the name"
    elif key in _FREE:
        right, what = True, ""
    else:
        right, what = (_PATH.fullmatch(text) or _WORDS.fullmatch(text)) is not None, f"the {key or 'text'}"
    if not right:
        raise _refused(path, what, text)


def _is_plain_tree(text: str) -> bool:
    """Whether a specification of nested arguments names tuples, lists and tables of text keys alone."""
    try:
        version, tree = json.loads(text)
        queue = [tree]
        while queue:
            node = queue.pop()
            if set(node) != {"type", "context", "children_spec"} or node["type"] not in _TREE_TYPES:
                return False
            keys = None if node["context"] is None else json.loads(node["context"])
            if keys is not None and not (isinstance(keys, list) and all(isinstance(k, str | int) for k in keys)):
                return False
            queue += node["children_spec"]
    except (ValueError, TypeError, KeyError, RecursionError, MemoryError):
        return False
    return bool(version == 1)


def _texts(value: object) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else [] if value is None else [str(value)]


def _refused(path: Path, what: str, text: str) -> ModelError:
    return ModelError(f"{path}: {what} '{_short(text)}' is not what torch.export writes, and is not evaluated", _MEND)


def _short(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text[:120]) + ("..." if len(text) > 120 else "")


# ---- weights ----------------------------------------------------------------------------------------------------


def _check_config(path: Path, name: str, tree: dict[str, Any], members: Mapping[str, bytes]) -> None:
    """Every tensor lies in a member of its own kind, and fits into it."""
    folder = name.rpartition("/")[0]
    table = tree.get("config")
    for key, entry in table.items() if isinstance(table, dict) else ():
        member = f"{folder}/{entry.get('path_name')}" if isinstance(entry, dict) else ""
        if not _TENSORS.fullmatch(member) or entry.get("use_pickle"):
            raise ModelError(f"{path}: keeps '{_short(str(key))}' as a pickled object, which is never loaded", _MEND)
        if member not in members or not _fits(entry.get("tensor_meta"), len(members[member])):
            raise ModelError(
                f"{path}: the weight '{_short(str(key))}' does not fit its bytes", "export or copy it again"
            )


def _fits(meta: Any, available: int) -> bool:
    try:
        sizes, strides = ([int(size["as_int"]) for size in meta[key]] for key in ("sizes", "strides"))
        offset, size = int(meta["storage_offset"]["as_int"]), _BYTES[meta["dtype"]]
    except (TypeError, KeyError, ValueError):
        return False
    if len(sizes) != len(strides) or min((*sizes, *strides, offset), default=0) < 0:
        return False
    if math.prod(sizes) == 0:
        return max(sizes) < _LARGEST_INTEGER
    last = offset + sum((count - 1) * stride for count, stride in zip(sizes, strides, strict=True))
    return (last + 1) * size <= available and math.prod(sizes) * size <= max(available * 1024, 1 << 20)


def _check_pickle(path: Path, name: str, content: bytes) -> None:
    """A checkpoint of tensors inside the file: nothing but tensors is named in it."""
    for member, inner in read_archive(BytesIO(content), f"{path}: '{name}'").items():
        if member.endswith("data.pkl"):
            for pickled in pickled_globals(inner, str(path)):
                if not _PICKLED.fullmatch(pickled):
                    raise ModelError(
                        f"{path}: holds pickled objects ({_short(pickled)}), which are never loaded",
                        "export it again with tensors alone as inputs",
                    )
