"""Loading PyTorch models without running pickled code: factories, weights, ``torch.export`` and TorchScript files.

A ``.toml`` that names a factory runs that factory's Python code, as importing any package does. Weights and model
files are data and are loaded as data: what would need unpickling arbitrary objects is refused.
"""

from __future__ import annotations

import copy
import hashlib
import importlib
import inspect
import json
import logging
import os
import pickle
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.jit._recursive import wrap_cpp_module

from xaibench.api import ModelError
from xaibench_models.card import Layout
from xaibench_models.torch_archive import is_archive, member_names
from xaibench_models.torch_export_file import checked_export
from xaibench_models.torch_script_file import check_graphs, checked_script
from xaibench_operations import check_fit, read_tensors, without_prefix

_PREFIXES = ("", "module.", "model.", "module.model.", "net.", "_orig_mod.")
_CONVERT = 'save_file(model.state_dict(), "weights.safetensors"), with save_file from safetensors.torch'


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A model in evaluation mode, on the CPU.

    ``digest`` covers its weights and code as far as they are known. ``layout``, ``size`` and ``batch`` are what an
    exported file says. ``hooks`` tells whether hooks on its layers fire. ``copy`` makes an independent one with the
    same weights.
    """

    module: nn.Module
    digest: str
    form: str
    copy: Callable[[nn.Module], nn.Module] = copy.deepcopy
    hooks: bool = True
    layout: Layout | None = None
    size: tuple[int, int] | None = None
    batch: int | None = None


_CPU = torch.device("cpu")


def frozen(module: nn.Module) -> nn.Module:
    """``module`` in evaluation mode, its parameters without gradient."""
    for parameter in module.parameters():  # TorchScript modules have no requires_grad_ of their own
        parameter.requires_grad_(False)
    return module.eval()


# ---- files ------------------------------------------------------------------------------------------------------


def load_file(path: Path, device: torch.device = _CPU) -> Loaded:
    """A ``torch.export`` or TorchScript file, told apart by its content, with its constants on ``device``.

    Constants of a program are no parameters: a module that is moved afterwards leaves them behind.

    Raises :class:`ModelError` for a missing or corrupt file, and for a pickled model or checkpoint.
    """
    if not path.is_file():
        raise ModelError(f"{path}: no such file", "give the path of a .pt2, TorchScript or .toml file")
    names = _member_names(path)
    if any(name.startswith("code/") for name in names):
        return _torchscript(path, device)
    if any(name.startswith("models/") for name in names):
        try:
            return _exported(path, device)
        except (ValueError, LookupError, TypeError, AttributeError, RuntimeError) as error:  # a graph that is no graph
            raise ModelError(
                f"{path}: holds a program that cannot be read: {type(error).__name__}: {_first_line(error)}",
                "export it again with this torch",
            ) from None
    raise ModelError(
        f"{path}: holds weights or a pickled model, not a program, and pickled code is never run",
        f'write a .toml with factory = "package.module:callable" and weights = "FILE"; make FILE by {_CONVERT}',
    )


def _member_names(path: Path) -> list[str]:
    if is_archive(path):
        return member_names(path)
    with path.open("rb") as file:
        if file.read(1) == b"\x80":  # a pickle, as torch.save wrote them before 1.6
            return []
    raise ModelError(f"{path}: is no PyTorch file, or is cut off", "export or copy it again")


def _torchscript(path: Path, device: torch.device) -> Loaded:
    unit = torch._C.CompilationUnit()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            # What torch.jit.load does, which keeps the compiled functions to itself.
            load: Any = torch._C.import_ir_module_from_buffer
            program = load(unit, checked_script(path).getvalue(), device, {}, False)
            check_graphs(path, unit)
            module = wrap_cpp_module(program)  # type: ignore[no-untyped-call]
        except ModelError:
            raise
        except Exception as error:  # the reader of a broken file raises whatever its parsing trips over
            raise ModelError(
                f"{path}: cannot be loaded as TorchScript: {_first_line(error)}", "export it again"
            ) from None
    return Loaded(module=frozen(module), digest=_file_digest(path), form="TorchScript", hooks=False)


def _exported(path: Path, device: torch.device) -> Loaded:
    program = _on_device(_load_program(path), device)
    shape = _input_shape(path, program)
    layout = _layout(shape)
    height, width = shape[1:3] if layout == "NHWC" else shape[2:4]

    def again(module: nn.Module) -> nn.Module:
        fresh = _unflattened(_on_device(_load_program(path), device))
        fresh.load_state_dict(module.state_dict())
        return fresh

    return Loaded(
        module=_unflattened(program),
        digest=_file_digest(path),
        form="torch.export",
        copy=again,
        layout=layout,
        size=(height, width) if height and width else None,
        batch=shape[0],
    )


def _on_device(program: torch.export.ExportedProgram, device: torch.device) -> torch.export.ExportedProgram:
    """The program with weights, constants and the devices that its graph names on ``device``."""
    if device.type == "cpu":
        return program
    from torch.export.passes import move_to_device_pass

    return move_to_device_pass(program, str(device))


def _layout(shape: Sequence[int | None]) -> Layout | None:
    """Where the three channels are; None where one axis alone does not tell."""
    first, last = shape[1] == 3, shape[3] == 3
    return None if first == last else "NCHW" if first else "NHWC"


def _unflattened(program: torch.export.ExportedProgram) -> nn.Module:
    """The program with its modules as they were, so that hooks on layers fire."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return frozen(torch.export.unflatten(program))


