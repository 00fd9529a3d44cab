"""What a detector is shown: exact values of picture, mask and landmarks under every geometry."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch

from xaibench.api import Facts, Native, Picture, Resize, Sample, UnreadablePicture, View, digest_native, digest_shown
from xaibench.data.pictures import apply_view, binarise, show, show_picture

FAKE = Sample(id="f", label="fake", group="g")
REAL = Sample(id="r", label="real", group="g")
SQUASH = Resize()
CROP = Resize(mode="crop")
RNG = np.random.default_rng(0)


def native(height: int, width: int, mask: object = None, landmarks: object = None) -> Native:
    pixels = RNG.integers(0, 256, (height, width, 3), np.uint8)
    return Native(
        pixels, None if mask is None else np.asarray(mask), None if landmarks is None else np.asarray(landmarks)
    )


def ramp(width: int, height: int = 1) -> Native:
    """Columns 0, 1, 2, …, with a landmark in each column's centre and a mask of the left half."""
    columns = np.broadcast_to(np.arange(width, dtype=np.uint8)[None, :, None], (height, width, 3)).copy()
    mask = np.zeros((height, width), np.uint8)
    mask[:, : width // 2] = 255
    points = np.array([(x, 0) for x in range(width)], np.float32)
    return Native(columns, mask, points)


# ---- pixels ----


@pytest.mark.parametrize("mode", ["squash", "crop"])
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic", "area"])
def test_equal_sizes_are_the_bytes_over_255(interpolation: str, mode: str) -> None:
    resize = Resize(interpolation=interpolation, mode=mode)  # type: ignore[arg-type]
    picture = native(5, 7, landmarks=[[1.1, 2.2]])
    image, mask, landmarks = show(picture, FAKE, (5, 7), resize)
    expected = torch.from_numpy(picture.pixels).permute(2, 0, 1).float() / 255
    assert image.dtype == torch.float32
    assert torch.equal(image, expected)
    assert mask is None
    assert landmarks is not None
    assert torch.equal(landmarks, torch.tensor([[1.1, 2.2]]))


def test_interpolations_by_hand() -> None:
    pixels = np.array([[0, 255, 0, 255]], np.uint8)[..., None].repeat(3, -1)

    def row(interpolation: str, antialias: bool, width: int) -> list[float]:
        resize = Resize(interpolation=interpolation, antialias=antialias)  # type: ignore[arg-type]
        return show(Native(pixels), FAKE, (1, width), resize)[0][0, 0].tolist()

    assert row("nearest", False, 2) == [1.0, 1.0]  # the centres 0.5 and 2.5 fall to columns 1 and 3
    assert row("area", False, 2) == [0.5, 0.5]
    assert row("bilinear", False, 2) == [0.5, 0.5]
    # with antialias the triangle is two columns wide: weights 3, 3, 1 of columns 0, 1, 2 over 7
    assert row("bilinear", True, 2) == pytest.approx([3 / 7, 4 / 7])
    assert row("bilinear", True, 8) == pytest.approx([0, 0.25, 0.75, 0.75, 0.25, 0.25, 0.75, 1])


def test_bicubic_overshoot_is_clamped() -> None:
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:, 4:] = 255
    image = show(Native(pixels), FAKE, (24, 24), Resize(interpolation="bicubic"))[0]
    assert image.min() == 0
    assert image.max() == 1


def test_crop_cuts_the_middle() -> None:
    image, mask, landmarks = show(ramp(6, 2), FAKE, (2, 2), CROP)
    assert (image[0, 0] * 255).tolist() == [2, 3]
    assert mask is not None
    assert mask.tolist() == [[True, False]] * 2
    assert landmarks is not None
    assert landmarks[:, 0].tolist() == [-2, -1, 0, 1, 2, 3]


