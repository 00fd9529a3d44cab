"""Digests of samples: what can change the numbers of a sample, whichever component is asked."""

from __future__ import annotations

from xaibench.api import Sample, digest
from xaibench.data.survey import Survey


def sample_digest(sample: Sample, survey: Survey) -> str:
    """sha256 (hex) of a sample's id, label, method, picture and doubt, and of its counterpart's id and picture.

    A picture stands for pixels, mask and landmarks before resizing (:func:`~xaibench.api.digest_native`). Groups,
    split, columns and order are not in it: they change statistics, and no row. Raises ``KeyError`` for a sample that
    the survey has not read.
    """
    pair = [sample.pair, survey.digests[sample.pair]] if sample.pair else None
    doubt = [sample.doubt] if sample.doubt else []
    return digest([sample.id, sample.label, sample.method, survey.digests[sample.id], pair, *doubt])


def sample_digests(sample: Sample, survey: Survey) -> tuple[str, str]:
    """:func:`sample_digest`, and sha256 (hex) of it with the stranger's id and picture; twice the former where there
    is none.

    The second is the digest of a sample for components that need ``stranger``.
    """
    own, stranger = sample_digest(sample, survey), survey.strangers.get(sample.id)
    return own, digest([own, stranger, survey.digests[stranger]]) if stranger else own
