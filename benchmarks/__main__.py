"""The command: see ``make bench``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.bodies import ABOVE_BY_HAND, bodies
from benchmarks.contents import contents
from benchmarks.database import database_cases
from benchmarks.measure import measured
from benchmarks.peers import a_third_of_smorest, peers
from benchmarks.tables import promises, ratios

THIRDS = [promise for name in ("etag_resource", "version, version_column") for promise in a_third_of_smorest(name)]
PROMISED = {"192 B": THIRDS, "64 KiB": [ABOVE_BY_HAND, *THIRDS]}
LONG, QUICK = 60.0, 1.0  # seconds of a part


def reads(seconds: float) -> Iterator[str]:
    for size, content in contents():
        cases = [*bodies(size, content), *peers(content)]
        rounds = measured(cases, seconds)
        yield f"{size}, {len(rounds)} rounds\n\n{ratios(cases, rounds)}"
        if size in PROMISED:
            yield promises(PROMISED[size], rounds)


def database(seconds: float) -> Iterator[str]:
    with TemporaryDirectory() as folder:
        cases = database_cases(Path(folder))
        rounds = measured(cases, seconds)
    yield f"SQLite, {len(rounds)} rounds\n\n{ratios(cases, rounds)}"


PARTS: dict[str, Callable[[float], Iterator[str]]] = {"reads": reads, "database": database}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--only", choices=PARTS, help="one part of it")
    parser.add_argument("--quick", action="store_true", help="a smoke run: its figures say little")
    arguments = parser.parse_args()
    if os.environ.get("PYTHONHASHSEED") != "0":
        command = [sys.executable, "-m", "benchmarks", *sys.argv[1:]]
        os.execve(sys.executable, command, {**os.environ, "PYTHONHASHSEED": "0"})
    for name, part in PARTS.items():
        if arguments.only in (None, name):
            for text in part(QUICK if arguments.quick else LONG):
                print(text, flush=True, end="\n\n")


if __name__ == "__main__":
    main()
