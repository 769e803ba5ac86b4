"""The migration of docs/migration.md that stops nobody, while an old process and a new one write at once.

``ROWS=500000 pytest --log-cli-level=INFO`` tells how long each step takes for so many rows, and the slowest write
of the old process meanwhile; the default is what a test has time for.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from textwrap import dedent
from threading import Event, Thread
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session

from tests.conftest import KINDS
from tests.docs.test_beside import TRIGGERS, Note
from tests.docs.test_migration import SECTIONS

SECTION = SECTIONS["Without stopping the old code"]
[SCRIPT] = re.findall(r"```python\n(.*?)```", SECTION, re.DOTALL)
[DECLARE] = re.findall(r"```postgresql\n(.*?)```", SECTION, re.DOTALL)
[MODIFY] = re.findall(r"On MariaDB, `(ALTER TABLE note MODIFY .*?)`", SECTION)
NEW_VERSIONS = {
    "postgresql": "gen_random_uuid()",
    "mariadb": "UUID()",
    "sqlite": "lower(hex(randomblob(16)))",
}
ROWS = int(os.environ.get("ROWS", "60"))
SIZE = 7 if ROWS < 5000 else 5000  # rows of a batch


class Old(Thread):
    """A process of before, which knows no version: it adds one to a number by hand, and makes rows."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self._engine = create_engine(url)
        self.is_over = Event()
        self.done = 0
        self.slowest = 0.0  # seconds, since a step has begun
        self.start()

    def wait_until(self, done: int) -> None:
        deadline = time.monotonic() + 60
        while self.done < done:
            assert self.is_alive()
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def run(self) -> None:
        while not self.is_over.wait(0.01):
            begun = time.monotonic()
            with self._engine.begin() as connection:
                row = self.done % ROWS + 1
                update = text("UPDATE note SET title = :title WHERE id = :row")
                connection.execute(update, {"title": str(self.done), "row": row})
                insert = text("INSERT INTO note (id, body) VALUES (:id, 'old')")
                connection.execute(insert, {"id": ROWS + 1000 + self.done})
            self.done += 1
            self.slowest = max(self.slowest, time.monotonic() - begun)
        self._engine.dispose()

    @contextmanager
    def timed(self, kind: str, step: str) -> Iterator[None]:
        """Log how long a step takes, and the slowest write meanwhile."""
        self.slowest, begun = 0.0, time.monotonic()
        yield
        took = time.monotonic() - begun
        self.wait_until(self.done + 1)  # the write that has waited for it
        logging.info("%s, %s: %.1f s, slowest write %.1f s", kind, step, took, self.slowest)


@pytest.mark.parametrize("kind", KINDS)
def test_each_row_has_a_version_and_none_is_lost(kind: str, empty_database: Callable[[str], str]) -> None:
    url = empty_database(kind)
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(
            text(
                "CREATE TABLE note (id INTEGER PRIMARY KEY, title VARCHAR(200) NOT NULL DEFAULT '', "
                "body VARCHAR(200), visits INTEGER NOT NULL DEFAULT 0)"
            )
        )
        insert = text("INSERT INTO note (id, body, title) VALUES (:id, '0', :title)")
        for first in range(1, ROWS + 1, 5000):
            rows = range(first, min(first + 5000, ROWS + 1))
            connection.execute(insert, [{"id": row, "title": "t" * 100} for row in rows])
    old = Old(url)
    old.wait_until(2)
    script: dict[str, Any] = {}
    exec(dedent(SCRIPT), script)  # noqa: S102 - it is the page's
    for step, statements in {
        "1. the column": ["ALTER TABLE note ADD COLUMN version VARCHAR(36)"],
        "2. the triggers": TRIGGERS[kind],
        f"3. the batches, of {SIZE} rows": [],
        "4. no more NULL": {"postgresql": DECLARE.strip().split("\n"), "mariadb": [MODIFY], "sqlite": []}[kind],
    }.items():
        with old.timed(kind, step):
            for statement in statements:
                with engine.begin() as connection:
                    connection.exec_driver_sql(statement)
            if step.startswith("3."):
                script["give_versions"](engine, NEW_VERSIONS[kind], size=SIZE)
    for _ in range(20):  # what a new process does
        with Session(engine) as session:
            note = session.get_one(Note, ROWS)
            note.body = str(int(note.body or 0) + 1)
            session.commit()
    old.wait_until(old.done + 2)
    old.is_over.set()
    old.join(20)
    with engine.connect() as connection:
        versions = connection.scalars(text("SELECT version FROM note")).all()
        body = connection.scalar(text(f"SELECT body FROM note WHERE id = {ROWS}"))
    engine.dispose()
    assert None not in versions
    assert len(set(versions)) == len(versions) == ROWS + old.done
    assert body == "20"
