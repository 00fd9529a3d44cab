"""The passes that a component may ask for on one sample: what it declares, with the maps and artefacts that it uses."""

from __future__ import annotations

from xaibench.api import Passes, PassQuery, Sample
from xaibench.discovery.components import Use, open_component
from xaibench.run.workbench import Bench


class PassBounds:
    """The bounds of an explainer's maps and of their scores on one bench."""

    def __init__(self, bench: Bench, explainer: Use) -> None:
        self._bench, self._explainer = bench, explainer
        self._maps: dict[str, Passes | None] = {}

    def of_map(self, sample: Sample) -> Passes | None:
        """Passes of one map, those of the maps and artefacts that the explainer asks for included."""
        if sample.id not in self._maps:
            self._maps[sample.id] = self._declared(self._explainer, self._query(sample))
        return self._maps[sample.id]

    def of_score(self, metric: Use, sample: Sample) -> Passes | None:
        """Passes of the scores of one map."""
        one_map = self.of_map(sample)
        return None if one_map is None else self._declared(metric, self._query(sample, one_map))

    def _query(self, sample: Sample, one_map: Passes | None = None) -> PassQuery:
        return PassQuery(sample=sample, facts=self._bench.detector.facts, map=one_map or Passes())

    def _declared(self, use: Use, query: PassQuery) -> Passes | None:
        """None where a component cannot say; the plan has told of that."""
        try:
            own = (use.instance, *getattr(use.instance, "artefacts", ()))
            total = sum((part.passes(query) for part in own), Passes())
        except Exception:
            return None
        for spec in getattr(use.instance, "depends", ()):
            other = self._declared(open_component("explainer", spec, registry=self._bench.registry), query)
            if other is None:
                return None
            total += other
        return total
