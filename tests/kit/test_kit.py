"""The other three of the kit: what is not protected, what is written without a guard, and what the RFCs ask."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, request
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import delete, event, insert, update
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.orm import Session

from flask_etag import EntityTag, ETag, require_if_match, resource
from flask_etag.conformity import main
from flask_etag.sqlalchemy import Versioned
from flask_etag.testing import Case, assert_protected, conformance, unguarded_writes
from sample_app import create_app
from tests import ROOT
from tests.kit.counters import URL, Kept, counting
from tests.sample_app.shop import engine_of
from tests.servers.loopback import serving
from torture import peers

POT = {"name": "Pot", "description": "Round.", "price": "3", "stock": 9}
CLAUSES = 30


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'counters.db'}"


@pytest.fixture
def shop_app(tmp_path: Path) -> Iterator[Flask]:
    app = create_app({"SQLALCHEMY_DATABASE_URI": f"sqlite:///{tmp_path / 'shop.db'}", "TESTING": True})
    yield app
    engine_of(app).dispose()


def failed(cases: list[Case]) -> list[str]:
    return [case.name for case in cases if case.passed is False]


@pytest.mark.parametrize("path", ["/api/products/teapot", "/api/documents/memo"])
def test_ours_does_all_that_is_asked(shop_app: Flask, path: str) -> None:
    if "documents" in path:
        body: dict[str, Any] = {"body": "Buy clay.", "edits": 1}
        shop_app.test_client().put(path, json={"body": "", "edits": 0}, headers={"If-None-Match": "*"})
    else:
        body = POT
    before = shop_app.test_client().get(path).get_json()
    cases = list(conformance(shop_app, path, body))
    assert failed(cases) == []
    assert len([case for case in cases if case.passed]) >= CLAUSES
    after = shop_app.test_client().get(path).get_json()
    assert {**after, "updated_at": None} == {**before, "updated_at": None}


@pytest.mark.parametrize("kind", ["versioned", "unversioned", "async"])
def test_so_does_any_view_of_ours(kind: str, url: str) -> None:
    with counting(kind, url) as app:
        assert failed(list(conformance(app, URL, {"number": 5}))) == []


FAULTS = {
    "Werkzeug": {
        "a write by a tag without quotes is not done": "200, and it was written",
        "a write by If-Match: * is done where something is": "412",
    },
    "flask-smorest": {
        "a write by a tag without quotes is not done": "200, and it was written",
        "a write is refused where one of two conditions fails": "200, and it was written",
        "412 comes before the content is looked at": "400",
        "If-None-Match compares weakly": "200",
        "If-Match of another tag fails a read too": "200",
        "a 304 has the ETag of its 200": 'None, and 200 has "',
    },
}


@pytest.mark.parametrize("kind", FAULTS)
def test_it_finds_what_others_do_otherwise(kind: str, url: str) -> None:
    with counting(kind, url) as app:
        found = {case.name: case.answered for case in conformance(app, URL, {"number": 5}) if case.passed is False}
    for name, answered in FAULTS[kind].items():
        assert found[name].startswith(answered)


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("versioned", "Flask-ETag, with a version and without"),
        ("unversioned", "Flask-ETag, with a version and without"),
        ("Werkzeug", "a view by Werkzeug's"),
        ("flask-smorest", "flask-smorest, as documented"),
    ],
)
def test_the_page_counts_what_it_finds(kind: str, line: str, url: str) -> None:
    page = (ROOT / "docs" / "testing.md").read_text("utf-8")
    [(passed, failed)] = re.findall(rf"^\| {re.escape(line)}.*\| (\d+) \| (\d+) \|$", page, re.MULTILINE)
    with counting(kind, url) as app:
        found = Counter(case.passed for case in conformance(app, URL, {"number": 5}))
    assert (found[True], found[False]) == (int(passed), int(failed))


def test_without_another_content_what_needs_two_states_does_not_apply(shop_app: Flask) -> None:
    cases = list(conformance(shop_app, "/api/products/teapot"))
    assert failed(cases) == []
    assert {case.name for case in cases if case.passed is None} >= {"a new state has a new ETag"}


def test_what_has_no_tag_is_no_resource_to_ask(shop_app: Flask) -> None:
    with pytest.raises(ValueError, match="404"):
        next(conformance(shop_app, "/api/products/nothing"))


def test_a_url_of_anything_can_be_asked_from_the_command_line(shop_app: Flask, url: str) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-W", "error", "-m", "flask_etag.testing", *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    with serving(shop_app) as server:
        good = run(
            f"{server}/api/products/teapot", "--body", '{"name": "x", "description": "", "price": "3", "stock": 9}'
        )
        assert good.stderr == ""
        assert " passed, 0 failed, " in good.stdout
        assert good.returncode == 0
        nothing = run(f"{server}/api/products/nothing", "--header", "Accept: application/json")
        assert "404" in nothing.stderr
        assert nothing.returncode == 2
    with counting("Werkzeug", url) as app, serving(app) as server:
        bad = run(server + URL, "--body", '{"number": 5}', "--all")
        assert "FAILED: 13.1.1 a write by If-Match: * is done where something is" in bad.stdout
        assert "ok: 13.1.2 the current tag is not modified" in bad.stdout
        assert bad.returncode == 1


def test_a_resource_with_a_date_and_one_with_a_weak_tag(capsys: pytest.CaptureFixture[str]) -> None:
    app = Flask("pages")
    ETag(app)
    page = {"text": "first"}
    dated = datetime.now(UTC) - timedelta(days=1)

    @resource(etag=lambda page: EntityTag(page["text"]), last_modified=lambda _: dated, lock=nullcontext)
    def find_page() -> Any:
        return page

    @app.route("/page", methods=["GET", "PUT"])
    @require_if_match(find_page)
    def page_view(page: Any) -> Any:
        if request.method == "PUT":
            page["text"] = request.get_json()["text"]
        return dict(page)

    @app.get("/deep")
    def deep() -> Any:
        return "[" * 100_000, {"ETag": '"deep"'}

    @app.route("/weak", methods=["GET", "PUT"])
    def weak() -> Any:
        answer = app.make_response(dict(page))
        answer.set_etag(page["text"], weak=True)
        return answer.make_conditional(request) if request.method == "GET" else ("", 412)

    cases = {case.name: case for case in conformance(app, "/page", {"text": "second"})}
    assert failed([*cases.values()]) == []
    assert cases["not unmodified since long ago"].passed
    assert cases["Last-Modified is not later than Date"].passed is None  # Flask's test client gives no Date
    cases = {case.name: case for case in conformance(app, "/weak", {"text": "second"})}
    assert cases["a write of the current state is done"].answered == "the tag is weak"
    with serving(app) as server:
        assert main([f"{server}/page", "--body", '{"text": "second"}', "--all", "--header", "X-Any: 1"]) == 0
        assert "ok: 8.8.2.1 Last-Modified is not later than Date" in capsys.readouterr().out
        assert main([f"{server}/weak"]) == 1
        for url in (
            f"{server}/nothing",
            f"{server}/deep",
            f"{server}/ä",
            "http://no host/",
            "http://127.0.0.1:1/",
        ):
            with pytest.raises(SystemExit) as ended:
                main([url])
            assert ended.value.code == 2


def test_routes_that_are_not_protected_are_named(shop_app: Flask, url: str) -> None:
    with counting("versioned", url) as app:
        assert_protected(app)
    with pytest.raises(AssertionError, match=r"Not protected: PUT /unprotected/products/"):
        assert_protected(shop_app)


def test_writes_without_a_guard_are_named(url: str) -> None:
    with counting("versioned", url) as app:
        session: Any = peers.db.session

        @app.put("/bare/<int:counter_id>")
        def bare(counter_id: int) -> Any:
            session.get(Kept, counter_id).number = 7
            session.commit()
            return ""

        client = app.test_client()
        etag = client.get(URL).headers["ETag"]
        with unguarded_writes(app):
            assert client.put(URL, json={"number": 1}, headers={"If-Match": etag}).status_code == 200
            with app.app_context():
                session.add(Kept(id=2, number=0))
                session.commit()
                session.execute(insert(Kept).values(id=3, number=0, version=session.get(Kept, 2).version))
                session.get(peers.Plain, 1).number = 3
                session.commit()
        with pytest.raises(AssertionError, match=r"Kept \(PUT /bare/<int:counter_id>\)$"), unguarded_writes(app):
            client.put("/bare/1")

        def execute(statement: Any) -> None:
            with unguarded_writes(app), app.app_context():
                session.execute(statement)
                session.commit()

        def delete_one() -> None:
            with unguarded_writes(app), app.app_context():
                session.delete(session.get(Kept, 2))
                session.commit()

        table: Any = Kept.__table__
        row = {"id": 1, "number": 1, "version": "of before"}

        def bulk(write: Callable[[], object]) -> None:
            with app.app_context():
                session.merge(Kept(id=1, number=0))
                session.commit()
                row["version"] = session.get_one(Kept, 1).version
                session.rollback()
                with unguarded_writes(app):
                    write()
                    session.commit()

        def of_another_session() -> Kept:
            kept: Kept = session.get_one(Kept, 1)
            session.expunge(kept)
            kept.number += 3
            return kept

        writes: list[Callable[[], None]] = [
            lambda: execute(update(Kept).values(number=1)),
            lambda: execute(delete(Kept).where(Kept.id == 3)),
            delete_one,
            lambda: execute(update(table).values(number=1)),
            lambda: execute(delete(table)),
            lambda: execute(upsert(Kept).values(row).on_conflict_do_update(["id"], set_={"number": 9})),
            lambda: execute(insert(table).prefix_with("OR REPLACE").values(row)),
            lambda: bulk(lambda: session.bulk_update_mappings(Kept, [{**row, "number": 2}])),
            lambda: bulk(lambda: session.bulk_save_objects([of_another_session()])),
            lambda: bulk(lambda: session.execute(update(Kept), [{**row, "number": 4}])),
            lambda: bulk(lambda: session.connection().execute(update(table).values(number=5))),
        ]
        for write in writes:
            with pytest.raises(AssertionError, match=r"Kept \(outside of a request\)$"):
                write()


def test_what_does_not_count_needs_no_guard(shop_app: Flask, tmp_path: Path) -> None:
    """Of a change of columns that are ``__unversioned__`` nobody's tag says anything."""
    app = Flask("seen")
    app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{tmp_path / 'seen.db'}"
    db = SQLAlchemy(app)

    class Seen(Versioned, db.Model):  # type: ignore[name-defined,misc]
        __unversioned__ = frozenset({"views", "stamped"})
        id = db.Column(db.Integer, primary_key=True)
        views = db.Column("view_count", db.Integer, default=0)
        stamped = db.Column(db.Integer, default=0)
        text = db.Column(db.Text)

    def stamp(_mapper: object, _connection: object, target: Any) -> None:
        target.stamped += 1

    def look(_: Session) -> None:
        db.session.get_one(Seen, 1).views += 1

    of_one, table = update(Seen).where(Seen.id == 1), Seen.__table__
    writes: dict[Callable[[Session], object], bool] = {
        look: False,
        lambda session: session.execute(of_one.values(views=Seen.views + 1, stamped=2)): False,
        lambda session: session.execute(of_one.values({Seen.views: 3})): False,
        lambda session: session.execute(of_one.values({"views": 3})): False,
        lambda session: session.execute(of_one, {"view_count": 4}): False,
        lambda session: session.query(Seen).update({"views": 5, Seen.stamped: 2}): False,
        lambda session: session.query(Seen).update({"views": 5, "text": ""}): True,
        lambda session: session.execute(of_one, {"view_count": 4, "text": ""}): True,
        lambda session: session.execute(of_one.ordered_values((Seen.views, 1), (Seen.text, ""))): True,
        lambda session: session.execute(of_one.ordered_values((Seen.views, 1), (Seen.stamped, 1))): False,
        lambda session: setattr(session.get(Seen, 1), "text", "mine"): True,
        lambda session: session.execute(delete(Seen).where(table.c.view_count == 77)): True,
    }
    event.listen(Seen, "before_update", stamp)
    with app.app_context():
        db.create_all()
        db.session.add(Seen(id=1))
        db.session.commit()
        told = []
        for write in writes:
            try:
                with unguarded_writes(app):
                    write(db.session())
                    db.session.commit()
                told.append(False)
            except AssertionError:
                told.append(True)
        assert told == list(writes.values())
        db.engine.dispose()


def test_without_sqlalchemy_nothing_is_seen_and_that_is_said(
    shop_app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flask_etag.testing.every_unguarded_write", None)
    with pytest.raises(RuntimeError, match="not installed"), unguarded_writes(shop_app):
        pass


def test_writes_of_another_application_are_its_own(shop_app: Flask, url: str) -> None:
    with counting("versioned", url) as app, unguarded_writes(shop_app), app.app_context():
        peers.db.session.delete(peers.db.session.get(Kept, 1))
        peers.db.session.commit()


def test_what_a_resource_does_not_have_is_told_as_what_does_not_apply() -> None:
    app = Flask("page")

    @app.route("/page", methods=["GET", "PUT"])
    def page() -> tuple[dict[str, str], dict[str, str]]:
        return {"text": "first"}, {"ETag": '"123456"'}

    cases = {case.name: case for case in conformance(app, "/page")}
    [characters] = [case for name, case in cases.items() if "each character" in name]
    assert (characters.passed, characters.answered) == (None, "the tag has no letters")
    assert (cases["a 304 has what its 200 has"].passed, cases["a 304 has what its 200 has"].answered) == (
        None,
        "200",
    )
