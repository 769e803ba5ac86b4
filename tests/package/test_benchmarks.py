"""What the benchmarks measure answers what it should: a figure of anything else would be none."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

from benchmarks import collection, database
from benchmarks.bodies import bodies, dumps
from benchmarks.cases import PATH, Case, environ_of, plain, serving
from benchmarks.contents import Content, contents
from benchmarks.database import database_cases, statements_of
from benchmarks.measure import Spread, clock_of, serve
from benchmarks.sources import View, of_a_body, of_a_version, steps
from benchmarks.tables import limit
from tests import ROOT

CONTENTS = dict(contents())


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Case]]:
    monkeypatch.setattr(database, "ROWS", 200)
    monkeypatch.setattr(database, "SHELVES", 20)
    cases = database_cases(f"sqlite:///{tmp_path}/records.db")
    yield cases
    for engine in engines_of(cases):
        engine.dispose()


def engines_of(cases: list[Case]) -> Iterator[Engine]:
    for case in cases:
        app: Any = case.application
        with app.app_context():
            yield app.extensions["sqlalchemy"].engine


def test_the_bodies_have_the_sizes_that_they_are_called_by() -> None:
    sizes = {size: len(content.body) for size, content in CONTENTS.items()}
    assert sizes == {"192 B": 192, "64 KiB": 64 * 1024, "1 MiB": 1024 * 1024}


@pytest.mark.parametrize("size", ["192 B", "64 KiB"])
def test_each_read_has_its_status_its_tag_and_its_body(size: str) -> None:
    cases = bodies(size, CONTENTS[size]) + dumps(size, CONTENTS[size])
    for case in cases:
        case.check()
    assert {case.over for case in cases} < {case.name for case in cases}
    assert {case.status for case in cases} == {200, 304}


@pytest.mark.parametrize("views", [of_a_version, of_a_body])
def test_each_step_answers_what_the_bare_view_does(views: Callable[[Content], dict[str, View]]) -> None:
    content = CONTENTS["192 B"]
    for case in steps(views(content), content.body):
        case.check()


def test_each_request_of_a_row_has_its_status_and_its_tag(rows: list[Case]) -> None:
    for case in rows:
        case.check()
    assert {case.status for case in rows} == {200, 204, 304, 412}


def test_each_page_has_its_status_and_its_tag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collection, "ROWS", 200)
    cases = collection.pages(f"sqlite:///{tmp_path}/pages.db")
    for case in cases:
        case.check()
    assert {(case.status, case.at_most) for case in cases} == {(200, None), (304, 1.05), (304, 0.35)}
    for engine in engines_of(cases[:1]):
        engine.dispose()


def test_each_accepted_write_is_one_update_also_where_cases_take_turns(rows: list[Case]) -> None:
    """Besides the one that finds no row, and so takes the write lock."""
    statements: list[str] = []

    def executed(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    writing = [case for case in rows if case.name.endswith("PUT")]
    assert len(writing) == 4
    for engine in engines_of(writing):
        event.listen(engine, "before_cursor_execute", executed)
    for turn in range(4):
        for case in writing if turn % 2 else reversed(writing):
            for environ in case.environs(2):
                statements.clear()
                serve(case.application, environ)
                updates = [statement for statement in statements if statement.startswith("UPDATE")]
                assert ["WHERE 0 = 1" in update for update in updates].count(False) == 1, case.name


def test_a_write_that_is_overtaken_is_two_updates_of_which_one_counts(rows: list[Case]) -> None:
    raced = [case for case in rows if case.name.endswith("raced")]
    assert [case.name for case in raced] == ["version by hand, PUT raced", "Versioned, PUT raced"]
    assert statements_of(raced[0]) == 3  # the load, another's UPDATE, and one's own


def test_the_clock_of_a_server_counts_what_its_processes_compute() -> None:
    clock = clock_of(lambda: [os.getpid()])
    before, start = clock(), time.process_time()
    while time.process_time() < start + 0.05:
        pass
    assert clock() > before + 0.03


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"status": 304}, "200 in the place of 304"),
        ({"is_tagged": True}, "its ETag is None"),
        ({"body": b"other"}, "its body is"),
        ({"environs": lambda _: [environ_of("/elsewhere")]}, "404 in the place of 200"),
    ],
)
def test_an_answer_that_is_not_what_it_has_to_be_is_not_measured(wrong: dict[str, object], told: str) -> None:
    case = plain("a view", serving(lambda **_: "text"), b"text")
    case.check()
    with pytest.raises(RuntimeError, match=told):
        replace(case, **wrong).check()  # type: ignore[arg-type]


def test_a_304_with_another_tag_than_its_200_is_not_measured() -> None:
    [case] = [case for case in bodies("", CONTENTS["192 B"]) if case.name == "version by hand, 304"]
    case.check()

    def another(environ: dict[str, object], start_response: object) -> object:
        return case.application({**environ, "HTTP_IF_NONE_MATCH": '"r7"'}, start_response)  # type: ignore[arg-type]

    unknown = environ_of(PATH, if_none_match='"other"')
    with pytest.raises(RuntimeError, match="another ETag"):
        replace(case, application=another, environs=lambda _: [unknown]).check()  # type: ignore[arg-type]


def test_a_table_tells_what_is_missed() -> None:
    assert limit(Spread(1.1, 1.204, 1.3), 1.20) == "1.20"
    assert limit(Spread(1.1, 1.206, 1.3), 1.20) == "1.20: **missed**"
    assert limit(Spread(1.1, 1.2, 1.3), None) == ""


def test_a_run_without_what_it_needs_tells_how_to_get_it() -> None:
    program = "import sys; sys.modules['django'] = None; from benchmarks.__main__ import main; main()"
    ran = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={"PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    [told] = ran.stderr.splitlines()
    assert "make bench" in told
    assert "pip install -e '.[bench]'" in told
    assert ran.returncode == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_stopped_leaves_nothing_behind(number: signal.Signals) -> None:
    program = """
from tempfile import TemporaryDirectory
from time import sleep
from benchmarks.__main__ import stopped_in_one_line
with stopped_in_one_line(), TemporaryDirectory() as folder:
    print(folder, flush=True)
    sleep(60)
"""
    with subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as run:
        assert run.stdout is not None
        folder = Path(run.stdout.readline().strip())
        assert folder.is_dir()
        run.send_signal(number)
        told = run.communicate(timeout=10)[1]
    assert (run.returncode, told) == (128 + number, "Stopped.\n")
    assert not folder.exists()


def test_the_databases_that_they_measure_need_no_tool_of_the_tests() -> None:
    """Their environment is the extra ``bench`` alone, and they start the servers of the tests."""
    command = "import sys; sys.modules['pytest'] = None; import benchmarks.world"
    subprocess.run([sys.executable, "-c", command], cwd=ROOT, check=True, timeout=120)
