"""The scores of attack measures: what they are, and from outcomes to values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from xaibench.api import Headroom, Score, ScoreSpec
from xaibench_metrics.attack.judging import Outcome, percentile

NO_RANDOM = "no random regions were asked for (draws=0)"
BLIND = "the attack found no signal in any random region"
UNBOUNDED = "mode=t24-code moves normalised values without a bound"
_NOT_RANKED = "saturates: where every region flips, it cannot tell one from another"
ITEM_FORM = "{segmentation} top-{k}"
HEADROOM = Headroom(
    ceiling="ceiling-drop", random="random-drop", ceiling_flip="ceiling-flip", random_flip="random-flip"
)
MARGIN_DROP = ScoreSpec(
    name="margin-drop",
    output="logit",
    better="higher",
    ranks_evidence=True,
    per_item=True,
    item_form=ITEM_FORM,
    headroom=HEADROOM,
    description="fall of ln(P(fake)/P(real)) after the fixed number of steps inside the region",
)
PERCENTILE = ScoreSpec(
    name="drop-percentile",
    better="higher",
    low=0,
    high=1,
    ranks_evidence=True,
    per_item=True,
    item_form=ITEM_FORM,
    headroom=HEADROOM,
    description="share of random regions of the same area whose margin falls less; ties count half",
)
DISTORTION = ScoreSpec(
    name="distortion-upper-bound",
    better="lower",
    low=0,
    high=1,
    version=3,
    ranks_evidence=True,
    per_item=True,
    item_form=ITEM_FORM,
    headroom=HEADROOM,
    event="flip",
    description="L-infinity change at which this attack turned the verdict: an upper bound on the smallest one that "
    "would (the minimum adversarial distortion of the region), as a stronger attack may need less; the largest tried "
    "where it never turned, so that its mean is the restricted mean; not of mode=t24-code, which bounds no change",
)
FLIP = ScoreSpec(
    name="flip",
    better="higher",
    low=0,
    high=1,
    per_item=True,
    item_form=ITEM_FORM,
    why_not=_NOT_RANKED,
    primary=False,
    description="1 if the verdict turned real at some step",
)
ACCURACY = ScoreSpec(
    name="accuracy",
    better="lower",
    low=0,
    high=1,
    per_item=True,
    item_form=ITEM_FORM,
    ranked=False,
    why_not=_NOT_RANKED,
    is_accuracy=True,
    description="1 if the attacked fake is still called fake, the attack stopping where the verdict turns (published)",
)
CLASS_ACCURACY = ScoreSpec(
    name="class-accuracy",
    better="lower",
    low=0,
    high=1,
    per_item=True,
    item_form=ITEM_FORM,
    why_not=_NOT_RANKED,
    primary=False,
    description="1 if the likeliest class is still the sample's own (published)",
)
SUFFICIENCY = ScoreSpec(
    name="sufficiency",
    output="probability",
    better="higher",
    low=-1,
    high=1,
    per_item=True,
    item_form=ITEM_FORM,
    ranked=False,
    why_not="bounded by P - 0.5 as the attack stops at the flip",
    description="fall of the predicted class's probability, the attack stopping where the verdict turns (published)",
)
DROP_OVER_AREA = ScoreSpec(
    name="drop-over-area",
    output="probability",
    better="higher",
    primary=False,
    per_item=True,
    item_form=ITEM_FORM,
    why_not="favours small segments: a NES drop grows like the root of the area",
    description="sufficiency over the region's share of the picture (published)",
)
QUERIES = ScoreSpec(
    name="queries",
    better="none",
    low=0,
    per_item=True,
    item_form=ITEM_FORM,
    why_not="a cost",
    primary=False,
    description="pictures that the attack asks for until the verdict turns, or in all",
)
AREA = ScoreSpec(
    name="area",
    better="none",
    low=0,
    high=1,
    per_item=True,
    item_form=ITEM_FORM,
    why_not="says how large the region is",
    primary=False,
    description="the region's share of the picture",
)
RANDOM_DROP = ScoreSpec(
    name="random-drop",
    output="logit",
    better="none",
    per_item=True,
    item_form=ITEM_FORM,
    why_not="the control: not of this map",
    primary=False,
    description="mean margin drop of random regions of the same area",
)
RANDOM_FLIP = ScoreSpec(
    name="random-flip",
    better="none",
    low=0,
    high=1,
    per_item=True,
    item_form=ITEM_FORM,
    why_not="the control: not of this map",
    primary=False,
    description="share of random regions of the same area that turn the verdict",
)
CEILING_DROP = ScoreSpec(
    name="ceiling-drop",
    output="logit",
    better="none",
    per_item=True,
    item_form=ITEM_FORM,
    why_not="the measure's own ceiling: not of this map",
    primary=False,
    description="margin drop of the segments that were found to drop most by themselves",
)
CEILING_FLIP = ScoreSpec(
    name="ceiling-flip",
    better="none",
    low=0,
    high=1,
    per_item=True,
    item_form=ITEM_FORM,
    why_not="the measure's own ceiling: not of this map",
    primary=False,
    description="1 if those segments turn the verdict",
)
GRID_ADVANTAGE = ScoreSpec(
    name="grid-advantage",
    better="none",
    low=-1,
    high=1,
    per_item=True,
    item_form=ITEM_FORM,
    why_not="compares two segmentations of one map: says how far the published score owes to the explainers' own",
    description="drop-percentile on slic-50, the superpixels that explainers work on, less that on the segmentation of "
    "the item",
)
STABILITY = ScoreSpec(
    name="stability",
    better="higher",
    low=-1,
    high=1,
    per_item=True,
    item_form=ITEM_FORM,
    why_not="a map that ignores the picture is perfectly stable",
    primary=False,
    description="Pearson correlation of the map with that of the last picture on the way whose P(real) rose by at "
    "most .1",
)

RANKED = (MARGIN_DROP, PERCENTILE, DISTORTION)
PUBLISHED = (ACCURACY, SUFFICIENCY, CLASS_ACCURACY, DROP_OVER_AREA)
BESIDE = (FLIP, QUERIES, AREA, RANDOM_DROP, RANDOM_FLIP, CEILING_DROP, CEILING_FLIP)
SCORES: tuple[ScoreSpec, ...] = (*RANKED, *PUBLISHED, *BESIDE)


def ranked_values(item: str, own: Outcome, random: Sequence[Outcome], draws: int) -> Iterator[Score]:
    """Values of the ranked scores and of the random control; ``draws`` random regions were asked for."""
    yield Score(name="margin-drop", item=item, value=own.drop)
    if own.bound is None:
        yield Score(name="distortion-upper-bound", item=item, status="undefined", reason=UNBOUNDED)
    else:
        yield Score(name="distortion-upper-bound", item=item, value=own.bound)
    yield Score(name="flip", item=item, value=float(own.flipped))
    yield Score(name="queries", item=item, value=own.queries)
    if not random:
        for name in ("drop-percentile", "random-drop", "random-flip"):
            yield Score(name=name, item=item, status="undefined", reason=BLIND if draws else NO_RANDOM)
        return
    yield Score(name="drop-percentile", item=item, value=percentile(own.drop, [o.drop for o in random]))
    yield Score(name="random-drop", item=item, value=sum(o.drop for o in random) / len(random))
    yield Score(name="random-flip", item=item, value=sum(o.flipped for o in random) / len(random))


def undefined(specs: Sequence[ScoreSpec], item: str, reason: str) -> list[Score]:
    """Every score of an item undefined, with the same reason."""
    return [Score(name=s.name, item=item, status="undefined", reason=reason) for s in specs]
