"""Procedural demo faces: real pictures and fakes of one known part, drawn from a seed.

Pure functions on numpy; the same arguments give the same bytes, in any order and any process. Identities of different
populations (`seed`) or of disjoint ranges share nothing; the demo detector was trained on identities 0 to 9999 of
population 0, so evaluate it on 10000 and above.
"""

from xaibench_datasets.demo_faces.faces import SIZE
from xaibench_datasets.demo_faces.manipulations import METHODS, PARTS, DemoPicture, donor_of, render_fake, render_real

TEST_IDENTITIES_FROM = 10_000

__all__ = ["METHODS", "PARTS", "SIZE", "TEST_IDENTITIES_FROM", "DemoPicture", "donor_of", "render_fake", "render_real"]
