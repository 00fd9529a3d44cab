"""What a family is trained from: recipe, settings, pictures and guides, and the identity that a folder is held to."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import torch

from xaibench.api import Network, PlanError, Problem, Runtime, Streams, UsageError, digest
from xaibench_training.data import Guides, Pictures, load, no_guides, pack_guides
from xaibench_training.faults import asked
from xaibench_training.networks import build, settled_size
from xaibench_training.settings import DataChoice, TrainingSettings
from xaibench_training.splits import Split, choose

if TYPE_CHECKING:
    from xaibench import Registry, Use

SCHEME = 1
"""Raise it when the same settings train another network than before."""


@dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """A family as it will be trained. ``dataset`` is the name of the data, ``problems`` pictures left out."""

    recipe: Use
    settings: TrainingSettings
    runtime: Runtime
    dataset: str
    train: Pictures
    validation: Pictures
    notes: tuple[str, ...]
    problems: tuple[Problem, ...]

    def seed_of(self, run: int) -> int:
        """The seed of one run, in [0, 2^63)."""
        return Streams(("training run", str(self.settings.seed), str(run))).seed()

    def new_recipe(self) -> Any:
        """A recipe of its own for one run: what it keeps is of that run."""
        return self.recipe.registered.load()(self.recipe.parameters)

    def network(self, seed: int) -> Network:
        weights = self.settings.weights
        return build(self.settings.network, weights=None if weights is None else Path(weights), seed=seed)

    def guides(self, run: int) -> Guides:
        """What the recipe's guides are in one run. Raises :class:`PlanError` where a guiding recipe has none at all."""
        from xaibench import prepare_torch

        if not hasattr(self.recipe.instance, "guides"):
            return no_guides(self.train)
        generator = Streams(("training", str(self.seed_of(run)))).torch("guides")
        with asked(self.recipe.instance, "guides"):
            drawn = list(self.recipe.instance.guides(self.train, generator))
        found = pack_guides(drawn, self.train, self.recipe.name)
        prepare_torch(self.runtime.threads, self.runtime.device)  # drawing another model's maps may have changed it
        if not found.count:
            raise PlanError(
                f"{self.recipe.name} needs guides, and none of the {len(self.train)} training pictures has one",
                "use data with masks, or another guide (xaibench info "
                f"{self.recipe.registered.record.name} lists the parameters)",
            )
        return found


def _split(source: Use, data: DataChoice, seed: int) -> Split:
    """:func:`choose`, whose error names the spec that lists the split where the dataset has it but does not list it."""
    samples = source.instance.samples()
    try:
        return choose(samples, data.split, data.validation, data.method, seed)
    except UsageError as error:
        listed, values = {s.split for s in samples}, _split_values(source)
        wanted = [data.split or "train", *([data.validation] if data.validation else [])]
        if not any(s in values and s not in listed for s in wanted):
            raise
        value = wanted[0] if len(wanted) == 1 else "all"
        name = source.registered.record.name
        raise UsageError(error.what, f"{error.mend}; write --dataset {name}:split={value}") from None


def _split_values(source: Use) -> tuple[object, ...]:
    """The values of the dataset's parameter ``split``: the splits of which it lists one, or ``all``."""
    field = type(source.parameters).model_fields.get("split")
    return () if field is None else get_args(field.annotation)


def make_plan(
    registry: Registry,
    recipe: str,
    parameters: Mapping[str, object],
    data: DataChoice,
    settings: TrainingSettings,
    runtime: Runtime,
) -> TrainingPlan:
    """Resolve names, choose and decode the pictures; everything that can be refused before training is refused here."""
    from xaibench import open_component, open_dataset, prepare_torch

    use = open_component("recipe", recipe, parameters, registry=registry)
    size = settled_size(settings.network, settings.size)
    settled = settings.model_copy(update={"size": size})
    source = open_dataset(data.dataset, registry=registry)
    split = _split(source, data, settings.seed)
    prepare_torch(runtime.threads, runtime.device)
    train, broken = load(source.instance, split.train, size, limit=data.limit)
    validation, more = load(source.instance, split.validation, size, limit=data.limit)
    _check_classes(train, validation)
    plan = TrainingPlan(
        recipe=use, settings=settled, runtime=runtime, dataset=source.display_name, train=train, validation=validation,
        notes=_notes(split, train, validation), problems=(*source.instance.problems(), *broken, *more),
    )  # fmt: skip
    tried, fresh = plan.new_recipe(), plan.network(0)
    with asked(tried, "prepare"):
        network = tried.prepare(fresh, torch.Generator())
    return _noted(plan, getattr(network, "notes", ()))


def identity(plan: TrainingPlan, guides: Guides) -> dict[str, Any]:
    """Everything that the bytes of a run hang on, as a flat table. ``guides`` are those of run 0. How many runs there
    are is no part of it: more of them can be added to a family."""
    from xaibench import __version__, runtime_identity, use_identity

    s = plan.settings
    found: dict[str, Any] = {"scheme": SCHEME, "xaibench": __version__, "recipe": plan.recipe.name}
    found["recipe's code"] = digest(use_identity(plan.recipe))
    found |= {name.replace("_", "-"): v for name, v in s.model_dump(mode="json").items() if name != "augmentation"}
    found |= {f"augmentation {name}": v for name, v in s.augmentation.model_dump(mode="json").items()}
    found["weights"] = _sha(Path(s.weights).read_bytes()) if s.weights else "drawn from the seed"
    found |= {"training pictures": plan.train.digest, "validation pictures": plan.validation.digest}
    found["guides"] = _sha(guides.place.numpy().tobytes() + guides.maps.numpy().tobytes())
    where = runtime_identity(plan.runtime)
    return found | {name: where[name] for name in ("device", "threads", "torch")}


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """What is not as it was, in words; empty where all is."""
    for key in (*new, *(k for k in old if k not in new)):
        before, now = old.get(key, "not known"), new.get(key, "not known")
        if before != now:
            short = len(f"{before}{now}") <= 60
            return f"{key} was {before}, now {now}" if short else f"{key}: not the same as it was"
    return ""


def _check_classes(train: Pictures, validation: Pictures) -> None:
    """After the limit and the unreadable pictures both classes must still be there."""
    for name, pictures in (("training", train), ("validation", validation)):
        if len(set(pictures.labels.tolist())) < 2:
            raise PlanError(
                f"the {len(pictures)} {name} pictures that were read do not hold both real and fake ones",
                "raise --limit, or mend the files that cannot be read",
            )


def _notes(split: Split, train: Pictures, validation: Pictures) -> tuple[str, ...]:
    sizes = " and ".join(
        f"{len(p)} {name} pictures ({int((p.labels == 1).sum())} fake)"
        for name, p in (("training", train), ("validation", validation))
    )
    return (sizes, *split.notes)


def _noted(plan: TrainingPlan, notes: tuple[str, ...]) -> TrainingPlan:
    return replace(plan, notes=(*plan.notes, *notes))


def _sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