@contextmanager
def _weights_only() -> Iterator[None]:
    """While this lasts, every ``torch.load`` loads tensors and plain values only, whatever its caller says."""
    key = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(key)
    os.environ[key] = "1"
    try:
        yield
    finally:
        os.environ.pop(key)
        if before is not None:
            os.environ[key] = before


@contextmanager
def _without_log(name: str) -> Iterator[None]:
    """While this lasts, a logger says nothing: torch logs the traceback of an error beside raising it."""
    logger = logging.getLogger(name)
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def _load_program(path: Path) -> torch.export.ExportedProgram:
    archive = checked_export(path)
    with _weights_only(), _without_log("torch.export"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            # What torch.export.load does, which takes an error for a file of the form before, and logs a traceback.
            from torch.export.pt2_archive._package import load_pt2

            return load_pt2(archive).exported_programs["model"]
        except pickle.UnpicklingError:
            raise ModelError(
                f"{path}: holds pickled objects, which are never loaded", "export it again with tensors alone as inputs"
            ) from None
        except Exception as error:  # the archive reader raises whatever its parsing trips over
            raise ModelError(
                f"{path}: torch {torch.__version__} cannot load it: {_first_line(error)}",
                "export it again with this torch",
            ) from None


def _input_shape(path: Path, program: torch.export.ExportedProgram) -> list[int | None]:
    wanted = program.graph_signature.user_inputs
    found = [n.meta["val"] for n in program.graph.nodes if n.op == "placeholder" and n.name in wanted]
    if len(found) != 1 or found[0].ndim != 4:
        raise ModelError(
            f"{path}: takes {len(found)} inputs, not one batch of pictures", "export a model of one (N, 3, H, W) input"
        )
    return [d if isinstance(d, int) else None for d in found[0].shape]


# ---- factories --------------------------------------------------------------------------------------------------


def load_factory(factory: str, kwargs: Mapping[str, Any], pythonpath: Sequence[Path], weights: Path | None) -> Loaded:
    """Call ``package.module:callable`` with ``kwargs`` and load ``weights`` into the module it returns.

    ``pythonpath`` folders are on ``sys.path`` while the factory is imported and called. The digest covers the state,
    the factory's name, its arguments and, with ``pythonpath``, its source file.
    """
    module_name, _, attribute = factory.partition(":")
    if not attribute:
        raise ModelError(f"factory '{factory}' is not of the form 'package.module:callable'", "mend the key 'factory'")
    with _on_path(pythonpath):
        _refuse_same_name(module_name, pythonpath)
        build = _import(factory, module_name, attribute)
        try:
            module = build(**kwargs)
        except Exception as error:  # the factory is the user's code
            raise ModelError(
                f"factory {factory} failed: {type(error).__name__}: {_first_line(error)}", "check kwargs and pythonpath"
            ) from error
    if not isinstance(module, nn.Module):
        raise ModelError(f"factory {factory} returned {type(module).__name__}, not a torch module", "return the model")
    if weights is not None:
        load_weights(module, weights)
    code = _source(build) if pythonpath else ""
    what = f"{factory} {json.dumps(kwargs, sort_keys=True, default=str)} {code}"
    return Loaded(module=frozen(module), digest=state_digest(module, what), form="factory")


@contextmanager
def _on_path(folders: Sequence[Path]) -> Iterator[None]:
    before = list(sys.path)
    sys.path[:0] = [str(folder) for folder in folders]
    try:
        yield
    finally:
        sys.path[:] = before


def _refuse_same_name(module_name: str, pythonpath: Sequence[Path]) -> None:
    """Two repositories with a module ``model`` each: the second would silently get the first one's."""
    top = module_name.partition(".")[0]
    spec = PathFinder.find_spec(top, [str(p) for p in pythonpath]) if pythonpath else None
    loaded = getattr(sys.modules.get(top), "__file__", None)
    if spec is not None and spec.origin and loaded and Path(loaded).resolve() != Path(spec.origin).resolve():
        raise ModelError(
            f"a module '{top}' from another folder is loaded already",
            f"rename '{top}', or evaluate the models in runs of their own",
        )


def _import(factory: str, module_name: str, attribute: str) -> Callable[..., Any]:
    try:
        found = getattr(importlib.import_module(module_name), attribute, None)
    except Exception as error:  # the module is the user's code
        raise ModelError(
            f"factory {factory} cannot be imported: {type(error).__name__}: {_first_line(error)}",
            "install its package, or name its folder in pythonpath",
        ) from error
    if not callable(found):
        raise ModelError(f"module '{module_name}' has no callable '{attribute}'", "mend the key 'factory'")
    return found  # type: ignore[no-any-return]


def _source(build: Callable[..., Any]) -> str:
    file = inspect.getsourcefile(inspect.unwrap(build))
    return _file_digest(Path(file)) if file else ""


# ---- weights ----------------------------------------------------------------------------------------------------


def load_weights(module: nn.Module, path: Path) -> None:
    """Load a safetensors file or a checkpoint of tensors into ``module``, every key and shape accounted for.

    Raises :class:`ModelError` for a file that is missing, corrupt, pickled, or does not fit the model.
    """
    state = read_tensors(path)
    expected = module.state_dict()
    fitted = min((without_prefix(state, p) for p in _PREFIXES), key=lambda s: len(set(s) ^ set(expected)))
    check_fit(path, fitted, expected, "check that factory and kwargs build the model that was trained, in its sizes")
    module.load_state_dict(fitted, strict=False)


# ---- digests ----------------------------------------------------------------------------------------------------


def state_digest(module: nn.Module, what: str = "") -> str:
    """Sha256 over ``what`` and every parameter and buffer: name, type, shape, bytes."""
    digest = hashlib.sha256(what.encode())
    for name, value in sorted(module.state_dict().items()):
        for tensor, kind in _plain_tensors(value):
            digest.update(f"|{name} {kind}{tensor.dtype} {tuple(tensor.shape)}|".encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _plain_tensors(value: Any) -> Iterator[tuple[Tensor, str]]:
    """The tensors of a value of a state, with words for what they are besides: quantised layers pack theirs."""
    if isinstance(value, tuple | list):
        for part in value:
            yield from _plain_tensors(part)
    elif not isinstance(value, Tensor):
        yield torch.empty(0), f"{value} "
    elif not value.is_quantized:
        yield value, ""
    elif value.qscheme() in (torch.per_tensor_affine, torch.per_tensor_symmetric):
        yield value.int_repr(), f"{value.q_scale()!r} {value.q_zero_point()} "
    else:
        yield value.int_repr(), f"axis {value.q_per_channel_axis()} "
        yield value.q_per_channel_scales(), "scales "
        yield value.q_per_channel_zero_points(), "zero points "


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
