"""A card that says one thing wrong is found out, and the cause named first; the right card is left alone."""

import numpy as np
import pytest
import torch
import wrong_cards
from toy_runs import LONG, registry

from xaibench.api import Runtime, XaibenchError
from xaibench.data.arrays import PictureArrays
from xaibench.run.examination import examine
from xaibench_models.live_model import LiveModel
from xaibench_testing.model_check import check_model

RIGHT = {
    "size": 16, "high": "fake", "colour": "BGR", "mean": (0.406, 0.456, 0.485), "std": (0.225, 0.224, 0.229),
}  # fmt: skip


def redness(x):
    """One logit of pictures that are blue first and normalised: how far red lies above green, where both are sane."""
    blue, green, red = (x.clamp(-2.2, 2.7).mean((2, 3)) * torch.tensor(RIGHT["std"])).unbind(1)
    return (60 * (red - 0.6 * green - 0.4 * blue.abs()))[:, None]


def people(seed=0, count=20):
    generator = np.random.default_rng(seed)
    images, labels, groups = [], [], []
    for person in range(count):
        for label in ("real", "fake"):
            tone = 0.1 if label == "fake" else -0.1
            level = np.array([0.485 + tone, 0.456 - tone / 4, 0.406]) + generator.normal(0, 0.05, 3)
            pixels = level + generator.normal(0, 0.05, (16, 16, 3))
            images.append((pixels.clip(0, 1) * 255).round().astype(np.uint8))
            labels.append(label)
            groups.append(f"p{person}")
    return PictureArrays(images, labels, groups=groups)


def read(card, data):
    values = {k: v for k, v in card.items() if v is not None}
    detector = LiveModel(redness, "redness", values, "1").open("redness", Runtime())
    return examine(detector, data, data.samples()).card


@pytest.mark.parametrize(("seed", "count"), [(0, 20), (1, 12)])
def test_no_other_reading_of_the_right_card_is_advised(seed, count):
    assert read(RIGHT, people(seed, count)).best is None


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ({"colour": "RGB"}, "colour"),
        ({"range": (0, 255)}, "range"),
        ({"high": "real", "range": (0, 255)}, "classes and range"),
        ({"threshold": 0.9999999}, "threshold"),
    ],
)
def test_the_key_that_is_wrong_is_named(wrong, name):
    best = read({**RIGHT, **wrong}, people()).best
    assert best is not None and best.name == name and best.auc.value > 0.95


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("wrong")


NETWORKS = {
    "blend": (wrong_cards.train_blend, wrong_cards.Blend, (2, 128, 128, 3), {1: "h", 2: "w", 3: "c"}),
    "noise": (wrong_cards.train_noise, wrong_cards.Noise, (2, 3, 128, 128), {2: "h", 3: "w"}),
}
CARDS = {"blend": wrong_cards.BLEND_WRONG, "noise": wrong_cards.NOISE_WRONG}
RIGHT_CARDS = {"blend": (wrong_cards.BLEND, "verdict"), "noise": (wrong_cards.NOISE, "score")}


def exported(place, name):
    """The two networks as files, with logits and with probabilities, and the pictures to check them on."""
    source, faces = place / "source", place / "faces"
    if not (source / f"{name}-p.onnx").exists():
        make, kind, shape, axes = NETWORKS[name]
        network, twin = make(), kind(True).eval()
        twin.load_state_dict(network.state_dict())
        wrong_cards.export(network, source, name, torch.rand(shape), axes)
        wrong_cards.export(twin, source, f"{name}-p", torch.rand(shape), axes)
    return source, str(faces) if faces.is_dir() else wrong_cards.held_out_faces(faces)


def written(place, name, form, wrong=None):
    """The path of a model with a card, and its dataset."""
    if not wrong_cards.FACES.is_dir():
        pytest.skip("the faces are not on this machine")
    source, data = exported(place, name)
    values = wrong_cards.card(*RIGHT_CARDS[name], form, wrong)
    probability = wrong is not None and wrong.probability
    return wrong_cards.write_model(place / form / name, source, form, name, values, probability), data


