"""A one-off plugin for the tests: a tiny differentiable detector, explainers and metrics of every scope."""

from __future__ import annotations

import os
import time
from pathlib import Path

import torch
from pydantic import Field

from xaibench.api import (
    Curve,
    ExplainerRecord,
    Explanation,
    Facts,
    Features,
    Forward,
    MetricRecord,
    ModelRecord,
    Parameters,
    Passes,
    Product,
    Score,
    Scores,
    ScoreSpec,
    hookimpl,
)

MODULE = "xaibench_local_toy"


@hookimpl
def xaibench_models():
    gives = frozenset({"gradients", "activations"})
    return [
        ModelRecord(name="toy", target=f"{MODULE}:Toy", summary="A tiny network.", gives=gives),
        ModelRecord(name="toy-family", target=f"{MODULE}:ToyFamily", summary="Three tiny networks.", gives=gives),
        ModelRecord(
            name="seeded", target=f"{MODULE}:Seeded", summary="A tiny network by the seed in its file.", gives=gives,
            suffixes=(".seed",),
        ),
        ModelRecord(name="blind", target=f"{MODULE}:Blind", summary="The tiny network as a black box."),
    ]  # fmt: skip


@hookimpl
def xaibench_explainers():
    return [
        ExplainerRecord(name="rows", target=f"{MODULE}:Rows", summary="Occlusion of rows."),
        ExplainerRecord(
            name="shared", target=f"{MODULE}:Shared", summary="Shows a stored artefact.", class_specific=False
        ),
        ExplainerRecord(
            name="shared-too", target=f"{MODULE}:Shared", summary="Shows the same one.", class_specific=False
        ),
        ExplainerRecord(name="faulty", target=f"{MODULE}:Faulty", summary="Raises on every other sample."),
        ExplainerRecord(name="flaky", target=f"{MODULE}:Flaky", summary="Raises on every other sample while told to."),
        ExplainerRecord(name="exits", target=f"{MODULE}:Exits", summary="Calls sys.exit."),
        ExplainerRecord(name="fatal", target=f"{MODULE}:Fatal", summary="Ends its process once."),
    ]


@hookimpl
def xaibench_metrics():
    return [
        MetricRecord(name="range", target=f"{MODULE}:Range", summary="max - min", family="salience", better="higher"),
        MetricRecord(name="spread", target=f"{MODULE}:Spread", summary="Spread of means", family="salience", scope="detector"),
        MetricRecord(name="channels", target=f"{MODULE}:Channels", summary="Of the detector itself", family="interpretability",
                     scope="model", needs=frozenset({"activations"})),
        MetricRecord(name="agreement", target=f"{MODULE}:Agreement", summary="Across runs", family="salience", scope="family"),
    ]  # fmt: skip


