"""Which plugins a version of the lower door accepts."""

import pytest

from xaibench.api import API_VERSION, accepts_api


@pytest.mark.parametrize(
    ("wanted", "version", "accepted"),
    [
        ("1", "1.0", True), ("1", "1.7", True), ("1", "2.0", False), (1, "1.0", True),
        ("1.2", "1.1", False), ("1.2", "1.2", True), ("1.2", "1.10", True), ("1.2", "2.2", False),
        (">=1.1,<3", "1.0", False), (">=1.1,<3", "1.1", True), (">=1.1,<3", "2.4", True), (">=1.1,<3", "3.0", False),
    ],
)  # fmt: skip
def test_a_version_means_itself_and_later_minor_ones(wanted, version, accepted):
    assert accepts_api(wanted, version) is accepted


def test_this_is_the_first_one_published():
    assert API_VERSION == "1.0" and accepts_api("1") and accepts_api("1.0") and not accepts_api("1.1")


@pytest.mark.parametrize("wanted", ["", "one", "1.2.3.x", ">1,<"])
def test_what_is_neither_a_version_nor_a_range_is_refused(wanted):
    with pytest.raises(ValueError, match="is no version and no range"):
        accepts_api(wanted)
