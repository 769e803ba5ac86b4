"""A race that can be run: what it shows of others, and of us; and where there can be none."""

from __future__ import annotations

import unittest
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from flask import Flask, Response, abort, request
from flask.testing import FlaskClient
from sqlalchemy import create_engine, text, update
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.pool import StaticPool
from werkzeug.test import TestResponse

from flask_etag import decided
from flask_etag.sqlalchemy.witness import Statement, every_statement
from flask_etag.testing import CannotRace, _is_decorated, race
from tests.kit.counters import URL, counting, in_one_transaction
from tests.world.racing import in_thread
from torture import peers

RUNS = 5
WAITS = {"versioned": 20, "async": 20, "unversioned": 0.2}  # only where its row is locked, the second one waits


def saving(app: Flask, number: int, etag: str | None = None) -> Callable[[FlaskClient], TestResponse]:
    """Return what saves a number, for the state that is there now."""
    seen = etag or app.test_client().get(URL).headers["ETag"]
    return lambda client: client.put(URL, json={"number": number}, headers={"If-Match": seen})


def number(app: Flask) -> int:
    shown: int = (app.test_client().get(URL).json or {})["number"]
    return shown


@pytest.mark.parametrize("kind", ["Werkzeug", "flask-smorest"])
def test_views_that_compare_and_then_write_lose_the_update_in_every_run(kind: str, empty_url: str) -> None:
    with counting(kind, empty_url) as app:
        for run in range(1, RUNS * 2, 2):
            first, second = race(app, saving(app, run), saving(app, run + 1))
            assert (first.status_code, second.status_code) == (200, 200)
            assert number(app) == run  # the second one was accepted, and is lost


@pytest.mark.parametrize("kind", ["versioned", "async", "unversioned"])
def test_of_two_that_meet_here_one_is_served_and_one_refused(kind: str, empty_url: str) -> None:
    with counting(kind, empty_url) as app:
        for run in range(1, RUNS * 2, 2):
            first, second = race(app, saving(app, run), saving(app, run + 1), wait=WAITS[kind])
            assert {first.status_code, second.status_code} == {200, 412}
            winner = first if first.status_code == 200 else second
            assert winner.json == {"number": number(app)}
            assert (first is winner) == (kind == "unversioned")  # its row is locked before the view


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'counters.db'}"


def test_it_works_inside_of_a_pushed_context(url: str) -> None:
    """As pytest-flask pushes one around each test that has a fixture ``app``."""
    with counting("versioned", url) as app, app.test_request_context():
        first, second = race(app, saving(app, 1), saving(app, 2))
        assert {first.status_code, second.status_code} == {200, 412}


def test_it_works_under_unittest(url: str) -> None:
    with counting("versioned", url) as app:

        class TestCounter(unittest.TestCase):
            def test_race(self) -> None:
                first, second = race(app, saving(app, 1), saving(app, 2))
                self.assertEqual({first.status_code, second.status_code}, {200, 412})  # noqa: PT009

        result = unittest.TestResult()
        unittest.defaultTestLoader.loadTestsFromTestCase(TestCounter).run(result)
        assert (result.testsRun, result.wasSuccessful()) == (1, True)


def read_and_save(client: FlaskClient) -> TestResponse:
    """Read, and save on what was read: the whole of what a client does, in one function."""
    seen = client.get(URL)
    content = {"number": 1, "seen": (seen.json or {})["number"]}
    return client.put(URL, json=content, headers={"If-Match": seen.headers["ETag"]})


def put_by_hand(counter_id: int) -> dict[str, Any]:
    """Compare what was read, and then write: beside a read that is decorated."""
    row = peers.db.session.get_one(peers.Plain, counter_id)
    sent = request.get_json()
    if row.number != sent["seen"]:
        abort(412)
    row.number = sent["number"]
    peers.db.session.commit()
    return {"number": sent["number"]}


def save_twice(client: FlaskClient) -> TestResponse:
    read_and_save(client)
    return read_and_save(client)


