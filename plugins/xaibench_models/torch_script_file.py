"""TorchScript files, checked before torch reads them and once more before anything of them is called.

Loading such a file compiles its source and runs ``__setstate__`` of its classes, so its source is read here first:
every operator in it must be one of :mod:`xaibench_models.torch_operators`. The compiled graphs say the same in a form
that leaves nothing to the reading of source, and are compared with the same list.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

from xaibench.api import ModelError
from xaibench_models.torch_archive import pickled_globals, read_archive, write_archive
from xaibench_models.torch_operators import allowed_operators, forbidden_methods

_CODE = re.compile(r"code/[\w/]+\.py")
_KEPT = re.compile(r"code/[\w/]+\.py|(data|constants)/\d+|(data|constants)\.pkl|version|\.data/version|byteorder")
_OLD = ("model.json", "attributes.pkl")
_PICKLES = ("data.pkl", "constants.pkl")
_LARGEST_SOURCE = 64 << 20
_CLASSES = "__torch__.torch.classes."
_PACKED = frozenset(
    f"{_CLASSES}quantized.{kind}PackedParamsBase" for kind in ("Conv2d", "Conv3d", "Linear", "Embedding")
)
# Both lexers, Python's and TorchScript's, take text that is made of these alone for the same tokens.
_TOKEN = re.compile(
    r"""[A-Za-z_][A-Za-z0-9_]*(?![A-Za-z0-9_"'])|[0-9][0-9A-Za-z_]*(?!["'])|"(?:[^"\\\n]|\\.)*"(?!["'])"""
    r"""|'(?:[^'\\\n]|\\.)*'(?!["'])|[ \n]|[][(){}.,:=+*/%<>!&|^~@-]"""
)
_NAMESPACES = ("torch", "ops", "__torch__")
_MEND = "export it again without that, as .pt2, or name the Python code in a card with factory"


def checked_script(path: Path) -> BytesIO:
    """The file as an archive that ``torch.jit.load`` may read; loading it can call allowed operators alone.

    Raises :class:`ModelError`, naming the operator or class, for a file that could do more.
    """
    members = read_archive(path, str(path))
    if old := next((name for name in _OLD if name in members), None):
        raise ModelError(f"{path}: is TorchScript of an old form ('{old}')", "export it again with this torch")
    kept = {name: content for name, content in members.items() if _KEPT.fullmatch(name)}
    for name, content in kept.items():
        if _CODE.fullmatch(name):
            _check_source(path, name, content)
        elif name in _PICKLES:
            _check_classes(path, pickled_globals(content, str(path)))
    return write_archive(kept)


def check_graphs(path: Path, unit: Any) -> None:
    """Compare every operator of every compiled function, their branches and closures, with the list.

    ``unit``, a ``torch._C.CompilationUnit``, holds the methods of all classes and all free functions that the file was
    compiled to. Nothing is run. Raises :class:`ModelError` naming the operator.
    """
    for function in unit.get_functions():
        for node in _nodes(function.graph):
            if node.kind() not in allowed_operators():
                raise _refused(path, node.kind())


def _nodes(graph: Any) -> Iterator[Any]:
    queue = [graph]
    while queue:
        for node in queue.pop().nodes():
            yield node
            queue += node.blocks()
            for name in node.attributeNames():
                queue += (
                    [node.g(name)] if node.kindOf(name) == "g" else node.gs(name) if node.kindOf(name) == "gs" else []
                )


# ---- source -----------------------------------------------------------------------------------------------------


def _check_source(path: Path, name: str, content: bytes) -> None:
    if len(content) > _LARGEST_SOURCE:
        raise ModelError(f"{path}: '{name}' has {len(content):,} bytes, too many for a program", _MEND)
    try:
        text = content.decode("utf-8")
        odd = _TOKEN.sub("", text)
        tree = None if odd else ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        odd, tree = "", None
    if tree is None:
        shown = f" ('{odd[:20]}')" if odd.isprintable() and odd else ""
        raise ModelError(f"{path}: '{name}' is not written as torch writes programs{shown}", "export it again")
    _check_tree(path, tree)


def _check_tree(path: Path, tree: ast.Module) -> None:
    inside = set[ast.AST]()  # parts of dotted names that were checked as a whole
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            if node not in inside:
                inside.update(_check_dotted(path, node))
            _check_method(path, node.attr)
        elif isinstance(node, ast.Name):
            if node.id == "print" and node not in inside:
                raise _refused(path, "prim::Print")
            if node.id in _NAMESPACES and node not in inside:
                raise _refused(path, node.id)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("getattr", "hasattr"):
            for argument in node.args[1:2]:
                if not isinstance(argument, ast.Constant) or not isinstance(argument.value, str):
                    raise _refused(path, node.func.id)
                _check_method(path, argument.value)


def _check_method(path: Path, name: str) -> None:
    """A name behind a dot is an operator where the value is a tensor, a list or a text."""
    if name in forbidden_methods():
        raise _refused(path, f"aten::{name}")


def _check_dotted(path: Path, node: ast.Attribute) -> Iterable[ast.AST]:
    """Check a dotted name that begins at a namespace; returns its parts."""
    parts, names = list[ast.AST](), list[str]()
    base: ast.expr = node
    while isinstance(base, ast.Attribute):
        parts.append(base)
        names.append(base.attr)
        base = base.value
    if not isinstance(base, ast.Name) or base.id not in _NAMESPACES:
        return parts
    names.reverse()
    if base.id == "__torch__":
        full = ".".join(("__torch__", *names))
        if names[0] == "torch" and (len(names) == 1 or names[1] == "classes"):
            _check_classes(path, [full])
    elif base.id == "torch":
        _check_operator(path, f"aten::{names[0]}")
    else:
        _check_operator(path, "::".join(names[:2]) if len(names) > 1 else names[0])
    return [*parts, base]


def _check_operator(path: Path, operator: str) -> None:
    if operator not in allowed_operators():
        raise _refused(path, operator)


def _check_classes(path: Path, names: Iterable[str]) -> None:
    """Classes in C++ that a file may make: the packed weights of quantised layers."""
    for name in names:
        if (name == "__torch__.torch" or name.startswith(_CLASSES.rstrip("."))) and name not in _PACKED:
            raise ModelError(f"{path}: makes '{name[:100]}', a class that reaches outside the program", _MEND)


def _refused(path: Path, operator: str) -> ModelError:
    return ModelError(
        f"{path}: calls '{operator[:100]}', which is none of the operators that a detector needs, and is not run", _MEND
    )