@pytest.mark.parametrize(
    ("shape", "size", "shown"), [((10, 20), (5, 5), (5, 10)), ((20, 10), (5, 5), (10, 5)), ((7, 9), (14, 10), (14, 18))]
)
def test_crop_scales_until_both_sides_are_covered(
    shape: tuple[int, int], size: tuple[int, int], shown: tuple[int, int]
) -> None:
    picture = native(*shape)
    whole = show(picture, FAKE, shown, SQUASH)[0]
    top, left = (shown[0] - size[0]) // 2, (shown[1] - size[1]) // 2
    cropped = show(picture, FAKE, size, CROP)[0]
    assert torch.equal(cropped, whole[:, top : top + size[0], left : left + size[1]])
    assert cropped.is_contiguous()


def test_a_picture_of_one_pixel() -> None:
    image = show(Native(np.full((1, 1, 3), 51, np.uint8)), FAKE, (4, 6), SQUASH)[0]
    assert torch.allclose(image, torch.full((3, 4, 6), 0.2))


def test_a_thread_of_a_picture_is_refused_where_it_would_explode() -> None:
    thread = Native(np.zeros((1, 1000, 3), np.uint8))
    assert show(thread, FAKE, (8, 8), SQUASH)[0].shape == (3, 8, 8)
    with pytest.raises(UnreadablePicture, match="sample f: a picture of 1000 x 1 pixels is too narrow"):
        show(thread, FAKE, (8, 8), CROP)


# ---- masks ----


@pytest.mark.parametrize("top", [1, 1.2, 127, 255, 0.3, 60000.0])
def test_a_mask_is_cut_at_half_of_its_own_maximum(top: float) -> None:
    weights = np.array([[0, top / 2, top * 0.49, top]], np.float32)
    assert binarise(weights).tolist() == [[False, True, False, True]]  # type: ignore[union-attr]


def test_binarising_bytes_does_not_wrap() -> None:
    assert binarise(np.array([[127, 128, 255]], np.uint8)).tolist() == [[False, True, True]]  # type: ignore[union-attr]


def test_a_mask_is_binarised_before_it_is_resized() -> None:
    picture = native(2, 2, mask=[[200, 100], [90, 0]])
    mask = show(picture, FAKE, (4, 4), SQUASH)[1]
    assert mask is not None
    assert mask.dtype == torch.bool
    assert mask.int().tolist() == [[1, 1, 1, 1], [1, 1, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0]]


def test_of_a_mask_the_nearest_pixel_counts() -> None:
    """Columns 1 and 3; any average of neighbours would keep the first."""
    mask = show(native(1, 8, mask=[[1, 0, 1, 0, 0, 1, 0, 1]]), FAKE, (1, 4), SQUASH)[1]
    assert mask is not None
    assert mask.tolist() == [[False, False, True, True]]


def test_there_is_no_mask_where_it_is_missing_empty_or_lost_in_resizing() -> None:
    corner = np.zeros((9, 9), np.uint8)
    corner[0, 0] = 99
    absent = [(native(9, 9), REAL), (native(9, 9), FAKE)]
    empty = [(native(9, 9, mask=mask), FAKE) for mask in (np.zeros((9, 9)), corner)]
    for picture, sample in (*absent, *empty):
        assert show(picture, sample, (3, 3), SQUASH)[1] is None
    half = np.zeros((9, 9))
    half[:, :5] = 1
    assert show(native(9, 9, mask=half), FAKE, (3, 3), SQUASH)[1] is not None
    assert show(native(9, 9, mask=half), REAL, (3, 3), SQUASH)[1] is None


# ---- landmarks ----


def test_landmarks_move_with_the_area_they_lie_in() -> None:
    landmarks = show(native(4, 8, landmarks=[[0, 0], [7, 3], [3.5, 1.5]]), FAKE, (8, 8), SQUASH)[2]
    assert landmarks is not None
    assert landmarks.dtype == torch.float32
    assert landmarks.tolist() == [[0, 0.5], [7, 6.5], [3.5, 3.5]]


