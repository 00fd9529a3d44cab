"""xaibench itself, and the publications behind its statistics. ``xaibench_statistics`` imports nothing of xaibench."""

from __future__ import annotations

from typing import Final

from xaibench.api import Reference

_JASA = "Journal of the American Statistical Association"
_MEDICINE = "Statistics in Medicine"

WILSON_1927: Final = Reference(
    key="wilson1927probable",
    kind="article",
    authors=("Wilson, Edwin B.",),
    title="Probable inference, the law of succession, and statistical inference",
    year=1927,
    venue=_JASA,
    volume="22",
    number="158",
    pages="209-212",
)
DELONG_1988: Final = Reference(
    key="delong1988comparing",
    kind="article",
    authors=("DeLong, Elizabeth R.", "DeLong, David M.", "Clarke-Pearson, Daniel L."),
    title="Comparing the areas under two or more correlated receiver operating characteristic curves: "
    "A nonparametric approach",
    year=1988,
    venue="Biometrics",
    volume="44",
    number="3",
    pages="837-845",
)
HALL_1992: Final = Reference(
    key="hall1992removal",
    kind="article",
    authors=("Hall, Peter",),
    title="On the removal of skewness by transformation",
    year=1992,
    venue="Journal of the Royal Statistical Society B",
    volume="54",
    number="1",
    pages="221-228",
)
OBUCHOWSKI_1997: Final = Reference(
    key="obuchowski1997nonparametric",
    kind="article",
    authors=("Obuchowski, Nancy A.",),
    title="Nonparametric analysis of clustered ROC curve data",
    year=1997,
    venue="Biometrics",
    volume="53",
    number="2",
    pages="567-578",
)
BELL_2002: Final = Reference(
    key="bell2002bias",
    kind="article",
    authors=("Bell, Robert M.", "McCaffrey, Daniel F."),
    title="Bias reduction in standard errors for linear regression with multi-stage samples",
    year=2002,
    venue="Survey Methodology",
    volume="28",
    number="2",
    pages="169-181",
)
ROMANO_2005: Final = Reference(
    key="romano2005exact",
    kind="article",
    authors=("Romano, Joseph P.", "Wolf, Michael"),
    title="Exact and approximate stepdown methods for multiple hypothesis testing",
    year=2005,
    venue=_JASA,
    volume="100",
    number="469",
    pages="94-108",
)
NEWCOMBE_2006: Final = Reference(
    key="newcombe2006confidence",
    kind="article",
    authors=("Newcombe, Robert G.",),
    title="Confidence intervals for an effect size measure based on the Mann-Whitney statistic. "
    "Part 2: Asymptotic methods and evaluation",
    year=2006,
    venue=_MEDICINE,
    volume="25",
    number="4",
    pages="559-573",
)
OWEN_2007: Final = Reference(
    key="owen2007pigeonhole",
    kind="article",
    authors=("Owen, Art B.",),
    title="The pigeonhole bootstrap",
    year=2007,
    venue="The Annals of Applied Statistics",
    volume="1",
    number="2",
    pages="386-411",
)
ZOU_2008: Final = Reference(
    key="zou2008construction",
    kind="article",
    authors=("Zou, Guang Yong", "Donner, Allan"),
    title="Construction of confidence limits about effect measures: A general approach",
    year=2008,
    venue=_MEDICINE,
    volume="27",
    number="10",
    pages="1693-1702",
)
CAMERON_2011: Final = Reference(
    key="cameron2011robust",
    kind="article",
    authors=("Cameron, A. Colin", "Gelbach, Jonah B.", "Miller, Douglas L."),
    title="Robust inference with multiway clustering",
    year=2011,
    venue="Journal of Business & Economic Statistics",
    volume="29",
    number="2",
    pages="238-249",
)
HESTERBERG_2015: Final = Reference(
    key="hesterberg2015what",
    kind="article",
    authors=("Hesterberg, Tim C.",),
    title="What teachers should know about the bootstrap: Resampling in the undergraduate statistics curriculum",
    year=2015,
    venue="The American Statistician",
    volume="69",
    number="4",
    pages="371-386",
)
FRANCO_2019: Final = Reference(
    key="franco2019comparative",
    kind="article",
    authors=("Franco, Carolina", "Little, Roderick J. A.", "Louis, Thomas A.", "Slud, Eric V."),
    title="Comparative study of confidence intervals for proportions in complex sample surveys",
    year=2019,
    venue="Journal of Survey Statistics and Methodology",
    volume="7",
    number="3",
    pages="334-364",
)
MOGSTAD_2024: Final = Reference(
    key="mogstad2024inference",
    kind="article",
    authors=("Mogstad, Magne", "Romano, Joseph P.", "Shaikh, Azeem M.", "Wilhelm, Daniel"),
    title="Inference for ranks with applications to mobility across neighbourhoods and academic achievement across "
    "countries",
    year=2024,
    venue="The Review of Economic Studies",
    volume="91",
    number="1",
)


def xaibench_reference(version: str) -> Reference:
    """xaibench in the version that evaluated."""
    return Reference(
        key="xaibench",
        kind="misc",
        authors=("The xaibench authors",),
        title=f"xaibench: Which explanation of a deepfake detector can be trusted? Version {version}",
        year=2026,
        venue="Software",
        url="https://xaibench.readthedocs.io",
    )
