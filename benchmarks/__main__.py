"""The command: see ``make bench``."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def stopped_in_one_line() -> Iterator[None]:
    """End on SIGINT and on SIGTERM after all that was started is stopped, and without a traceback."""

    def stop(number: int, _: object) -> None:
        raise KeyboardInterrupt(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    try:
        yield
    except KeyboardInterrupt as stopped:
        print("Stopped.", file=sys.stderr)
        sys.exit(128 + stopped.args[0])


def main() -> None:
    if os.environ.get("PYTHONHASHSEED") != "0":
        command = [sys.executable, "-m", "benchmarks", *sys.argv[1:]]
        os.execve(sys.executable, command, {**os.environ, "PYTHONHASHSEED": "0"})
    with stopped_in_one_line():
        try:
            from benchmarks.parts import measure  # noqa: PLC0415 - so that what is missing can be told
        except ModuleNotFoundError as missing:
            sys.exit(f"The benchmarks need {missing.name}: `make bench` or `pip install -e '.[bench]'` gets it.")
        measure()


if __name__ == "__main__":
    main()