@pytest.mark.parametrize("by_hand", [False, True])
def test_who_was_stopped_in_a_request_before_the_one_that_counts_is_not_said_to_be_protected(
    by_hand: bool, url: str
) -> None:
    with counting("unversioned", url) as app:
        if by_hand:
            app.view_functions["save"] = put_by_hand
        with pytest.raises(CannotRace, match=r"stopped in GET .*, and PUT .* was sent after"):
            race(app, read_and_save, read_and_save, wait=0.2)


@pytest.mark.parametrize("kind", ["Werkzeug", "unversioned"])
def test_who_saves_twice_is_told_that_the_second_met_nobody(kind: str, url: str) -> None:
    with counting(kind, url) as app, pytest.raises(CannotRace, match=r"in (GET|PUT) .*, and PUT"):
        race(app, save_twice, saving(app, 2), wait=0.2)


def test_what_is_read_after_the_write_makes_nobody_doubt(url: str) -> None:
    def save_and_read(client: FlaskClient) -> TestResponse:
        answer = first(client)
        client.get(URL)
        return answer

    with counting("unversioned", url) as app:
        first = saving(app, 1)
        assert [each.status_code for each in race(app, save_and_read, saving(app, 2), wait=0.2)] == [200, 412]


def test_a_read_meets_a_write(url: str) -> None:
    with counting("versioned", url) as app:
        first, second = race(app, lambda client: client.get(URL), saving(app, 1))
        assert (first.json, second.json) == ({"number": 0}, {"number": 1})


@pytest.mark.parametrize(
    ("kind", "options", "told"),
    [
        ("versioned", {"poolclass": StaticPool, "connect_args": {"check_same_thread": False}}, "same connection"),
        ("Werkzeug", {"poolclass": StaticPool, "connect_args": {"check_same_thread": False}}, "same connection"),
    ],
)
def test_one_connection_for_all_cannot_race(kind: str, options: Any, told: str, url: str) -> None:
    with counting(kind, url, **options) as app, pytest.raises(CannotRace, match=told):
        race(app, saving(app, 1), saving(app, 2))


def test_a_database_in_memory_cannot_race() -> None:
    with counting("versioned", "sqlite://") as app, pytest.raises(CannotRace, match=r"in memory|same connection"):
        race(app, saving(app, 1), saving(app, 2))


def test_a_transaction_around_the_test_cannot_race(url: str) -> None:
    with in_one_transaction(url) as (app, _), pytest.raises(CannotRace, match="same connection"):
        race(app, saving(app, 1), saving(app, 2))


@pytest.mark.parametrize(
    ("send", "told"),
    [
        (lambda client: client.put(URL, json={"number": 1}, headers={"If-Match": '"old"'}), "answered 412"),
        (lambda client: client.put(URL, json={"number": 1}), "answered 428"),
        (lambda client: client.get("/nothing"), "answered 404"),
    ],
)
def test_who_never_comes_to_a_view_cannot_race(send: Any, told: str, url: str) -> None:
    with counting("versioned", url) as app, pytest.raises(CannotRace, match=told):
        race(app, send, saving(app, 2))


def test_what_a_request_raises_is_raised(url: str) -> None:
    def broken(client: FlaskClient) -> TestResponse:
        raise LookupError("broken")

    with counting("versioned", url) as app:
        with pytest.raises(LookupError):
            race(app, broken, saving(app, 2))
        with pytest.raises(LookupError):
            race(app, saving(app, 1), broken)
        assert number(app) == 1


