"""The shipped members of the demo detector: they detect unseen fakes, and by what lies inside the mask."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.torch import load_file
from scipy.ndimage import binary_dilation
from scipy.stats import rankdata

from xaibench_datasets.demo_faces import METHODS, TEST_IDENTITIES_FROM, render_fake, render_real
from xaibench_models.demo import network

WEIGHTS = Path(network.__file__).parent / "weights"
MEMBERS = range(5)
IDENTITIES = range(TEST_IDENTITIES_FROM + 5000, TEST_IDENTITIES_FROM + 5060)


@pytest.fixture(scope="module")
def pictures() -> dict[str, np.ndarray]:
    """Reals (60, 3, 64, 64), fakes (60, 4, 3, 64, 64) never seen, and their masks and rings (60, 4, 1, 64, 64)."""
    fakes = [[render_fake(0, identity, method) for method in METHODS] for identity in IDENTITIES]
    masks = np.array([[[fake.mask >= fake.mask.max() / 2] for fake in row] for row in fakes])
    return {
        "real": np.array([render_real(0, identity).image for identity in IDENTITIES]),
        "fake": np.array([[fake.image for fake in row] for row in fakes]),
        "mask": masks,
        "ring": np.array(
            [[[binary_dilation(m[0], np.ones((3, 3)), iterations=10) & ~m[0]] for m in row] for row in masks]
        ),
    }


@pytest.fixture(scope="module", params=MEMBERS)
def member(request) -> tuple[int, network.DemoNet]:
    net = network.DemoNet()
    net.load_state_dict(load_file(WEIGHTS / f"demo-{request.param}.safetensors"))
    return request.param, net.eval()


def p_fake(net: network.DemoNet, images: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        blocks = torch.from_numpy(images.reshape(-1, 3, 64, 64)).split(100)
        return torch.cat([net(block).softmax(1)[:, 1] for block in blocks]).numpy().reshape(images.shape[:-3])


def auc(negative: np.ndarray, positive: np.ndarray) -> float:
    n, p = negative.size, positive.size
    ranks = rankdata(np.concatenate([negative.ravel(), positive.ravel()]))
    return float((ranks[n:].sum() - p * (p + 1) / 2) / (n * p))


def test_it_detects_unseen_fakes_by_what_lies_in_the_mask(member, pictures):
    _, net = member
    real, fake, mask, ring = (pictures[key] for key in ("real", "fake", "mask", "ring"))
    p_of_real, p_of_fake = p_fake(net, real), p_fake(net, fake)
    assert auc(p_of_real, p_of_fake) >= 0.95
    assert np.median(p_of_fake) > 0.9
    assert np.median(p_of_real) < 0.1

    repaired = p_fake(net, np.where(mask, real[:, None], fake))
    assert (repaired[p_of_fake >= 0.5] < 0.5).mean() >= 0.95

    only_the_ring = p_fake(net, np.where(ring, fake, real[:, None]))
    assert auc(p_of_real, only_the_ring) == pytest.approx(0.5, abs=0.05)


def test_torch_and_onnx_agree(member, pictures):
    number, net = member
    images = pictures["fake"][:8].reshape(-1, 3, 64, 64)
    session = onnxruntime.InferenceSession(str(WEIGHTS / f"demo-{number}.onnx"), providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"image": images})
    with torch.inference_mode():
        np.testing.assert_allclose(logits, net(torch.from_numpy(images)).numpy(), atol=1e-5)


def test_samples_do_not_influence_each_other(member, pictures):
    _, net = member
    images = torch.from_numpy(pictures["real"][:4])
    with torch.inference_mode():
        torch.testing.assert_close(net(images)[2:3], net(images[2:3]), atol=1e-5, rtol=1e-5)


def test_the_last_feature_map_is_8_by_8():
    assert network.DemoNet().eval().features(torch.zeros(1, 3, 64, 64)).shape[2:] == (8, 8)


def test_the_members_differ():
    weights = [load_file(WEIGHTS / f"demo-{number}.safetensors")["features.0.weight"] for number in MEMBERS]
    assert len({values.numpy().tobytes() for values in weights}) == len(weights)


def test_all_weights_together_stay_under_a_megabyte():
    files = [path for path in WEIGHTS.iterdir() if path.suffix in {".safetensors", ".onnx"}]
    assert len(files) == 10
    assert sum(path.stat().st_size for path in files) <= 1_000_000
