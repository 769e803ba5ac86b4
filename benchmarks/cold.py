"""What comes once: the imports, a thousand views, the first request; by each Python that is named.

python -m benchmarks.cold                            by the Python that runs this
python -m benchmarks.cold .venv-313/bin/python       and by another, which has Flask-ETag's extra ``bench`` too
python -m benchmarks.cold --write PATH...            puts the table into the docs

Each figure is the median of several processes, which take turns.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from statistics import median

from benchmarks.page import ROOT, put

RUNS = 9
VIEWS = 1000
_PAGE = os.sysconf("SC_PAGE_SIZE")


def tell() -> None:
    """Measure, in a process that has imported nothing of it, and print what was found."""
    found: dict[str, float] = {}
    for module in ("flask", "sqlalchemy.orm", "flask_etag", "flask_etag.sqlalchemy"):
        memory, start = _memory(), time.process_time()
        import_module(module)
        found[f"import {module}, ms"] = (time.process_time() - start) * 1e3
        found[f"import {module}, MiB"] = _memory() - memory
    from benchmarks.growth import by_routes  # noqa: PLC0415 - it imports what was just measured

    gc.disable()
    for number, views in ((1, "one view"), (VIEWS, f"{VIEWS:,} views")):
        clocks = by_routes(number)
        for what in ("decorating", "first request"):
            pairs = [(clocks[f"{what}, Flask-ETag"](), clocks[f"{what}, plain Flask"]()) for _ in range(3)]
            found[f"{what}, {views}, ms above plain Flask"] = median(ours - plain for ours, plain in pairs) * 1e3
    print(json.dumps({"python": f"{sys.version_info.major}.{sys.version_info.minor}", "found": found}))


def _memory() -> float:
    """Return the MiB that the process has in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE / 2**20


def measured(interpreters: Sequence[str], runs: int = RUNS) -> dict[str, dict[str, float]]:
    """Return the medians of what each Python tells, by its version."""
    told: dict[str, list[dict[str, float]]] = {}
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    for _ in range(runs):
        for interpreter in interpreters:
            ran = subprocess.run(
                [interpreter, "-c", "from benchmarks.cold import tell; tell()"],
                cwd=ROOT,
                env={**environment, "PYTHONHASHSEED": "0"},
                stdout=subprocess.PIPE,
                check=True,
            )
            answer = json.loads(ran.stdout)
            told.setdefault(answer["python"], []).append(answer["found"])
    return {
        version: {name: median(each[name] for each in all_of) for name in all_of[0]}
        for version, all_of in told.items()
    }


def main() -> None:
    from benchmarks.tables import table  # noqa: PLC0415 - which has imported Flask, and all of it

    parser = argparse.ArgumentParser(prog="python -m benchmarks.cold")
    parser.add_argument("interpreters", nargs="*", metavar="PYTHON")
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    by_version = measured([sys.executable, *arguments.interpreters])
    first = next(iter(by_version.values()))
    rows = [[name, *(f"{found[name]:.1f}" for found in by_version.values())] for name in first]
    text = table(["", *(f"Python {version}" for version in by_version)], rows)
    print(text)
    if arguments.write:
        put("what comes once", text)


if __name__ == "__main__":
    main()