def test_a_request_that_hangs_is_given_up(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flask_etag.testing._LONGEST", 0.1)
    ended = Event()

    def hang(client: FlaskClient) -> TestResponse:
        ended.wait(20)
        return client.get(URL)

    with counting("versioned", url) as app:
        with pytest.raises(TimeoutError):
            race(app, saving(app, 1), hang, wait=0.1)
        ended.set()


def test_decorated_views_race_without_sqlalchemy(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flask_etag.testing.every_statement", None)
    with counting("versioned", url) as app:
        first, second = race(app, saving(app, 1), saving(app, 2))
        assert {first.status_code, second.status_code} == {200, 412}


class Editor(peers.Base):
    """Who edits, and when they were seen last."""

    __tablename__ = "editors"

    id: Mapped[int] = mapped_column(primary_key=True)
    seen: Mapped[int] = mapped_column(default=0)


class Entry(peers.Base):
    """A line of a log."""

    __tablename__ = "entries"

    id: Mapped[int] = mapped_column(primary_key=True)


def note_editor() -> None:
    peers.db.session.get_one(Editor, 1).seen += 1
    peers.db.session.commit()


def write_log() -> None:
    peers.db.session.add(Entry())
    peers.db.session.commit()


def by_text() -> None:
    peers.db.session.execute(text("UPDATE editors SET seen = seen + 1"))
    peers.db.session.commit()


@contextmanager
def busy(kind: str, url: str, *habits: Callable[[], None], after: bool = False) -> Iterator[Flask]:
    """Serve a counter by an application that writes elsewhere, too, before or after it comes to the counter."""
    with counting(kind, url) as app:
        with app.app_context():
            peers.db.session.add(Editor(id=1))
            peers.db.session.commit()

        def write() -> None:
            if request.method == "PUT":
                for habit in habits:
                    habit()

        def write_after(answer: Response) -> Response:
            write()
            return answer

        (app.after_request(write_after) if after else app.before_request(write))
        yield app


@pytest.mark.parametrize("habits", [(write_log,), (by_text,), (write_log, by_text)])
def test_what_is_written_unread_before_the_comparison_hides_no_lost_update(habits: Any, url: str) -> None:
    with busy("Werkzeug", url, *habits) as app:
        first, second = race(app, saving(app, 1), saving(app, 2))
        assert (first.status_code, second.status_code) == (200, 200)


@pytest.mark.parametrize("at", [None, "plain", peers.Plain])
def test_who_may_have_been_stopped_before_the_comparison_is_not_said_to_be_protected(at: Any, url: str) -> None:
    with busy("Werkzeug", url, note_editor) as app:
        if at is None:
            with pytest.raises(
                CannotRace, match=r"stopped at its write to editors.* written to plain .*at=\"plain\""
            ):
                race(app, saving(app, 1), saving(app, 2))
        else:
            first, second = race(app, saving(app, 1), saving(app, 2), at=at)
            assert (first.status_code, second.status_code) == (200, 200)


def touch_the_counter() -> None:
    peers.db.session.get_one(peers.Plain, 1)
    peers.db.session.execute(update(peers.Plain).values(number=peers.Plain.number))
    peers.db.session.commit()


def touch_another_counter() -> None:
    peers.db.session.get_one(peers.Plain, 2).number += 1
    peers.db.session.commit()


@pytest.mark.parametrize(
    ("at", "habit"),
    [
        (None, touch_the_counter),
        ("*", touch_the_counter),
        (peers.Plain, touch_the_counter),
        (None, touch_another_counter),
    ],
)
def test_who_writes_the_same_table_before_the_comparison_is_not_said_to_be_protected(
    at: Any, habit: Callable[[], None], url: str
) -> None:
    with busy("Werkzeug", url, habit) as app:
        with app.app_context():
            peers.db.session.merge(peers.Plain(id=2, number=1))
            peers.db.session.commit()
        with pytest.raises(CannotRace, match=r"first write to plain, read it again .* written to it 2 times"):
            race(app, saving(app, 1), saving(app, 2), at=at)


def test_where_only_a_text_names_the_table_the_advice_is_to_name_it(url: str) -> None:
    with busy("Werkzeug", url, note_editor) as app:

        @app.put("/by-text")
        def by_text_alone() -> Any:
            row = peers.db.session.execute(text("SELECT number FROM plain WHERE id = 1")).one()
            if not request.if_match.contains(str(row.number)):
                abort(412)
            number = request.get_json()["number"]
            peers.db.session.execute(text("UPDATE plain SET number = :number WHERE id = 1"), {"number": number})
            peers.db.session.commit()
            return {"number": number}

        def save(number: int) -> Callable[[FlaskClient], TestResponse]:
            return lambda client: client.put(
                "/by-text", json={"number": number}, headers={"If-Match": f'"{start}"'}
            )

        start = number(app)
        with pytest.raises(CannotRace, match=r'only a text names.*at="the name of its table"'):
            race(app, save(5), save(6))
        start = number(app)
        first, second = race(app, save(7), save(8), at="plain")
        assert (first.status_code, second.status_code) == (200, 200)


@pytest.mark.parametrize("habits", [(note_editor,), (write_log, by_text)])
@pytest.mark.parametrize("kind", ["versioned", "unversioned", "async"])
def test_a_decorated_view_is_stopped_where_it_has_been_judged_whatever_is_written_before(
    kind: str, habits: Any, url: str
) -> None:
    with busy(kind, url, *habits) as app:
        judged: list[bool] = []
        with decided.connected_to(lambda _, decision: judged.append(decision.raced), app):
            first, second = race(app, saving(app, 1), saving(app, 2), wait=WAITS[kind])
        assert {first.status_code, second.status_code} == {200, 412}
        assert (True in judged) == (kind != "unversioned")  # there, the second one waits, and is judged afterwards


def test_what_is_written_after_the_comparison_makes_nobody_doubt(url: str) -> None:
    with busy("Werkzeug", url, write_log, after=True) as app:
        first, second = race(app, saving(app, 1), saving(app, 2))
        assert (first.status_code, second.status_code) == (200, 200)


def test_a_connection_that_the_first_has_given_back_is_not_shared(url: str, tmp_path: Path) -> None:
    """As that of a log in a database of its own, which the second is given by the pool."""
    engine = create_engine(f"sqlite:///{tmp_path / 'log.db'}")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE log (line TEXT)"))

    def log() -> None:
        with engine.begin() as connection:
            connection.execute(text("INSERT INTO log VALUES ('PUT')"))

    with busy("Werkzeug", url, log) as app:
        first, second = race(app, saving(app, 1), saving(app, 2))
        assert (first.status_code, second.status_code) == (200, 200)
    engine.dispose()


@pytest.mark.parametrize("which", ["first", "second"])
def test_a_function_that_returns_no_response_is_named(which: str, url: str) -> None:
    with counting("versioned", url) as app:
        good = saving(app, 1)

        def forgets(client: FlaskClient) -> Any:
            good(client)

        sends = (forgets, good) if which == "first" else (good, forgets)
        with pytest.raises(TypeError, match=rf"^{which}\(\) returned no response"):
            race(app, *sends)


def test_a_statement_of_the_driver_s_is_heard_by_its_text(url: str) -> None:
    heard: list[Statement] = []
    engine = create_engine(url)
    with every_statement(heard.append), engine.connect() as connection:
        connection.exec_driver_sql("CREATE TABLE seen (id INTEGER)")
        connection.exec_driver_sql("UPDATE seen SET id = 1")
        connection.exec_driver_sql("SELECT id FROM seen")
    engine.dispose()
    assert [(bool(each.reads), bool(each.writes)) for each in heard] == [
        (False, True),
        (False, True),
        (True, False),
    ]


def test_what_is_written_outside_of_requests_or_by_others_stops_nobody(url: str) -> None:
    """A client may prepare its save by the database itself, and the application may have threads of its own."""
    with counting("versioned", url) as app:
        move, save, other = text("UPDATE kept SET number = number"), saving(app, 1), saving(app, 2)

        def write() -> None:
            with app.app_context(), peers.db.engine.begin() as connection:
                connection.execute(move)

        def first(client: FlaskClient) -> TestResponse:
            in_thread(write)
            write()
            return save(client)

        answers = race(app, first, other)
        assert {answer.status_code for answer in answers} == {200, 412}


def test_a_request_for_no_view_comes_to_none_that_is_decorated() -> None:
    assert not _is_decorated()
    with Flask("nothing").test_request_context("/nowhere"):
        assert not _is_decorated()
