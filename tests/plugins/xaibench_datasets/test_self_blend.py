"""Self-blended images: the arithmetic on cases that can be checked by hand, and the dataset made of it."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image

from xaibench.api import (
    Dataset,
    DatasetError,
    UnknownComponent,
    UnreadablePicture,
    UsageError,
    XaibenchError,
    digest_native,
)
from xaibench.data.survey import survey
from xaibench.discovery.paths import open_dataset
from xaibench.discovery.registry import load_registry
from xaibench_datasets.demo_faces import render_real
from xaibench_datasets.self_blending import augment as changes
from xaibench_datasets.self_blending import regions
from xaibench_datasets.self_blending.augment import Augmentation, Colour, Detail, augment, linear_map
from xaibench_datasets.self_blending.blend import (
    RATIOS,
    Move,
    Placement,
    Recipe,
    draw_recipe,
    move_of,
    moved_picture,
    self_blend,
)
from xaibench_datasets.self_blending.dataset import SelfBlendDataset, SelfBlendParameters
from xaibench_datasets.self_blending.regions import (
    NoRegion,
    Softening,
    filled,
    hull_of,
    region_names,
    softened,
    unit_of,
)

SQUARE = np.array([[2, 3], [8, 3], [8, 9], [2, 9], [5, 6]], np.float32)
FACE = np.array([[16, 16], [48, 16], [48, 48], [16, 48]], np.float32)


def noise(size: tuple[int, int] = (64, 64), seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def recipe(**values: object) -> Recipe:
    """A recipe that changes nothing but what is given."""
    still = {
        "augmentation": Augmentation(), "placement": Placement(), "region": 0.0, "elastic": None,
        "softening": Softening(8, 8, 20.0), "ratio": 1.0,
    }  # fmt: skip
    return Recipe(**{**still, **values})  # type: ignore[arg-type]


STRONG = Augmentation(Colour(shift=(20, -20, 10), brightness=0.1, contrast=-0.1), Detail(factor=2))


# ---- augmentation ---------------------------------------------------------------------------------------------------


def coloured(colour: Colour, rgb: tuple[float, float, float]) -> np.ndarray:
    matrix, offset = linear_map(colour)
    return matrix @ np.array(rgb, np.float32) + offset


def test_each_colour_change_by_hand() -> None:
    rgb = (100.0, 40.0, 10.0)  # grey part 50
    assert_allclose(coloured(Colour(shift=(5, -6, 7)), rgb), (105, 34, 17), atol=1e-4)
    assert_allclose(coloured(Colour(hue=2 * np.pi / 3), rgb), (10, 100, 40), atol=1e-4)
    assert_allclose(coloured(Colour(saturation=-1), rgb), (50, 50, 50), atol=1e-4)
    assert_allclose(coloured(Colour(saturation=0.1), rgb), (105, 39, 6), atol=1e-4)
    assert_allclose(coloured(Colour(value=0.05), rgb), (105, 42, 10.5), atol=1e-4)
    assert_allclose(coloured(Colour(contrast=0.1, brightness=-0.1), rgb), (84.5, 18.5, -14.5), atol=1e-4)
    assert_allclose(coloured(Colour(hue=1, saturation=0.5), (70, 70, 70)), (70, 70, 70), atol=1e-4)


def test_identity_augmentation_and_bounds() -> None:
    pixels = noise()
    assert_array_equal(augment(pixels, Augmentation()), pixels)
    assert augment(pixels, Augmentation(Colour(brightness=1.0))).min() == 255
    assert augment(pixels, Augmentation(Colour(brightness=-1.0))).max() == 0


def test_sharpening_by_hand() -> None:
    pixels = np.full((5, 5, 3), 10, np.uint8)
    pixels[2, 2] = 20
    sharp = changes.sharpened(pixels, alpha=0.5, lightness=1.0)[:, :, 0]
    expected = np.full((5, 5), 10)
    expected[1:4, 1:4] = 5  # 10 + .5 (10 - 20)
    expected[2, 2] = 60  # 20 + .5 * 8 (20 - 10)
    assert_array_equal(sharp, expected)
    assert_array_equal(changes.sharpened(np.full((4, 4, 3), 100, np.uint8), 0.5, 0.6), 80)  # 50 + .5 * .6 * 100


def test_coarsening_keeps_every_other_pixel() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, 1::2] = 200
    assert len(np.unique(changes.coarsened(stripes, 2))) == 1
    assert_array_equal(changes.coarsened(noise(), 4), changes.coarsened(noise(), 2))  # 16 pixels would be left
    large = noise((128, 128))
    assert not np.array_equal(changes.coarsened(large, 4), changes.coarsened(large, 2))


# ---- the mask -------------------------------------------------------------------------------------------------------


def test_hull_of_a_square_is_the_square() -> None:
    corners = hull_of(SQUARE)
    assert sorted(map(tuple, corners.tolist())) == [(2, 3), (2, 9), (8, 3), (8, 9)]
    expected = np.zeros((12, 14), np.float32)
    expected[3:10, 2:9] = 1
    assert_array_equal(filled(corners, (12, 14)), expected)
    assert unit_of(SQUARE) == pytest.approx(6 / 155)


def test_hull_is_cut_where_the_picture_ends() -> None:
    expected = np.zeros((6, 5), np.float32)
    expected[3:, 2:] = 1
    assert_array_equal(filled(hull_of(SQUARE), (6, 5)), expected)


def test_regions_of_68_points_and_of_others() -> None:
    points = np.random.default_rng(0).random((68, 2)) * 100
    assert region_names(68) == region_names(81) == ("face", "features", "upper", "lower")
    assert region_names(5) == region_names(17) == region_names(98) == ("face",)
    inside = {name: {tuple(p) for p in hull_of(points, name)} for name in region_names(68)}
    assert inside["face"] == {tuple(p) for p in hull_of(points)}
    assert inside["features"] <= {tuple(p) for p in points[17:]}
    assert inside["upper"] <= {tuple(p) for p in points[17:48]}
    assert not inside["lower"] & {tuple(p) for p in (*points[:3], *points[14:31], *points[36:48])}


@pytest.mark.parametrize("points", [[[1, 1], [5, 5]], [[1, 1], [2, 2], [3, 3]], [[4, 4]] * 5, np.empty((0, 2))])
def test_points_without_area_give_no_region(points: object) -> None:
    with pytest.raises(NoRegion, match="span no area"):
        hull_of(np.array(points, np.float32))


def test_landmarks_outside_the_picture_give_no_region() -> None:
    with pytest.raises(NoRegion, match="outside the picture"):
        filled(hull_of(SQUARE + 100), (12, 14))


@pytest.mark.parametrize(("erosion", "blur", "support"), [(2, 2, 9), (2, 5, 15), (4, 2, 5)])
def test_softening_erodes_then_grows(erosion: int, blur: int, support: int) -> None:
    """A 9 x 9 square loses ``erosion`` and gains ``blur`` pixels on each side; the middle stays 1."""
    mask = np.zeros((31, 31), np.float32)
    mask[11:20, 11:20] = 1
    soft = softened(mask, Softening(erosion, blur, 45.0), unit=1.0)
    low = 15 - support // 2
    expected = np.zeros((31, 31), bool)
    expected[low : low + support, low : low + support] = True
    assert_array_equal(soft > 0, expected)
    assert soft[15, 15] == soft.max() == 1
    assert_allclose(soft, soft[::-1, ::-1], atol=1e-6)


def test_softening_goes_on_where_the_picture_ends() -> None:
    mask = np.zeros((20, 20), np.float32)
    mask[:, :10] = 1
    assert_array_equal(softened(mask, Softening(2, 2, 45.0), unit=1.0)[:, :6], 1)


def test_deformation_moves_by_about_one_unit() -> None:
    """On a ramp the move itself can be read: noise of variance 1/3, averaged over 4 pi sigma^2 pixels, times 50."""
    ramp = np.tile(np.arange(200, dtype=np.float32), (200, 1))
    moved = (regions.deformed(ramp, 1.0, np.random.default_rng(0)) - ramp)[30:-30, 30:-30]
    assert moved.std() == pytest.approx(50 / np.sqrt(3) / (2 * np.sqrt(np.pi) * 7), rel=0.2)
    assert abs(moved.mean()) < 0.3


# ---- the blend ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ratio", sorted(set(RATIOS)))
def test_blending_a_picture_with_itself_gives_it_back(ratio: float) -> None:
    pixels = noise()
    made = self_blend(pixels, FACE, recipe(ratio=ratio, elastic=7), into_augmented=False)
    assert_array_equal(made.values, pixels.astype(np.float32))
    assert made.weights.max() == np.float32(ratio)


@pytest.mark.parametrize("into_augmented", [False, True])
def test_blend_is_target_outside_and_source_where_the_weight_is_1(into_augmented: bool) -> None:
    pixels = noise()
    changed = augment(pixels, STRONG)
    source, target = (pixels, changed) if into_augmented else (changed, pixels)
    made = self_blend(pixels, FACE, recipe(augmentation=STRONG), into_augmented=into_augmented)
    assert_array_equal(made.target, target)
    assert (made.weights == 0).any() and (made.weights == 1).any()
    assert_array_equal(made.values[made.weights == 0], target[made.weights == 0].astype(np.float32))
    assert_array_equal(made.pixels[made.weights == 1], source[made.weights == 1])
    weights = made.weights[:, :, None].astype(np.float64)
    assert_allclose(made.values, weights * source + (1 - weights) * target, atol=1e-3)


def test_blend_changes_pixels_only_under_its_mask() -> None:
    pixels = noise((300, 280))  # larger than the grid on which masks are made
    for seed in range(6):
        made = self_blend(pixels, FACE * 5, draw_recipe(np.random.default_rng(seed)), into_augmented=bool(seed % 2))
        assert_array_equal(made.values[made.weights == 0], made.target[made.weights == 0].astype(np.float32))
        assert (made.pixels != made.target).any()
        assert made.weights.max() == pytest.approx(draw_recipe(np.random.default_rng(seed)).ratio, abs=0.01)
        assert made.weights.min() == 0


def test_inputs_are_not_changed() -> None:
    pixels, points = noise(), FACE.copy()
    self_blend(pixels, points, draw_recipe(np.random.default_rng(0)), into_augmented=False)
    assert_array_equal(pixels, noise())
    assert_array_equal(points, FACE)


def test_a_move_by_whole_pixels_is_exact_and_uncovers_nothing() -> None:
    pixels = noise((20, 24)) // 2 + 100
    whole = (slice(0, 20), slice(0, 24))
    assert_array_equal(moved_picture(pixels, Move(1.0, (0, 0)), whole), pixels)
    moved = moved_picture(pixels, Move(1.0, (3, -2)), whole)
    assert_array_equal(moved[:18, 3:], pixels[2:, :21])
    assert moved.min() >= 100
    part = (slice(4, 9), slice(2, 20))
    scaled = Move(1.04, (-1.3, 0.4))
    assert_allclose(moved_picture(pixels, scaled, part), moved_picture(pixels, scaled, whole)[part], atol=1e-3)


def test_scaling_keeps_the_middle_of_the_face() -> None:
    move = move_of(FACE, Placement(scale=1.05))
    assert_allclose(1.05 * np.array([32, 32]) + move.by, [32, 32])
    aside = move_of(FACE, Placement(dx=0.03))
    assert aside.by == pytest.approx((0.03 * 256 * 32 / 155, 0))


def test_mask_moves_with_the_source() -> None:
    """The mask of a source moved by whole pixels is the mask moved by them."""
    dx = 4 / (256 * 32 / 155)
    still = self_blend(noise(), FACE, recipe(), into_augmented=False).weights
    moved = self_blend(noise(), FACE, recipe(placement=Placement(dx=dx)), into_augmented=False).weights
    assert_allclose(moved[:, 4:], still[:, :-4], atol=1e-5)


def test_draws_keep_to_the_published_limits() -> None:
    drawn = [draw_recipe(np.random.default_rng(i)) for i in range(300)]
    assert {d.ratio for d in drawn} == set(RATIOS)
    assert np.mean([d.ratio == 1 for d in drawn]) == pytest.approx(0.5, abs=0.09)
    assert {d.augmentation.detail.factor for d in drawn} == {1, 2, 4}
    assert np.mean([d.augmentation.colour.shift != (0, 0, 0) for d in drawn]) == pytest.approx(0.3, abs=0.08)
    assert all(0.95 <= d.placement.scale <= 1 / 0.95 and abs(d.placement.dx) <= 0.03 for d in drawn)
    assert {d.softening.erosion for d in drawn} == {d.softening.blur for d in drawn} == set(range(2, 13))


# ---- the dataset ----------------------------------------------------------------------------------------------------


def save(root: Path, name: str, landmarks: np.ndarray | None = None, kind: str = "real") -> None:
    drawn = render_real(0, int(name))
    file = root / kind / f"{name}.png"
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.rint(drawn.image.transpose(1, 2, 0) * 255).astype(np.uint8)).save(file)
    (root / "landmarks").mkdir(exist_ok=True)
    points = drawn.landmarks if landmarks is None else landmarks
    if len(points):
        np.savetxt(root / "landmarks" / f"{name}.csv", points, delimiter=",")


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """A folder with nothing but real pictures and landmarks."""
    for i in range(4):
        save(tmp_path, str(i))
    return tmp_path


def opened(of: object, **values: object) -> SelfBlendDataset:
    return SelfBlendDataset(SelfBlendParameters(of=str(of), **values))  # type: ignore[arg-type]


def digests(dataset: Dataset) -> dict[str, str]:
    return {s.id: digest_native(dataset.read(s)) for s in dataset.samples()}


def test_folder_of_real_faces_only(faces: Path) -> None:
    alone = open_dataset(str(faces), registry=load_registry()).instance.samples()
    assert {s.label for s in alone} == {"real"}
    use = open_dataset(f"self-blend:of={faces},draws=3", registry=load_registry())
    dataset = use.instance
    by_id = {s.id: s for s in dataset.samples()}
    fakes = [s for s in by_id.values() if s.label == "fake"]
    assert {f"real/{i}" for i in range(4)} <= set(by_id)
    assert {f.id for f in fakes} == {f"self_blend/{d}/real/{i}" for d in range(3) for i in range(4)}
    assert all(f.method == "self_blend" and f.has_mask and f.has_landmarks for f in fakes)
    for fake in fakes:
        real = by_id[f"real/{fake.id[-1]}"]
        assert fake.group == real.group
        assert fake.pair in (real.id, fake.id.replace("self_blend", "augmented"))
    assert len(survey(dataset, "x", seed=0).samples) == len(by_id)


def test_group_crossed_group_and_split_are_the_real_picture_s(tmp_path: Path) -> None:
    save(tmp_path, "0")
    save(tmp_path, "1")
    rows = [("a", "0", "anna", "train"), ("b", "1", "bela", "test")]
    table(tmp_path, [{"id": i, "image": f"real/{n}.png", "label": "real", "identity": p, "landmarks": f"landmarks/{n}.csv", "split": s}
                     for i, n, p, s in rows])  # fmt: skip
    found = {s.id: s for s in opened(tmp_path, augment="source").samples()}
    assert [(s.group, s.split) for s in found.values()] == [
        ("anna", "train"), ("bela", "test"), ("anna", "train"), ("bela", "test"),
    ]  # fmt: skip
    assert [s.id for s in opened(tmp_path, augment="source", split="train").samples()] == ["a", "self_blend/0/a"]


def table(root: Path, rows: list[dict[str, str]]) -> None:
    with (root / "manifest.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_fakes_are_their_counterparts_outside_the_mask() -> None:
    dataset = opened("demo:identities=6", draws=4)
    by_id = {s.id: s for s in dataset.samples()}
    fakes = [s for s in by_id.values() if s.label == "fake"]
    for fake in fakes:
        made, real = dataset.read(fake), dataset.read(by_id[fake.pair or ""])
        assert made.mask is not None and made.mask.dtype == np.float32
        assert_array_equal(made.pixels[made.mask == 0], real.pixels[made.mask == 0])
        assert_array_equal(made.landmarks, real.landmarks)
        assert (made.pixels != real.pixels).any()
    untouched = [f for f in fakes if f.pair == f.id.split("/", 2)[2]]
    assert 0.2 < len(untouched) / len(fakes) < 0.8
    assert len(by_id) == 6 + 2 * len(fakes) - len(untouched)


def test_only_the_source_augmented() -> None:
    samples = opened("demo:identities=4", draws=5, augment="source").samples()
    assert sorted(s.id.partition("/")[0] for s in samples) == ["real"] * 4 + ["self_blend"] * 20
    assert all(s.pair == s.id.split("/", 2)[2] for s in samples if s.label == "fake")


def test_a_draw_depends_on_seed_id_and_number_alone(faces: Path) -> None:
    all_of = digests(opened(faces, draws=3))
    assert digests(opened(faces, draws=3)) == all_of
    fewer = digests(opened(faces, draws=1))
    assert fewer == {i: d for i, d in all_of.items() if i in fewer}
    dataset = opened(faces, draws=3)
    assert {s.id: digest_native(dataset.read(s)) for s in reversed(dataset.samples())} == all_of
    (faces / "real" / "2.png").unlink()
    some = digests(opened(faces, draws=3))
    assert some == {i: d for i, d in all_of.items() if not i.endswith("/2")}
    other = digests(opened(faces, draws=3, seed=1))
    assert not {d for i, d in other.items() if "self_blend" in i} & set(all_of.values())
    assert len({d for i, d in all_of.items() if "self_blend" in i}) == 12


def test_pictures_of_one_fingerprint_are_one_picture(faces: Path) -> None:
    fingerprints: dict[str, set[str]] = {}
    for values in ({"draws": 4}, {"draws": 3, "augment": "source"}, {"draws": 2, "seed": 1}):
        dataset = opened(faces, **values)
        for sample in dataset.samples():
            found = dataset.fingerprint(sample)
            assert found is not None
            fingerprints.setdefault(found, set()).add(digest_native(dataset.read(sample)))
    assert {len(found) for found in fingerprints.values()} == {1}


def test_a_fingerprint_follows_the_real_picture(faces: Path) -> None:
    before = {s.id: opened(faces).fingerprint(s) for s in opened(faces).samples()}
    save(faces, "2", FACE + 1)
    after = {s.id: opened(faces).fingerprint(s) for s in opened(faces).samples()}
    changed = {name for name in before if before[name] != after.get(name)}
    assert changed == {name for name in before if name.endswith("real/2")}
    assert len(changed) >= 2


def test_fakes_of_the_wrapped_dataset_are_passed_over() -> None:
    assert {s.method for s in opened("demo:identities=2").samples()} == {None, "self_blend"}


def test_pictures_without_landmarks_are_named_and_left_out(faces: Path) -> None:
    (faces / "landmarks" / "1.csv").unlink()
    dataset = opened(faces)
    assert not [s.id for s in dataset.samples() if s.id.endswith("/1")]
    assert [(p.file, p.reason) for p in dataset.problems()] == [("real/1", "has no landmarks: no region to blend")]


def test_landmarks_without_area_are_one_unreadable_fake(faces: Path) -> None:
    save(faces, "1", np.array([[1, 1], [2, 2], [3, 3]]))
    dataset = opened(faces, augment="source")
    bad = next(s for s in dataset.samples() if s.id == "self_blend/0/real/1")
    with pytest.raises(UnreadablePicture, match="sample self_blend/0/real/1: its 3 landmarks span no area"):
        dataset.read(bad)
    found = survey(dataset, "x", seed=0)
    assert [p.file for p in found.problems] == ["self_blend/0/real/1"]


def refused(kind: type[XaibenchError], of: object, **values: object) -> XaibenchError:
    with pytest.raises(kind) as caught:
        opened(of, **values).samples()
    assert caught.value.mend and "\n" not in caught.value.what + caught.value.mend
    return caught.value


def test_what_cannot_be_blended_is_refused(tmp_path: Path) -> None:
    assert "needs a dataset of real faces" in refused(DatasetError, "").what
    assert "does not exist" in refused(DatasetError, "./nowhere").what
    assert "no dataset called 'nothing'" in refused(UnknownComponent, "nothing").what
    assert "self-blends already" in refused(DatasetError, "self-blend:of=demo").what
    assert "no real picture of split 'train' in demo" in refused(UsageError, "demo", split="train").what
    (tmp_path / "empty" / "real").mkdir(parents=True)
    assert "holds no real picture" in refused(DatasetError, tmp_path / "empty").what
    save(tmp_path / "bare", "0", np.empty((0, 2)))
    assert "none of the 1 real pictures" in refused(DatasetError, tmp_path / "bare").what
    save(tmp_path / "fakes", "0", kind="fake/swap")
    assert "holds no real picture" in refused(DatasetError, tmp_path / "fakes").what


def test_ids_that_clash_are_refused(tmp_path: Path) -> None:
    save(tmp_path, "0")
    table(tmp_path, [{"id": i, "image": "real/0.png", "label": "real", "landmarks": "landmarks/0.csv"}
                     for i in ("a", "self_blend/0/a")])  # fmt: skip
    assert "begin with self_blend/" in refused(DatasetError, tmp_path, augment="source").what
