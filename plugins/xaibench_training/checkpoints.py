"""The state of an unfinished run on disk: one safetensors file an epoch, replaced at once or not at all.

Nothing random is stored. Every generator is derived from (seed, run, epoch), so the number of epochs done says how all
of them and the sampler go on.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from torch import Tensor, nn
from torch.optim import Optimizer

from xaibench.api import StoreError, write_error
from xaibench_training.writing import write_bytes

_MOMENTUM = "momentum_buffer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """One row of ``train.parquet``, less what is the same for the whole run. ``loss``, ``parts``: means over the
    epoch's examples; ``examples``: pictures shown in it; ``seconds``: training and validating it."""

    epoch: int
    loss: float
    parts: Mapping[str, float]
    validation_auc: float
    validation_loss: float
    learning_rate: float
    seconds: float
    examples: int


@dataclass(slots=True)
class History:
    """The epochs of a run so far, and the one kept as its best: the earliest of the highest validation AUC."""

    epochs: list[Epoch] = field(default_factory=list)

    @property
    def best(self) -> Epoch:
        return max(self.epochs, key=lambda e: (e.validation_auc, -e.epoch))


def snapshot(module: nn.Module) -> dict[str, Tensor]:
    """A copy of a module's state on the CPU."""
    return {k: v.detach().cpu().contiguous().clone() for k, v in module.state_dict().items()}


class RunState:
    """``FOLDER/run-N.safetensors`` and ``run-N.best.safetensors``, what an unfinished run goes on from."""

    def __init__(self, folder: Path, name: str) -> None:
        self.file = folder / f"{name}.safetensors"
        self.best_file = folder / f"{name}.best.safetensors"

    def exists(self) -> bool:
        return self.file.exists()

    def save(self, module: nn.Module, optimiser: Optimizer, recipe: Any, history: History) -> None:
        """Commit the end of an epoch. The best network goes last: what a kill loses of it is in the state, from which
        :meth:`restore` writes it again."""
        from safetensors.torch import save

        tensors = {f"network/{k}": v for k, v in snapshot(module).items()}
        tensors |= {f"momentum/{k}": v for k, v in _momenta(module, optimiser).items()}
        if hasattr(recipe, "state"):
            tensors |= {f"recipe/{k}": v.detach().cpu().contiguous().clone() for k, v in recipe.state().items()}
        rows = json.dumps([asdict(e) for e in history.epochs])
        write_bytes(self.file, save(tensors, {"epochs": rows}))
        self._save_best(module, history)

    def restore(self, module: nn.Module, optimiser: Optimizer, recipe: Any) -> History:
        """Bring everything to where the last commit left it."""
        tensors, history = self._read()
        module.load_state_dict(_under(tensors, "network/"))
        momenta = _under(tensors, "momentum/")
        for name, parameter in module.named_parameters():
            if name in momenta:
                optimiser.state[parameter][_MOMENTUM] = momenta[name].to(parameter.device)
        if hasattr(recipe, "restore"):
            recipe.restore(_under(tensors, "recipe/"))
        self._save_best(module, history)
        return history

    def epochs(self) -> int:
        """How many epochs are done."""
        return len(self._read()[1].epochs)

    def best(self) -> dict[str, Tensor]:
        """The network of the best epoch."""
        return self._load(self.best_file)[0]

    def remove(self) -> None:
        """The run is complete: the state goes first, since it alone says that there is something to resume."""
        self.file.unlink(missing_ok=True)
        self.best_file.unlink(missing_ok=True)

    def _save_best(self, module: nn.Module, history: History) -> None:
        """Keep the network where its last epoch is the best one."""
        from safetensors.torch import save

        if history.best is history.epochs[-1]:
            write_bytes(self.best_file, save(snapshot(module)))

    def _read(self) -> tuple[dict[str, Tensor], History]:
        tensors, words = self._load(self.file)
        try:
            return tensors, History([Epoch(**row) for row in json.loads(words["epochs"])])
        except (KeyError, TypeError, ValueError) as error:
            raise self._broken(self.file, error) from error

    def _load(self, file: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(file, framework="pt") as opened:
                return {k: opened.get_tensor(k) for k in opened.keys()}, opened.metadata() or {}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise self._broken(file, error) from error

    def _broken(self, file: Path, error: Exception) -> StoreError:
        return StoreError(
            f"{file} cannot be read: {' '.join(str(error).split())[:120]}",
            f"delete {self.file.name} there and give the same command again: that run starts anew",
        )


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a family's folder for this process alone; another is refused. The system drops it however we end."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = open(folder / ".lock", "a", encoding="utf-8")  # noqa: SIM115
    except OSError as error:
        raise write_error(folder, error) from error
    with lock:
        try:
            _lock(lock)
        except (BlockingIOError, PermissionError):  # the second is Windows'
            raise StoreError(
                f"{folder} is being trained by another process", "wait for it, or give another --out"
            ) from None
        except OSError as error:
            raise StoreError(
                f"{folder} cannot be locked: {error.strerror or error}",
                "give --out on a file system that can lock files",
            ) from error
        yield


def _lock(file: IO[str]) -> None:
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        return
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _momenta(module: nn.Module, optimiser: Optimizer) -> dict[str, Tensor]:
    found = {n: optimiser.state.get(p, {}).get(_MOMENTUM) for n, p in module.named_parameters()}
    return {n: t.detach().cpu().contiguous().clone() for n, t in found.items() if t is not None}


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
