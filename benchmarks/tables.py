"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import median

from benchmarks.cases import Case
from benchmarks.measure import Promise, Round, Spread, at_server, ratio


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def ratios(cases: Sequence[Case], rounds: Sequence[Round]) -> str:
    """Make a table of what cases take, and of how that compares."""
    rows = []
    for case in cases:
        spread = ratio(rounds, case)
        microseconds = median(each[case.name] for each in rounds) * 1e6
        compared = [""] * 3 if case.over == case.name else [*figures(spread), limit(spread, case.at_most)]
        rows.append([case.name, f"{microseconds:,.1f}", *compared])
    return table(["", "µs", "ratio", "quartiles", "at most"], rows)


def ratios_with_database(cases: Sequence[Case], rounds: Sequence[Round], statements: Mapping[str, int]) -> str:
    """Make a table of what cases take at both ends, of how that compares, and of the statements that they send."""
    rows = []
    for case in cases:
        spread = ratio(rounds, case)
        both, server = (median(each[name] for each in rounds) * 1e6 for name in (case.name, at_server(case.name)))
        compared = [""] * 3 if case.over == case.name else [*figures(spread), limit(spread, case.at_most)]
        rows.append([case.name, str(statements[case.name]), f"{both:,.0f}", f"{server:,.0f}", *compared])
    return table(["", "statements", "µs", "the server's", "ratio", "quartiles", "at most"], rows)


def promises(kept: Sequence[Promise], rounds: Sequence[Round]) -> str:
    """Make a table of what must hold besides."""
    rows = []
    for promise in kept:
        spread = Spread.of(promise.formula(each) for each in rounds)
        rows.append([promise.text, *figures(spread), limit(spread, promise.at_most)])
    return table(["", "measured", "quartiles", "at most"], rows)


def figures(spread: Spread) -> list[str]:
    return [f"{spread.middle:.2f}", f"{spread.low:.2f} to {spread.high:.2f}"]


def limit(spread: Spread, at_most: float | None) -> str:
    if at_most is None:
        return ""
    return f"{at_most:.2f}" if round(spread.middle, 2) <= at_most else f"{at_most:.2f}: **missed**"