@pytest.mark.parametrize("mode", ["squash", "crop"])
def test_landmarks_stay_on_what_they_mark(mode: str) -> None:
    picture = native(40, 60, mask=np.zeros((40, 60)), landmarks=[[34.0, 13.0]])
    picture.pixels[:] = 0
    picture.pixels[11:16, 32:37] = 255
    picture.mask[11:16, 32:37] = 1  # type: ignore[index]
    image, mask, landmarks = show(picture, FAKE, (80, 80), Resize(mode=mode))  # type: ignore[arg-type]
    assert mask is not None
    assert landmarks is not None
    rows, columns = np.nonzero(mask.numpy())
    assert landmarks[0].tolist() == pytest.approx([columns.mean(), rows.mean()], abs=0.5)
    x, y = np.rint(landmarks[0].numpy()).astype(int)
    assert image[:, y, x].min() == 1


# ---- arrays that do not fit ----


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (Native(np.zeros((4, 4), np.uint8)), r"pixels are uint8 \(4, 4\)"),
        (Native(np.zeros((4, 4, 3), np.float32)), "pixels are float32"),
        (Native(np.zeros((0, 4, 3), np.uint8)), r"pixels are uint8 \(0, 4, 3\)"),
        (native(4, 6, mask=np.zeros((6, 4))), "the mask is 4 x 6 pixels, the picture 6 x 4"),
        (native(4, 6, mask=np.zeros((4, 6, 1))), r"the mask's shape is \(4, 6, 1\), not \(H, W\)"),
        (native(1, 2, mask=[[0, np.nan]]), "negative or not finite"),
        (native(1, 2, mask=[[0, -1]]), "negative or not finite"),
        (native(1, 2, landmarks=[[1, 2, 3]]), "landmarks"),
        (native(1, 2, landmarks=[[1, np.inf]]), "landmarks"),
    ],
)
def test_arrays_that_do_not_fit_name_the_sample(bad: Native, reason: str) -> None:
    with pytest.raises(UnreadablePicture, match=f"sample f: .*{reason}"):
        show(bad, FAKE, (4, 4), SQUASH)


# ---- digests ----


def test_native_digests_tell_every_change_apart() -> None:
    base = ramp(4, 2)
    assert base.mask is not None
    assert base.landmarks is not None
    others = [
        Native(base.pixels + 1, base.mask, base.landmarks),
        Native(base.pixels.reshape(4, 2, 3), base.mask, base.landmarks),
        Native(base.pixels, None, base.landmarks),
        Native(base.pixels, base.mask, None),
        Native(base.pixels, base.mask.astype(np.float32), base.landmarks),
        Native(base.pixels, base.mask, base.landmarks + 1),
    ]
    digests = {digest_native(n) for n in (base, *others)}
    assert len(digests) == 7
    assert all(len(d) == 64 for d in digests)


def test_digests_see_values_not_memory() -> None:
    base = ramp(4, 2)
    strided = replace(base, pixels=np.asfortranarray(base.pixels), landmarks=base.landmarks.astype(">f4"))  # type: ignore[union-attr]
    assert digest_native(strided) == digest_native(base)
    image = torch.rand(1, 3, 4, 5)
    channels_last = image.to(memory_format=torch.channels_last)
    assert digest_shown(image[0], None, None) == digest_shown(channels_last[0], None, None)
    assert digest_shown(image[0], None, None) != digest_shown(image[0], torch.ones(4, 5, dtype=torch.bool), None)


def test_the_digest_by_hand() -> None:
    points = np.ones((1, 2), np.float32)
    by_hand = b"|u1(2, 2, 3);" + bytes(range(12)) + b"none;" + b"<f4(1, 2);" + b"\x00\x00\x80\x3f" * 2
    digest = digest_native(Native(np.arange(12, dtype=np.uint8).reshape(2, 2, 3), None, points))
    assert digest == hashlib.sha256(by_hand).hexdigest()