def checked(place, name, form, wrong=None, limit=100):
    """The exit code of check and the first thing that it says."""
    path, data = written(place, name, form, wrong)
    try:
        rows = check_model(registry(), str(path), data, None, limit, "cpu", {}, False)
    except XaibenchError as error:
        return 3, f"{error.what}; {error.mend}"
    failed = [r["message"] for r in rows if r["status"] == "fail"]
    return (5, failed[0]) if failed else (0, "")


def evaluated(cli, place, run, name, wrong=None):
    """The exit code of eval, the first thing that it says against the detector, and why its answer calls it unfit."""
    path, data = written(place, name, "onnx", wrong)
    code, out, err = cli(
        "eval", "-m", path, "-D", data, "-e", "center-prior", "-x", "entropy-spatial", "--no-controls", "--limit", 100,
        "--threads", 1, "-o", run,
    )  # fmt: skip
    if code:
        return code, " ".join(err[err.index("xaibench: ") :].split()), ""
    said = [line for line in err.splitlines() if line.startswith("warning:")]
    verdict, _, why = " ".join(out.split()).partition(" fit to be explained")
    assert verdict.endswith(" is not" if why.startswith(" here: ") else " is"), out
    return code, said[0] if said else "", why.removeprefix(" here: ") if why.startswith(" here: ") else ""


WRONG = [(name, wrong) for name, cards in CARDS.items() for wrong in cards]


def names(cause, said):
    """Whether what is said first, up to the figures, is the cause."""
    return all(word in said.partition(" does better")[0] for word in cause.split())


@LONG
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", ["onnx", "torch"])
@pytest.mark.parametrize(("name", "wrong"), WRONG, ids=[f"{name}-{wrong.name}" for name, wrong in WRONG])
def test_check_names_the_cause_of_fifteen_wrong_cards_of_two_trained_detectors(place, name, form, wrong):
    code, first = checked(place, name, form, wrong)
    assert code in (3, 5)
    assert names(wrong.cause, first), first


@LONG
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "wrong"), WRONG, ids=[f"{name}-{wrong.name}" for name, wrong in WRONG])
def test_eval_names_it_too(cli, place, tmp_path, name, wrong):
    code, first, unfit = evaluated(cli, place, tmp_path / "run", name, wrong)
    assert code in (0, 3)
    assert names(wrong.cause, first), first
    if code == 0:  # above the results
        assert names(wrong.cause, unfit), unfit


@LONG
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("wrong", wrong_cards.BLEND_HARDLY_WRONG, ids=lambda wrong: wrong.name)
def test_nothing_false_is_said_of_a_wrong_card_that_costs_next_to_nothing(place, wrong):
    code, first = checked(place, "blend", "onnx", wrong)
    assert (code, first) == (0, "") or names(wrong.cause, first)


@LONG
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["blend", "noise"])
@pytest.mark.parametrize("limit", [20, 40, 100])
def test_the_right_cards_of_two_trained_detectors(place, name, limit):
    assert checked(place, name, "onnx", limit=limit) == (0, "")


@LONG
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["blend", "noise"])
def test_the_right_cards_are_evaluated_without_a_mark(cli, place, tmp_path, name):
    assert evaluated(cli, place, tmp_path / "run", name) == (0, "", "")


@LONG
@pytest.mark.parametrize("name", ["blend", "noise"])
def test_the_two_trained_detectors_are_good_on_people_that_they_were_not_trained_on(place, name):
    path, data = written(place, name, "onnx")
    rows = check_model(registry(), str(path), data, None, 1000, "cpu", {}, False)
    ranks = next(r["message"] for r in rows if r["check"] == "ranks fake above real")
    assert float(ranks.split()[1]) >= 0.9 and "112 pictures" in ranks, ranks
