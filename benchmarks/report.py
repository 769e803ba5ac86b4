"""Where the figures go: to the terminal, and into the docs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks import charts
from benchmarks.bodies import OURS
from benchmarks.cases import Case
from benchmarks.measure import Promise, Round, Spread, ratio
from benchmarks.page import PAGE, ROOT, put
from benchmarks.tables import promises, ratios


class Report:
    """Shows tables, and draws charts.

    :param is_kept: whether they are for the docs: tables then replace what is between ``<!-- NAME -->`` and
        ``<!-- end -->`` there.
    :param page: of the docs.
    :param folder: of the charts.
    """

    def __init__(self, *, is_kept: bool, page: Path = PAGE, folder: str = "benchmarks") -> None:
        self.is_kept = is_kept
        self.page = page
        self.folder = ROOT / ("docs/_static" if is_kept else "build") / folder

    def text(self, name: str, text: str) -> None:
        print(f"{name}\n\n{text}\n", flush=True)
        if self.is_kept:
            put(name, text, self.page)

    def ratios(
        self, name: str, cases: Sequence[Case], rounds: Sequence[Round], kept: Sequence[Promise] = ()
    ) -> None:
        parts = [f"Medians of {len(rounds)} rounds.", ratios(cases, rounds)]
        if kept:
            parts.append(promises(kept, rounds))
        self.text(name, "\n\n".join(parts))

    def bars(self, name: str, title: str, cases: Sequence[Case], rounds: Sequence[Round]) -> None:
        measured = {case.name: ratio(rounds, case) for case in cases if case.over != case.name}
        charts.bars(self.folder / f"{name}.svg", title, "times the same view without ETags", measured, OURS)

    def lines(
        self, name: str, title: str, x: str, y: str, series: Mapping[str, charts.Line], grows: str = "log"
    ) -> None:
        charts.lines(self.folder / f"{name}.svg", title, x, y, series, grows=grows)


def points(rounds: Mapping[int, Sequence[Round]], scale: float) -> dict[str, list[tuple[float, Spread]]]:
    """Return the line of each case through what was measured at several places."""
    names = next(iter(rounds.values()))[0]
    return {
        name: [(at, Spread.of(each[name] * scale for each in measured)) for at, measured in rounds.items()]
        for name in names
    }