class Net(torch.nn.Module):
    def __init__(self, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.conv = torch.nn.Conv2d(3, 6, 5, stride=4, padding=2)
            self.head = torch.nn.Linear(6, 2)
        self.requires_grad_(False)


class Detector:
    def __init__(self, seed: int, black_box: bool = False) -> None:
        self.net = Net(seed)
        self.device = torch.device("cpu")
        gives = frozenset() if black_box else frozenset({"gradients", "activations"})
        limits = {"gradients": "the toy is a black box", "activations": "the toy is a black box"} if black_box else {}
        self.facts = Facts(
            name="toy", classes=("real", "fake"), real_class=0, input_size=(32, 32), digest=f"toy{seed}{black_box}",
            gives=gives, limits=limits,
        )  # fmt: skip

    def features(self, images, layer=None):
        activation = self.net.conv(images - 0.5).relu()
        logits = 20 * self.net.head(activation.mean((2, 3)))
        return Features(activation, logits, lambda t: t)

    def logits(self, images):
        return self.features(images).logits

    def probabilities(self, images):
        if os.environ.get("TOY_PREDICTIONS_FAIL"):
            raise RuntimeError("told to fail")
        with torch.inference_mode():
            return self.logits(images).softmax(1)

    def scores(self, images):
        with torch.inference_mode():
            return self.logits(images)


class Toy:
    black_box = False
    names = ("toy",)

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters

    def members(self):
        return self.names

    def open(self, member, runtime):
        return Detector(self.names.index(member), self.black_box)


class ToyFamily(Toy):
    names = ("run-0", "run-1", "run-2")


class Blind(Toy):
    black_box = True


class FileParameters(Parameters):
    path: str = Field(description="file that holds a seed")


class Seeded:
    Parameters = FileParameters

    def __init__(self, parameters: FileParameters) -> None:
        self.path = Path(parameters.path)

    def members(self):
        return (self.path.stem,)

    def open(self, member, runtime):
        return Detector(int(self.path.read_text()))


class Noise:
    """Three noisy copies of a picture and what the detector says of them; costs three passes."""

    kind, uses_detector, stored = "noise", True, True

    def parameters(self):
        return {"copies": 3}

    def make(self, query):
        image = query.picture.image
        noise = torch.rand((3, *image.shape), generator=query.streams.torch("noise"))
        reply = yield Forward((image + 0.1 * noise).clamp(0, 1))
        low = float(reply[:, 1].min())
        if low > 0.985:
            return Product(status="undefined", reason="all copies are called fake", numbers={"low": low})
        return Product(tensors={"mean": noise.mean(dim=(0, 1))}, numbers={"low": low})

    def passes(self, query):
        return Passes(forward=3)


class Shared:
    artefacts = (Noise(),)

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters

    def explain(self, request):
        product = yield from request.artefacts.get(self.artefacts[0], request.picture)
        if product.status != "ok":
            return Explanation.none(product.reason)
        return Explanation(map=product.tensors["mean"].clone(), details={"low": product.numbers["low"]})

    def passes(self, query):
        return Passes()


class RowsParameters(Parameters):
    bands: int = Field(4, ge=1, description="bands of rows")
    pause: float = Field(0.0, ge=0, description="seconds to sleep on every sample")


class Rows:
    Parameters = RowsParameters
    always_explains = True

    def __init__(self, parameters: RowsParameters) -> None:
        self.parameters = parameters

    def explain(self, request):
        time.sleep(self.parameters.pause)
        image = request.picture.image
        height, width = image.shape[1:]
        rows = torch.arange(height) * self.parameters.bands // height
        probes = [image * (rows != b)[None, :, None] for b in range(self.parameters.bands)]
        reply = yield Forward(torch.stack([image, *probes]))
        drops = reply[0, request.target] - reply[1:, request.target]
        return Explanation(map=drops[rows][:, None].expand(height, width).contiguous())

    def passes(self, query):
        return Passes(forward=self.parameters.bands + 1)


class Faulty(Rows):
    def explain(self, request):
        if int(request.picture.digest[:2], 16) % 2:
            raise RuntimeError(f"no luck with {request.picture.sample.id}")
        return (yield from super().explain(request))


class Flaky(Faulty):
    def explain(self, request):
        told = os.environ.get("TOY_FLAKY")
        return (yield from (super().explain(request) if told else Rows.explain(self, request)))


class Exits(Rows):
    def explain(self, request):
        raise SystemExit(0)


class FatalParameters(Parameters):
    flag: str = Field("", description="file that says it happened already")


class Fatal:
    Parameters = FatalParameters

    def __init__(self, parameters: FatalParameters) -> None:
        self.parameters = parameters

    def explain(self, request):
        if not Path(self.parameters.flag).exists():
            Path(self.parameters.flag).touch()
            os._exit(9)
        return Explanation(map=request.picture.image.mean(0))

    def passes(self, query):
        return Passes()


class Range:
    scores = (ScoreSpec(name="range", better="higher", low=0, why_not="looks at the map alone"),)

    def __init__(self, parameters: Parameters) -> None:
        pass

    def score(self, case):
        values = case.explanation.map
        curve = Curve(name="rows", x=range(values.shape[0]), y=values.mean(1).tolist())
        return Scores((Score(name="range", value=float(values.max() - values.min())),), (curve,))

    def passes(self, query):
        return Passes()


class Spread:
    scores = (ScoreSpec(name="spread", better="none", low=0, why_not="looks at the maps alone"),)

    def __init__(self, parameters: Parameters) -> None:
        pass

    def score(self, case):
        (cases,) = case.members.values()
        maps = [c.explanation.map for c in cases]
        if not maps:
            return Scores.undefined(self.scores, "no map")
        means = torch.stack([m.double().mean() for m in maps])
        return Scores((Score(name="spread", value=float(means.max() - means.min())),))

    def passes(self, query):
        return Passes()


class Agreement(Spread):
    scores = (ScoreSpec(name="agreement", better="higher", low=-1, high=1, why_not="looks at the maps alone"),)

    def score(self, case):
        first, *others = case.members.values()
        values = []
        for other, name in zip(others, list(case.members)[1:], strict=True):
            r = [torch.corrcoef(torch.stack([a.explanation.map.flatten(), b.explanation.map.flatten()]))[0, 1]
                 for a, b in zip(first, other, strict=True)]  # fmt: skip
            values.append(Score(name="agreement", value=float(torch.stack(r).nanmean()), item=f"run-0~{name}"))
        return Scores(tuple(values))


class Channels:
    """Mean P(fake) of the pictures, from a call of its own and from the clean predictions."""

    scores = (
        ScoreSpec(name="asked", better="none", low=0, high=1, why_not="a toy", description="mean P(fake), asked again"),
        ScoreSpec(name="known", better="none", low=0, high=1, why_not="a toy", description="mean P(fake), as known"),
        ScoreSpec(name="count", better="none", low=0, why_not="a toy", description="pictures"),
    )

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters

    def score(self, case):
        if not case.pictures:
            return Scores.undefined(self.scores, "no picture")
        replies = yield Forward(torch.stack([p.image for p in case.pictures]))
        if os.environ.get("TOY_CHANNELS_FAIL"):
            raise RuntimeError("told to fail")
        return Scores((
            Score(name="asked", value=float(replies[:, 1].double().mean())),
            Score(name="known", value=float(case.clean[:, 1].double().mean())),
            Score(name="count", value=len(case.pictures)),
        ))  # fmt: skip

    def passes(self, query):
        return Passes(forward=1)
