"""The command: see ``make bench``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator

from benchmarks.bodies import BARE, BODY_BY_HAND, bodies
from benchmarks.contents import contents
from benchmarks.measure import Promise, measured
from benchmarks.tables import promises, ratios

LONG, QUICK = 60.0, 1.0  # seconds of a part


def reads(seconds: float) -> Iterator[str]:
    for size, content in contents():
        cases = bodies(size, content)
        rounds = measured(cases, seconds)
        yield f"{size}, {len(rounds)} rounds\n\n{ratios(cases, rounds)}"
        if size == "64 KiB":
            above = Promise(
                "etag_resource, 200: its ratio above that of the body hash by hand",
                0.03,
                lambda each: (each["etag_resource, 200"] - each[f"{BODY_BY_HAND}, 200"]) / each[BARE],
            )
            yield promises([above], rounds)


PARTS: dict[str, Callable[[float], Iterator[str]]] = {"reads": reads}


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
