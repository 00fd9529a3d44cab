"""The grammar of a LaTeX table with booktabs, for tests where no TeX is at hand."""

from __future__ import annotations

import re

_KNOWN = """addlinespace begin bottomrule caption centering cmidrule downarrow end footnotesize label midrule multicolumn
par scriptsize shortstack smallskip textasciicircum textasciitilde textbackslash textbar textbf textgreater textless textquotedbl
textsuperscript toprule uparrow usepackage"""
_COMMANDS = frozenset(_KNOWN.split())


def latex_faults(text: str) -> list[str]:
    """What keeps ``text`` from being tables that compile: unknown commands, braces, environments and dollars that do not
    close, rows of another width than their tabular, rules that lie outside it."""
    body = re.sub(r"(?<!\\)%.*", "", text)
    faults = [f"unknown command \\{c}" for c in re.findall(r"\\([a-zA-Z]+)", body) if c not in _COMMANDS]
    plain = re.sub(r"\\\\|\\[{}&%$#_]", "", body)
    faults += [] if plain.count("{") == plain.count("}") else ["braces"]
    faults += [] if plain.count("$") % 2 == 0 else ["dollars"]
    outside = re.sub(r"\$[^$]*\$", "", re.sub(r"\\(label|begin|end)\{[^}]*\}(\[\w\])?", "", plain))
    faults += [f"bare {c}" for c in sorted(set(re.findall(r"[#_^~<>|\"]", outside)))]
    return faults + _environments(body) + [f for table in _tabulars(body) for f in _widths(*table)]


def _environments(body: str) -> list[str]:
    open_ones: list[str] = []
    for word, name in re.findall(r"\\(begin|end)\{(\w+)\}", body):
        if word == "begin":
            open_ones.append(name)
        elif not open_ones or open_ones.pop() != name:
            return [f"\\end{{{name}}} closes another environment"]
    return [f"\\begin{{{name}}} is not closed" for name in open_ones]


def _tabulars(body: str) -> list[tuple[int, str]]:
    found = re.findall(r"\\begin\{tabular\}\{([lrc]+)\}(.*?)\\end\{tabular\}", body, re.DOTALL)
    return [(len(columns), _without_stacks(inner)) for columns, inner in found]


def _without_stacks(text: str) -> str:
    r"""The text without what stands in ``\shortstack``, whose ``\\`` ends no row of the table."""
    before, command, after = text.partition(r"\shortstack{")
    if not command:
        return text
    depth, end = 1, 0
    while depth:
        depth += {"{": 1, "}": -1}.get(after[end], 0)
        end += 1
    return before + _without_stacks(after[end:])


def _widths(columns: int, inner: str) -> list[str]:
    faults = []
    for row in re.split(r"\\\\", inner):
        rules = re.findall(r"\\cmidrule\(lr\)\{(\d+)-(\d+)\}", row)
        faults += [f"rule {a}-{b}" for a, b in rules if not 1 <= int(a) <= int(b) <= columns]
        bare = re.sub(r"\\(toprule|midrule|bottomrule|addlinespace|cmidrule\(lr\)\{[^}]*\})", "", row).replace(
            r"\&", ""
        )
        spans = sum(int(n) - 1 for n in re.findall(r"\\multicolumn\{(\d+)\}", bare))
        if bare.strip() and bare.count("&") + 1 + spans != columns:
            faults.append(f"a row of {bare.count('&') + 1 + spans} cells in {columns} columns: {bare.strip()[:60]}")
    return faults
