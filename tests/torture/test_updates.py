"""``flask_etag.client.update``, by processes on one document, while answers are lost and workers die.

``MARKS=250`` has each of the eight add so many; the default is what a test has time for.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable

import pytest
import requests

from tests import ROOT
from tests.client.proxy import between
from tests.torture.updating import PATH
from torture.faults import killed_workers
from torture.servers import serving

CLIENTS = 8
MARKS = int(os.environ.get("MARKS", "5"))


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_each_mark_is_there_once_and_nobody_was_told_otherwise(
    kind: str, empty_database: Callable[[str], str]
) -> None:
    chance = random.Random(1)  # noqa: S311 - of losing an answer
    module = [sys.executable, "-m", "tests.torture.updating"]
    with (
        serving("tests.torture.updating:create_app()", PATH, database=empty_database(kind)) as server,
        between(server.url.removesuffix(PATH)) as proxy,
    ):
        proxy.always = lambda _: "answer lost" if chance.random() < 1 / 3 else None
        with killed_workers(server, 1):
            processes = [
                subprocess.Popen(
                    [*module, proxy.url + PATH, f"client{number}", str(MARKS)],
                    cwd=ROOT,
                    stdout=subprocess.PIPE,
                    text=True,
                )
                for number in range(CLIENTS)
            ]
            try:
                told = [mark for process in processes for mark in process.communicate()[0].split()]
            finally:
                for process in processes:
                    process.kill()
                    process.wait()
        assert [process.returncode for process in processes] == [0] * CLIENTS
        there = Counter(requests.get(server.url, timeout=20).json()["marks"])
    wanted = Counter(f"client{client}-{number}" for client in range(CLIENTS) for number in range(MARKS))
    assert there == wanted
    assert Counter(told) == wanted
    sys.stdout.write(f"{kind}: {len(told)} marks, {dict(Counter(method for method, _ in proxy.requests))}\n")
