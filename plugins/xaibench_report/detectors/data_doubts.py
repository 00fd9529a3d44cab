"""What was found in the data: samples in doubt, which stand on top of every result."""

from __future__ import annotations

from xaibench_report.values.run_values import Table


def data_doubts(samples: Table | None) -> tuple[str, ...]:
    """The lines about samples in doubt, dataset by dataset, of the table ``samples``: counted, ten of each by name.

    Samples that the last plan does not evaluate are passed over.
    """
    from xaibench import doubt_lines

    if samples is None:
        return ()
    found: dict[str, dict[str, str]] = {}
    columns = ("dataset", "sample", "order", "doubt")
    for name, sample, order, doubt in zip(*(samples[c].to_pylist() for c in columns), strict=True):
        if order is not None:
            found.setdefault(name, {})[sample] = doubt or ""
    return tuple(line for name, doubts in found.items() for line in doubt_lines(name, doubts, len(doubts)))
