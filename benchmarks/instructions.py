"""Count the processor instructions that a request costs, by callgrind: a busy machine counts as an idle one does.

python -m benchmarks.instructions            what each kind of request costs now, and what is written down
python -m benchmarks.instructions --write    write it down

What is written down is the ratio to the same request without Flask-ETag, which another machine or another Python
has much the same.
"""

from __future__ import annotations

import gc
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median

from benchmarks.costs import REQUESTS, Sender

WRITTEN_DOWN = Path(__file__).with_name("instructions.json")

SLACK = 0.03
"""How far above what is written down a ratio may be: another Python, or another library, moves it a little."""

_ROUNDS = 3
"""How often all kinds are sent before any is counted: Python is quicker at what it has done some dozen times."""

_COUNTED = 3
"""How many requests of a kind are counted."""

_MARK = "PyNumber_MatrixMultiply"
"""Python's own function behind the operator ``@``, which nobody else needs here: callgrind counts what is executed
inside of it, and writes that down when it returns."""

_TOTAL = re.compile(r"^totals: (\d+)", re.MULTILINE)


class _Counted:
    """``_Counted() @ action`` calls an action from inside the function that callgrind looks for."""

    def __matmul__(self, action: Callable[[], None]) -> None:
        action()


def send_all() -> None:
    """Send each kind of request, the last ones counted. This is what runs under callgrind."""
    sender = Sender()
    for _ in range(_ROUNDS):
        for sent in REQUESTS:
            sender.warm_up(sent)
    gc.disable()
    for sent in REQUESTS:
        for _ in range(_COUNTED):
            _Counted() @ sender.prepared(sent)


def instructions() -> dict[str, int]:
    """Return the instructions of each kind of request, by its name."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "counted"
        flags = ["--quiet", f"--toggle-collect={_MARK}", f"--dump-after={_MARK}", f"--callgrind-out-file={out}"]
        program = [sys.executable, "-c", "from benchmarks.instructions import send_all; send_all()"]
        subprocess.run(
            ["valgrind", "--tool=callgrind", *flags, *program],  # noqa: S607 - from wherever it is installed
            env={**os.environ, "PYTHONHASHSEED": "0"},
            check=True,
        )
        dumps = [Path(f"{out}.{number}") for number in range(1, _COUNTED * len(REQUESTS) + 1)]
        totals = iter([int(_TOTAL.findall(dump.read_text())[-1]) for dump in dumps])
    return {sent.name: int(median(next(totals) for _ in range(_COUNTED))) for sent in REQUESTS}


def ratios(counted: dict[str, int]) -> dict[str, float]:
    """Return what each kind of request costs, over the same one without Flask-ETag."""
    return {
        sent.name: round(counted[sent.name] / counted[sent.over], 3) for sent in REQUESTS if sent.over != sent.name
    }


def written_down() -> dict[str, float]:
    """Return the ratios that are written down."""
    found: dict[str, float] = json.loads(WRITTEN_DOWN.read_text())
    return found


def main() -> None:
    counted = instructions()
    now = ratios(counted)
    if sys.argv[1:] == ["--write"]:
        WRITTEN_DOWN.write_text(json.dumps(now, indent=2) + "\n")
    before = written_down()
    print("| request | thousand instructions | ratio | written down |")
    print("| --- | --- | --- | --- |")
    for name, total in counted.items():
        ratio = f"{now[name]:.3f} | {before.get(name, 0):.3f}" if name in now else " | "
        print(f"| {name} | {total / 1000:,.0f} | {ratio} |")


if __name__ == "__main__":
    main()
