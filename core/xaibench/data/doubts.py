"""Findings about samples that put their mask, their counterpart or their label in doubt, and how they are told.

A finding is one text, ``KIND: WHAT (details)``. Several of a sample are joined by ``; ``. The how-to page *Use your own
pictures* lists all of them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from xaibench.api import Native, Sample
from xaibench.data.masks import mark

RULES = 1
"""Version of all thresholds and wordings. Findings that were kept under another one are made anew."""

NAMED = 10
"""Samples that are named where findings are told."""

MASK, PAIR, LABEL, SPLIT = "mask", "counterpart", "label", "split"


def mask_finding(native: Native, sample: Sample) -> str:
    """Why the mask of a picture is in doubt; empty where it is not, and where there is none.

    The mask of a fake has to mark a region. That of a real picture has to mark nothing.
    """
    if native.mask is None:
        return ""
    marked, why = mark(native.mask)
    if sample.label == "fake":
        return why
    if marked is not None:
        return f"on a real picture (it marks {marked.mean():.1%} of it)"
    return "on a real picture (it marks all of it)" if why.startswith(("marks everything", "constant")) else ""


def equal_pictures(samples: Iterable[Sample], pixel_digests: Mapping[str, str]) -> dict[str, list[str]]:
    """Findings of samples whose pixels are those of a sample of the other label, or of another split.

    A fake that equals its own counterpart is not among them: that is a finding about the counterpart.
    """
    by_pixels: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        if digest := pixel_digests.get(sample.id):
            by_pixels[digest].append(sample)
    findings: dict[str, list[str]] = {}
    for equals in by_pixels.values():
        for sample in equals if len(equals) > 1 else ():
            found = list(_equal(sample, equals))
            if found:
                findings[sample.id] = found
    return findings


def _equal(sample: Sample, equals: Sequence[Sample]) -> Iterator[str]:
    others = (s for s in equals if s.label != sample.label and s.id != sample.pair and s.pair != sample.id)
    if other := next(others, None):
        yield f"{LABEL}: the same picture under two labels (it is {_plain(other.id)} too, labelled {other.label})"
    elsewhere = (s for s in equals if s.split and sample.split and s.split != sample.split)
    if other := next(elsewhere, None):
        yield f"{SPLIT}: the same picture in two splits (it is {_plain(other.id)} too, of split {_plain(other.split)})"


def in_doubt(sample: Sample, mask: str, pair: str, equal: Sequence[str]) -> Sample:
    """The sample with its findings. What they put in doubt is withdrawn.

    ``mask`` and ``pair`` are the findings about mask and counterpart, ``equal`` those of :func:`equal_pictures`. Any
    finding withdraws the mask of a fake. The counterpart is withdrawn by findings about it and about the label.
    """
    about_mask = f"{MASK}: {mask}" if mask else ""
    about_pair = f"{PAIR}: {_plain(sample.pair)} is {pair}" if pair else ""
    doubt = "; ".join(filter(None, (sample.doubt, about_mask, about_pair, *equal)))
    if not doubt and not (sample.label == "real" and sample.has_mask):
        return sample
    if sample.label == "real":
        return replace(sample, doubt=doubt, has_mask=False)
    pair_doubt = "; ".join(filter(None, (sample.doubt, about_pair, *(e for e in equal if e.startswith(LABEL)))))
    if sample.has_mask:
        sample = replace(sample, has_mask=False, mask_doubt=doubt)
    if sample.pair and pair_doubt:
        sample = replace(sample, pair=None, pair_doubt=pair_doubt)
    return replace(sample, doubt=doubt)


def split_doubt(doubt: str) -> dict[str, str]:
    """The findings of a ``doubt`` by kind, without the kind: what was kept of an earlier survey."""
    findings = (finding.partition(": ") for finding in doubt.split("; "))
    return {kind: what for kind, _, what in findings if what}


def doubt_lines(name: str, doubts: Mapping[str, str], count: int) -> list[str]:
    """What is said of a dataset's samples in doubt: how many of ``count``, how many of each finding, and ten by name.

    ``doubts``: the findings by sample id (:attr:`xaibench.data.survey.Survey.doubts`). Empty where there are none.

    >>> doubt_lines("faces", {"a": "mask: empty (its largest weight is 3 of 255)"}, 8)[0]
    'faces: 1 of 8 samples is in doubt and takes no part in localisation: 1 x mask: empty'
    """
    doubts = {sample: doubt for sample, doubt in doubts.items() if doubt}
    if not doubts:
        return []
    kinds = Counter(_kind(finding) for doubt in doubts.values() for finding in doubt.split("; "))
    verbs = "samples is in doubt and takes" if len(doubts) == 1 else "samples are in doubt and take"
    counted = ", ".join(f"{n} x {kind}" for kind, n in sorted(kinds.items(), key=lambda k: (-k[1], k[0])))
    lines = [f"{name}: {len(doubts)} of {count} {verbs} no part in localisation: {counted}"]
    lines += [f"  {sample}: {doubts[sample]}" for sample in list(doubts)[:NAMED]]
    if len(doubts) > NAMED:
        lines.append(f"  ... and {len(doubts) - NAMED} more (column doubt of the table samples)")
    return lines


def _kind(finding: str) -> str:
    """A finding without what is particular to the sample: ``counterpart: ID is nearly identical`` without the id."""
    kind, _, what = finding.partition(": ")
    if kind == PAIR:
        what = what.rpartition(" is ")[2]
    return f"{kind}: {what.partition(' (')[0]}"


def _plain(name: str | None) -> str:
    """A name without the character that separates findings."""
    return (name or "").replace(";", ",")