# ---- pictures and views ----


class _OneFile:
    """A dataset of one fake and its real counterpart."""

    def __init__(self) -> None:
        self.natives = {"f": ramp(4, 4), "r": replace(ramp(4, 4), mask=None)}
        self.reads = 0

    def samples(self) -> tuple[Sample, ...]:
        return (replace(FAKE, pair="r"), REAL)

    def read(self, sample: Sample) -> Native:
        self.reads += 1
        return self.natives[sample.id]

    def problems(self) -> tuple[()]:
        return ()


def shown(dataset: _OneFile) -> Picture:
    facts = Facts(name="d", classes=("real", "fake"), real_class=0, input_size=(4, 4), digest="d")
    real = show_picture(dataset, REAL, facts, counterpart=lambda: None)
    return show_picture(dataset, FAKE, facts, counterpart=lambda: real)


def flip_all(image: torch.Tensor, mask: torch.Tensor | None, points: torch.Tensor | None):  # type: ignore[no-untyped-def]
    moved = None if points is None else torch.stack([3 - points[:, 0], points[:, 1]], 1)
    return image.flip(-1), None if mask is None else mask.flip(-1), moved


FLIP = View("flip", flip_all)


def test_show_picture_reads_once_and_again_when_asked() -> None:
    dataset = _OneFile()
    picture = shown(dataset)
    assert dataset.reads == 2
    assert picture.view == ""
    assert picture.digest == digest_shown(picture.image, picture.mask, picture.landmarks)
    assert picture.native() is dataset.natives["f"]


def test_a_view_changes_picture_mask_landmarks_and_counterpart_together() -> None:
    picture = shown(_OneFile())
    flipped = apply_view(picture, FLIP)
    assert flipped.view == "flip"
    assert torch.equal(flipped.image, picture.image.flip(-1))
    assert flipped.mask is not None
    assert flipped.mask[0].tolist() == [False, False, True, True]
    assert flipped.landmarks is not None
    assert flipped.landmarks[:, 0].tolist() == [3, 2, 1, 0]
    assert flipped.digest != picture.digest
    real = flipped.counterpart()
    assert real is not None
    assert (real.view, real.sample.id, real.mask) == ("flip", "r", None)
    assert torch.equal(real.image, flipped.image)
    twice = apply_view(flipped, FLIP)
    assert twice.view == "flip+flip"
    assert twice.digest == picture.digest


def test_the_counterpart_of_a_view_may_be_missing() -> None:
    lonely = replace(shown(_OneFile()), counterpart=lambda: None)
    assert apply_view(lonely, FLIP).counterpart() is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda i, m, p: (i[:, :2], m, p), "makes the image"),
        (lambda i, m, p: (i.double(), m, p), "makes the image torch.float64"),
        (lambda i, m, p: (i, m.float(), p), "makes the mask"),
        (lambda i, m, p: (i, None, p), "adds or drops the mask"),
        (lambda i, m, p: (i + 2, m, p), "not in"),
        (lambda i, m, p: (i * torch.nan, m, p), "not in"),
    ],
)
def test_a_view_that_breaks_the_contract_is_named(change: object, message: str) -> None:
    with pytest.raises(ValueError, match=f"view 'bad' .*{message}"):
        apply_view(shown(_OneFile()), View("bad", change))  # type: ignore[arg-type]


def test_a_view_without_bounds_may_leave_the_range_and_must_be_finite() -> None:
    picture = shown(_OneFile())
    brighter = apply_view(picture, View("attacked", lambda i, m, p: (i + 2, m, p), bounded=False))
    assert torch.equal(brighter.image, picture.image + 2)
    with pytest.raises(ValueError, match="view 'bad' gives pixels that are not finite"):
        apply_view(picture, View("bad", lambda i, m, p: (i * torch.nan, m, p), bounded=False))
