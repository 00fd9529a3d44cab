"""The survey: what it decodes, what it keeps, and how it chooses strangers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from xaibench.api import DatasetError, Native, NothingToEvaluate, Sample, UnreadablePicture
from xaibench.data.arrays import PictureArrays
from xaibench.data.face_size import face_size
from xaibench.data.survey import Known, survey

PIXELS = np.full((8, 10, 3), 9, np.uint8)


class Counted:
    """A dataset that counts what is decoded. ``versions`` are the fingerprints, ``broken`` the ids without a picture."""

    def __init__(self, samples):
        self._samples = tuple(samples)
        self.versions = {s.id: f"1 {s.id}" for s in self._samples}
        self.broken, self.decoded, self.listed = set(), [], 0

    def samples(self):
        self.listed += 1
        return self._samples

    def read(self, sample):
        self.decoded.append(sample.id)
        if sample.id in self.broken:
            raise UnreadablePicture(f"{sample.id} is broken")
        pixels, mask = PIXELS + len(self.versions[sample.id] or ""), None
        if sample.has_mask:
            mask = np.ones(PIXELS.shape[:2], np.uint8)
            mask[0] = 0
            pixels[mask == 1] += 100
        return Native(pixels, mask)

    def problems(self):
        return ()

    def fingerprint(self, sample):
        return self.versions[sample.id]


def people(count):
    """``count`` pairs of a real picture and a masked fake, each pair a group."""
    for i in range(count):
        yield Sample(id=f"r{i}", label="real", group=str(i))
        yield Sample(id=f"f{i}", label="fake", group=str(i), method="swap", pair=f"r{i}", has_mask=True)


def looked_at(dataset, **more):
    dataset.decoded.clear()
    return survey(dataset, "x", seed=0, **more)


def test_a_second_survey_decodes_nothing_and_finds_the_same():
    dataset = Counted(people(5))
    first = looked_at(dataset, strangers=True)
    assert sorted(dataset.decoded) == sorted(dataset.versions)
    second = looked_at(dataset, strangers=True, known=first.known())
    assert dataset.decoded == []
    assert second == first


def test_a_changed_sample_alone_is_decoded_again():
    dataset = Counted(people(5))
    first = looked_at(dataset)
    dataset.versions["f3"] = "changed"
    second = looked_at(dataset, known=first.known())
    assert sorted(dataset.decoded) == ["f3", "r3"]  # which are compared again
    assert {i for i in first.digests if first.digests[i] != second.digests[i]} == {"f3"}
    assert second.fingerprints["f3"] == "changed"


def test_a_sample_without_fingerprint_is_always_decoded():
    dataset = Counted(people(2))
    dataset.versions["r1"] = None
    first = looked_at(dataset)
    assert "r1" not in first.known()
    looked_at(dataset, known={**first.known(), "r1": Known("", "0" * 64)})
    assert dataset.decoded == ["r1", "f1"]  # the fake is compared anew, since what was known of the real one is wrong


def test_a_dataset_without_the_method_is_always_decoded():
    class Plain:
        def __init__(self, inner):
            self.samples, self.read, self.problems = inner.samples, inner.read, inner.problems

    inner = Counted(people(2))
    first = looked_at(inner)
    inner.decoded.clear()
    second = survey(Plain(inner), "x", seed=0, known=first.known())
    assert sorted(inner.decoded) == sorted(inner.versions)
    assert set(second.fingerprints.values()) == {None}
    assert second.known() == {}


def test_broken_files_are_tried_again():
    dataset = Counted(people(3))
    dataset.broken = {"f1"}
    first = looked_at(dataset)
    assert [p.file for p in first.problems] == ["f1"]
    dataset.broken = set()
    second = looked_at(dataset, known=first.known())
    assert dataset.decoded == ["f1", "r1"]  # the latter to compare them
    assert len(second.samples) == 6
    assert second.problems == ()


def test_the_dataset_is_listed_once():
    dataset = Counted(people(3))
    looked_at(dataset, strangers=True)
    assert dataset.listed == 1


def test_a_broken_counterpart_leaves_its_fake_without():
    dataset = Counted(people(2))
    dataset.broken = {"r0"}
    found = looked_at(dataset).by_id()
    assert (found["f0"].pair, found["f1"].pair) == (None, "r1")


@pytest.mark.parametrize("cross", [False, True])
def test_strangers_where_nearly_all_show_one_person(cross):
    def shown(i):
        return "host" if i else "other"

    samples = [
        Sample(id=f"f{i}", label="fake", group=shown(i), cross_group=f"donor {i}" if cross else None, method="swap",
               has_mask=True)
        for i in range(100)
    ]  # fmt: skip
    strangers = looked_at(Counted(samples), strangers=True).strangers
    assert {name: other for name, other in strangers.items() if name != "f0"} == {f"f{i}": "f0" for i in range(1, 100)}
    assert strangers["f0"] != "f0"


def test_no_stranger_where_all_share_a_person():
    samples = [Sample(id=f"f{i}", label="fake", group="host", method=f"m{i}", has_mask=True) for i in range(50)]
    assert looked_at(Counted(samples), strangers=True).strangers == {}


def test_a_stranger_is_of_the_same_method_where_one_is():
    samples = [replace(s, method=f"m{i % 2}") if s.method else s for i, s in enumerate(people(60))]
    samples = [s if s.id != "f7" else replace(s, method="alone") for s in samples]
    found = looked_at(Counted(samples), strangers=True)
    method = {s.id: s.method for s in found.samples}
    assert {method[a] == method[b] for a, b in found.strangers.items() if a != "f7"} == {True}
    assert method[found.strangers["f7"]] != "alone"


def test_the_face_is_as_large_as_the_box_of_its_landmarks():
    points = np.array([[1, 2], [5, 2], [3, 11]], np.float32)
    assert face_size(Native(PIXELS, None, points)) == pytest.approx(6)  # sqrt(4 * 9)
    assert face_size(Native(PIXELS, np.ones((8, 10)), points)) == pytest.approx(6)


def test_without_landmarks_the_face_is_as_large_as_the_box_of_the_mask():
    mask = np.zeros((8, 10), np.uint8)
    mask[2, 1] = mask[5, 9] = 200  # 4 rows, 9 columns
    mask[0, 0] = 99
    assert face_size(Native(PIXELS, mask)) == pytest.approx(6)


@pytest.mark.parametrize(
    "native",
    [Native(PIXELS), Native(PIXELS, np.zeros((8, 10))), Native(PIXELS, None, np.ones((1, 2), np.float32))],
    ids=["nothing", "empty mask", "one point"],
)
def test_the_size_of_a_face_can_be_unknown(native):
    assert face_size(native) is None


def test_face_sizes_stand_beside_the_digests():
    found = looked_at(Counted(people(2)))
    assert found.face_sizes == {"f0": pytest.approx(70**0.5), "f1": pytest.approx(70**0.5)}
    assert found.known()["r0"].face_size is None


def test_further_columns_reach_the_survey_and_are_checked():
    samples = [replace(s, columns=(("age", i),)) for i, s in enumerate(people(2))]
    assert {s.columns for s in looked_at(Counted(samples)).samples} == {(("age", i),) for i in range(4)}
    samples[3] = replace(samples[3], columns=(("age", "old"),))
    with pytest.raises(DatasetError, match="x: column 'age' holds both text and numbers"):
        looked_at(Counted(samples))


def test_pictures_in_memory_have_further_columns():
    columns = {"generator": ["gan", None], "age": np.array([30, 40]), "seen": [True, False]}
    found = survey(PictureArrays([PIXELS, PIXELS], [0, 1], columns=columns), "x", seed=0).by_id()
    assert found["0000"].columns == (("age", 30), ("generator", "gan"), ("seen", "True"))
    assert found["0001"].columns == (("age", 40), ("seen", "False"))


def test_pictures_in_memory_refuse_columns_that_make_up_no_table():
    with pytest.raises(DatasetError, match="age holds 1 entries for 2 images"):
        PictureArrays([PIXELS, PIXELS], [0, 1], columns={"age": [1]})
    with pytest.raises(DatasetError, match="'label' has the name"):
        PictureArrays([PIXELS, PIXELS], [0, 1], columns={"label": [1, 2]})


@pytest.mark.parametrize("label", ["real", "fake"])
def test_a_dataset_of_one_label_is_surveyed(label):
    assert len(looked_at(Counted(s for s in people(3) if s.label == label)).samples) == 3


def test_a_limit_that_leaves_no_fake_of_a_dataset_that_has_some_is_refused():
    dataset = Counted(
        [*(s for s in people(9) if s.label == "real"), Sample(id="f", label="fake", group="x", method="m")]
    )
    first = [s.label for s in looked_at(dataset).samples].index("fake")
    assert 0 < first < 9
    assert len(looked_at(dataset, limit=first + 1).samples) == first + 1
    with pytest.raises(NothingToEvaluate, match="no fake among the"):
        looked_at(dataset, limit=first)
