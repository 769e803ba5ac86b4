"""What the code of each page does, as it is shown there, and nothing else beside it."""

from __future__ import annotations

import io
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import flask_restx
import pytest
from flask import Flask, request
from flask_compress import Compress
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import create_engine, event, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from flask_etag import ETag, content_hash, etag_resource, require_if_match, resource, version_column
from flask_etag.client import Clash, read, save
from flask_etag.sqlalchemy import Versioned, touch
from tests import ROOT
from tests.docs import pages
from tests.proxies.desk import Desk
from tests.world.racing import Racer, in_thread

Page = Callable[..., ModuleType]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_page_hides_no_code_from_who_copies_it(path: Path) -> None:
    source = path.read_text("utf-8")
    assert "invisible-code" not in source
    assert "\nfrom tests" not in source


def if_match(tag: str) -> dict[str, str]:
    return {"If-Match": tag}


def if_none_match(tag: str) -> dict[str, str]:
    return {"If-None-Match": tag}


# Views and access


@pytest.fixture
def views(page: Page) -> ModuleType:
    return page("views")


def test_views_create_replace_and_delete(views: ModuleType) -> None:
    client = views.app.test_client()
    assert client.put("/notes/1", json={"body": "first"}).status_code == 428
    assert client.put("/notes/1", json={"body": "first"}, headers=if_match("*")).json["reason"] == "absent"
    created = client.put("/notes/1", json={"body": "first"}, headers=if_none_match("*"))
    assert created.status_code == 201
    assert client.put("/notes/1", json={"body": "again"}, headers=if_none_match("*")).json["reason"] == "exists"
    replaced = client.put("/notes/1", json={"body": "second"}, headers=if_match(created.headers["ETag"]))
    assert replaced.status_code == 200
    made = client.post("/notes", json={"body": "made"})
    assert made.status_code == 201
    assert (
        client.put(made.location, json={"body": "on"}, headers=if_match(made.headers["ETag"])).status_code == 200
    )
    assert client.delete("/notes/1", headers=if_match(created.headers["ETag"])).status_code == 412
    gone = client.delete("/notes/1", headers=if_match(replaced.headers["ETag"]))
    assert (gone.status_code, "ETag" in gone.headers) == (204, False)
    assert client.delete("/notes/1", headers=if_match("*")).status_code == 404


def test_views_in_a_class_are_protected(views: ModuleType) -> None:
    client = views.app.test_client()
    client.put("/notes/2", json={"body": "on"}, headers=if_none_match("*"))
    tag = client.get("/class/2").headers["ETag"]
    assert client.get("/class/2", headers=if_none_match(tag)).status_code == 304
    assert client.patch("/class/2", json={"more": "!"}).status_code == 428
    assert client.patch("/class/2", json={"more": "!"}, headers=if_match(tag)).json == {"body": "on!"}
    wrapped = client.get("/wrapped/2")
    assert (wrapped.json, wrapped.headers["ETag"]) == ({"body": "on!"}, client.get("/class/2").headers["ETag"])
    assert client.get("/wrapped/2", headers=if_none_match(wrapped.headers["ETag"])).status_code == 304


def test_views_of_collections_have_tags_of_what_they_show(views: ModuleType) -> None:
    client = views.app.test_client()
    for path in ("/notes", "/some-notes", "/report"):
        tag = client.get(path).headers["ETag"]
        assert client.get(path, headers=if_none_match(tag)).status_code == 304
        client.post("/notes", json={"body": "one"})
        assert client.get(path, headers=if_none_match(tag)).status_code == 200
    some = client.get("/some-notes").json
    assert some["total"] == len(some["notes"]) == client.get("/report").json["notes"] == 3


def test_views_of_several_write_all_or_none(views: ModuleType) -> None:
    client = views.app.test_client()
    client.put("/notes/2", json={"body": "on"}, headers=if_none_match("*"))
    items = [{**item, "body": "together"} for item in client.get("/notes").json]
    patched = client.patch("/notes", json=items).json
    assert patched == client.get("/notes").json
    assert client.patch("/notes", json=items).json["items"] == [
        {"index": 0, "note_id": 2, "reason": "stale", "etag": patched[0]["etag"]}
    ]
    assert client.patch("/notes", json=[{"id": 2}]).status_code == 428
    assert client.put("/notes/2", json={"body": "x"}, headers=if_match(patched[0]["etag"])).status_code == 200


def test_views_leave_a_wide_column_for_later(views: ModuleType) -> None:
    statements: list[str] = []
    with views.app.app_context():
        views.db.session.add(views.Report(id=1, owner="ann", body="x" * 2**20))
        views.db.session.commit()
        event.listen(views.db.engine, "before_cursor_execute", lambda *call: statements.append(call[2]))
    client, ann = views.app.test_client(), {"User": "ann"}
    tag = client.get("/reports/1", headers=ann).headers["ETag"]
    statements.clear()
    assert client.get("/reports/1", headers={**ann, **if_none_match(tag)}).status_code == 304
    [statement] = statements
    assert "version" in statement
    assert "body" not in statement
    statements.clear()
    changed = client.get("/reports/1", headers={**ann, **if_none_match('"other"')})
    assert (changed.status_code, len(changed.json["body"]), len(statements)) == (200, 2**20, 2)
    for user, path, status in (("bob", "/reports/1", 403), ("ann", "/reports/2", 404)):
        assert client.get(path, headers={"User": user, **if_none_match(tag)}).status_code == status


def test_views_revive_what_is_softly_deleted(views: ModuleType) -> None:
    client = views.app.test_client()

    def put(body: str, headers: dict[str, str]) -> Any:
        return client.put("/boards/a", json={"body": body}, headers=headers)

    old = if_match(put("first", if_none_match("*")).headers["ETag"])
    assert client.delete("/boards/a", headers=old).status_code == 204
    assert client.delete("/boards/a", headers=old).status_code == 404
    assert put("again", old).json["reason"] == "absent"
    revived = put("again", if_none_match("*"))
    assert (revived.status_code, revived.json) == (201, {"body": "again"})
    assert put("mine", old).status_code == 412
    assert put("mine", if_match(revived.headers["ETag"])).status_code == 200


def test_views_below_another_share_its_tag(views: ModuleType) -> None:
    with views.app.app_context():
        lines = [views.Line(id=2, text="first"), views.Line(id=3, text="other")]
        views.db.session.add(views.Order(id=1, lines=lines))
        views.db.session.commit()
    client = views.app.test_client()
    tag = client.get("/orders/1").headers["ETag"]
    saved = client.put("/orders/1/lines/2", json={"text": "mine"}, headers=if_match(tag))
    assert saved.status_code == 200
    assert saved.headers["ETag"] == client.get("/orders/1").headers["ETag"] != tag
    assert client.put("/orders/1/lines/3", json={"text": "stale"}, headers=if_match(tag)).status_code == 412
    new = if_match(saved.headers["ETag"])
    assert client.put("/orders/1/lines/9", json={"text": ""}, headers=new).status_code == 404


def test_access_is_decided_before_any_condition(page: Page) -> None:
    shown = page("access")
    with shown.app.app_context():
        shown.db.session.add(shown.Note(id=1, body="first", owner="ann"))
        shown.db.session.commit()
    client = shown.app.test_client()
    ann, bob = {"User": "ann"}, {"User": "bob"}
    for send in (client.get, client.put):
        assert send("/notes/1").status_code == send("/notes/2").status_code == 401
        assert send("/notes/1", headers={**if_none_match("*"), **bob}).status_code == 403
    tag = client.get("/notes/1", headers=ann).headers["ETag"]
    exposed = [
        client.get("/notes/1", headers={**if_none_match(tag), **ann}),
        client.put("/notes/1", headers={**if_match('"stale"'), **ann}),
        client.put("/notes/1", headers=ann),
        client.options("/notes/1", headers={**if_match('"stale"'), "Access-Control-Request-Method": "PUT"}),
        client.put("/notes/1", json={"body": "mine"}, headers={**if_match(tag), **ann}),
    ]
    assert [answer.status_code for answer in exposed] == [304, 412, 428, 200, 200]
    assert all(answer.headers["Access-Control-Expose-Headers"] == "ETag" for answer in exposed)
    assert exposed[0].headers["Cache-Control"] == "private, max-age=0, must-revalidate"
    assert exposed[1].headers["Cache-Control"] == exposed[2].headers["Cache-Control"] == "no-store"
    for headers, status in (({}, 200), (if_none_match('"1"'), 304)):
        answer = client.get("/pages/home", headers=headers)
        assert (answer.status_code, answer.headers["Cache-Control"]) == (status, "public, max-age=60")


# Validators and models


class Base(DeclarativeBase):
    pass


class Columns:
    id: Mapped[int] = mapped_column(primary_key=True)
    body: Mapped[str] = mapped_column(default="first")


class WithVersion(Versioned, Columns, Base):
    __tablename__ = "with_version"


class Counted(Columns, Base):
    __tablename__ = "counted"

    revision: Mapped[int] = mapped_column()
    __mapper_args__ = {"version_id_col": revision}  # noqa: RUF012 - SQLAlchemy's


class Plain(Columns, Base):
    __tablename__ = "plain"

    revision: Mapped[int] = mapped_column(default=1)


class Own(Columns, Base):
    __tablename__ = "own"

    def __etag__(self) -> str:
        return f"v-{self.body}"


KINDS: dict[str, tuple[Any, Any]] = {
    "Versioned": (WithVersion, None),
    "version_id_col": (Counted, None),
    "version_column": (Plain, version_column("revision")),
    "content_hash": (Plain, content_hash(lambda row: {"id": row.id, "body": row.body})),
    "__etag__": (Own, None),
    "function": (Plain, lambda row: row.body),
}


@pytest.fixture
def rows(tmp_path: Path) -> Iterator[SimpleNamespace]:
    """An application with a resource for each line of the page's table."""
    app = Flask("rows")
    app.testing = True
    app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{tmp_path / 'rows.db'}"
    db = SQLAlchemy(app, model_class=Base, session_options={"expire_on_commit": False})
    ETag(app)

    def replace(row: Any) -> str:
        row.body = request.get_data(as_text=True)
        if isinstance(row, Plain):
            row.revision += 1
        db.session.commit()
        return ""

    for name, (model, validator) in KINDS.items():

        @resource(etag=validator)
        def find(row_id: int, model: Any = model) -> Any:
            return db.session.get(model, row_id)

        app.get(f"/{name}/<int:row_id>", endpoint=f"get {name}")(etag_resource(find)(lambda row: ""))
        app.put(f"/{name}/<int:row_id>", endpoint=f"put {name}")(require_if_match(find)(replace))
    with app.app_context():
        db.create_all()
        db.session.add_all([model(id=1) for model in (WithVersion, Counted, Plain, Own)])
        db.session.commit()
    yield SimpleNamespace(app=app, db=db)
    pages.close([app])


@pytest.mark.parametrize(
    ("kind", "has_version"),
    [
        ("Versioned", True),
        ("version_id_col", True),
        ("version_column", False),
        ("content_hash", False),
        ("__etag__", False),
        ("function", False),
    ],
)
def test_a_validator_costs_what_the_page_says(rows: SimpleNamespace, kind: str, has_version: bool) -> None:
    statements: list[str] = []
    client, url = rows.app.test_client(), f"/{kind}/1"

    def note(*call: Any) -> None:
        if (word := call[2].split()[0]) in ("SELECT", "UPDATE", "INSERT", "DELETE"):
            statements.append(word)

    with rows.app.app_context():
        event.listen(rows.db.engine, "before_cursor_execute", note)

    def sent(method: str, status: int, **request: Any) -> Any:
        statements.clear()
        answer = client.open(url, method=method, **request)
        assert answer.status_code == status
        return answer

    tag = sent("GET", 200).headers["ETag"]
    assert statements == ["SELECT"]
    sent("GET", 304, headers=if_none_match(tag))
    assert statements == ["SELECT"]
    sent("PUT", 412, headers=if_match('"other"'))
    assert statements == ["SELECT"]
    sent("PUT", 200, headers=if_match(tag), data="mine")
    if has_version:
        assert statements == ["SELECT", "UPDATE"]
    else:
        assert (statements[0], statements[-2:]) == ("SELECT", ["UPDATE", "SELECT"])
        assert len(statements) <= 5


def test_validators_tell_what_is_a_state_and_what_is_shown_of_others(page: Page) -> None:
    shown = page("validators")
    client = shown.app.test_client()
    assert client.get("/texts/home").text == '{"text":"Welcome","title":"Home"}'
    memo = client.get("/memos/1").headers["ETag"]
    shown.memos[1]["seen_by"].append("bob")
    assert client.get("/memos/1", headers=if_none_match(memo)).status_code == 304
    shown.memos[1]["body"] = "bread"
    assert client.get("/memos/1", headers=if_none_match(memo)).status_code == 200
    english, german = (client.get("/pages/home", headers={"Accept-Language": code}) for code in ("en", "de"))
    assert (english.json, german.json) == ({"text": "Welcome"}, {"text": "Willkommen"})
    assert english.headers["ETag"].partition(".")[0] == german.headers["ETag"].partition(".")[0]
    assert english.headers["ETag"] != german.headers["ETag"]
    note = client.get("/notes/1").headers["ETag"]
    assert client.get("/notes/1", headers=if_none_match(note)).status_code == 304
    shown.authors[7] = "Anna"
    assert client.get("/notes/1", headers=if_none_match(note)).json["author"] == "Anna"
    assert client.put("/notes/1", json={"body": "second"}, headers=if_match(note)).status_code == 200
    assert client.put("/notes/1", json={"body": "late"}, headers=if_match(note)).status_code == 412


def test_models_move_their_versions(page: Page) -> None:
    shown = page("models")

    def moves(model: Any, change: Callable[[Any], object], **members: Any) -> bool:
        engine = create_engine("sqlite://")
        model.metadata.create_all(engine)
        with Session(engine) as session:
            made = model(**members)
            session.add(made)
            session.commit()
            before = made.version
            change(made)
            session.commit()
            moved = made.version != before
        engine.dispose()
        return bool(moved)

    assert not moves(shown.User, lambda user: setattr(user, "last_seen", datetime.now(UTC)), name="Ann")
    assert moves(shown.User, lambda user: setattr(user, "name", "Bob"), name="Ann")
    assert moves(shown.Task, lambda task: setattr(task, "title", "No plants"), title="Water the plants")
    assert moves(shown.Hero, lambda hero: setattr(hero, "name", "Bob"), name="Ann")
    assert shown.Hero(name="Ann").model_dump() == {"id": None, "name": "Ann"}
    assert moves(shown.Dog, lambda dog: setattr(dog, "bark", "loud"))
    assert set(shown.TaskSchema().fields) == {"id", "title"}


def test_a_history_knows_the_tag_that_a_state_had(page: Page) -> None:
    from sqlalchemy_continuum import remove_versioning  # noqa: PLC0415 - its import takes long

    shown = page("history")
    find_note = resource(lambda note_id: shown.db.session.get(shown.Note, note_id))
    with shown.app.app_context():
        note = shown.Note(id=1, body="first")
        shown.db.session.add(note)
        shown.db.session.commit()
        tags = [str(find_note.etag_of(note))]
        note.body = "second"
        shown.db.session.commit()
        tags.append(str(find_note.etag_of(note)))
        touch(note)
        shown.db.session.commit()
        assert shown.state_named(str(find_note.etag_of(note)), 1) is None  # what moves the version alone
        shown.db.session.delete(note)
        shown.db.session.commit()
        assert shown.trail(1) == [{"body": "first", "etag": tags[0]}, {"body": "second", "etag": tags[1]}]
        assert [shown.state_named(tag, 1).body for tag in tags] == ["first", "second"]
        assert shown.state_named(None, 1) is None
    remove_versioning()


# Guards, and what goes on beside them


def test_guards_hold_a_statement_of_one_s_own(page: Page) -> None:
    shown = page("guards", "Statements of your own")
    with shown.app.app_context():
        shown.db.session.add(shown.Product(id=1, stock=7))
        shown.db.session.commit()
    client = shown.app.test_client()
    tag = client.get("/products/1").headers["ETag"]
    first, second = (client.post("/products/1/sold", headers=if_match(tag)) for _ in range(2))
    now = client.get("/products/1")
    assert (first.status_code, second.status_code) == (204, 412)
    assert first.headers["ETag"] == second.headers["ETag"] == now.headers["ETag"] != tag
    assert now.json == {"stock": 6}


@pytest.mark.parametrize(("url", "lock"), [("/memos/one", "locks"), ("/pages/home", "locked_page")])
def test_guards_of_other_stores_let_one_wait_for_another(page: Page, url: str, lock: str) -> None:
    shown = page("guards", "Other stores")
    client = shown.app.test_client()
    name = url.rpartition("/")[2]
    first = client.put(url, json={"text": "first"}, headers=if_none_match("*"))
    if first.status_code == 412:  # the memo is there to begin with
        first = client.put(url, json={"text": "first"}, headers=if_match("*"))
    tag = first.headers["ETag"]
    is_held = shown.locks[name] if lock == "locks" else shown.locked_page(name)
    with is_held:
        racers = [
            Racer(lambda: shown.app.test_client().put(url, json={"text": "new"}, headers=if_match(tag)))
            for _ in range(2)
        ]
        for racer in racers:
            racer.join(0.1)
        assert all(racer.is_alive() for racer in racers)
    answers = [racer.answer() for racer in racers]
    assert sorted(answer.status_code for answer in answers) == [200, 412]
    assert answers[0].headers["ETag"] == answers[1].headers["ETag"]


def test_guards_by_a_swap_refuse_who_is_overtaken(page: Page) -> None:
    shown = page("guards", "Other stores")
    client = shown.app.test_client()
    tag = client.put("/entries/one", json={}, headers=if_match('"stale"')).headers["ETag"]
    saved = client.put("/entries/one", json={"text": "second"}, headers=if_match(tag))
    assert saved.status_code == 200
    replace = shown.Store.replace
    shown.Store.replace = lambda store, name, seen, new: replace(store, name, {"text": "overtaken"}, new)
    refused = client.put("/entries/one", json={"text": "third"}, headers=if_match(saved.headers["ETag"]))
    assert (refused.status_code, refused.json["reason"]) == (409, "conflict")


def test_guards_cover_what_belongs_to_an_object(page: Page) -> None:
    shown = page("guards", "What belongs to an object")
    engine = create_engine("sqlite://")
    shown.Base.metadata.create_all(engine)
    with Session(engine) as session:
        order = shown.Order(lines=[shown.Line(text="first")])
        session.add(order)
        session.commit()
        before = order.version
        order.lines[0].text = "second"
        session.commit()
        assert order.version != before
    engine.dispose()


def test_a_conflict_of_a_view_that_is_not_decorated_is_409(page: Page) -> None:
    shown = page("beside")
    db = shown.db
    with shown.app.app_context():
        db.session.add_all([shown.Note(id=1), shown.Note(id=2, body="teh end")])
        db.session.commit()

    def overtake(*_: object) -> None:
        def write() -> None:
            with shown.app.app_context():
                db.session.get_one(shown.Note, 1).body = "theirs"
                db.session.commit()

        in_thread(write)

    with shown.app.app_context():
        event.listen(db.session, "before_flush", overtake, once=True)
    answer = shown.app.test_client().put("/notes/1", json={"body": "mine"})
    assert (answer.status_code, answer.content_type) == (409, "application/problem+json")
    assert answer.json["reason"] == "conflict"
    with shown.app.app_context():
        old = db.session.get(shown.Note, 2).version
        shown.correct(db.session, 2)
        note = db.session.get(shown.Note, 2)
        assert note.body == "the end"
        assert note.version != old
        old = note.version
        shown.publish(db.session, [2])
        db.session.expire_all()
        assert db.session.get(shown.Note, 2).version != old


def test_a_lost_answer_is_given_again(page: Page) -> None:
    shown = page("lost-answers")
    with shown.app.app_context():
        shown.db.session.add(shown.Note(id=1, body="first"))
        shown.db.session.commit()
    client = shown.app.test_client()
    tag = client.get("/notes/1").headers["ETag"]

    def put(body: str, tag: str, user: str = "ann") -> Any:
        return client.put("/notes/1", json={"body": body}, headers={**if_match(tag), "User": user})

    first, again, other = put("second", tag), put("second", tag), put("second", tag, "bob")
    assert (first.status_code, again.status_code, other.status_code) == (200, 200, 412)
    assert first.headers["ETag"] == again.headers["ETag"]
    assert (again.json, again.headers["Content-Location"]) == ({"body": "second"}, "/notes/1")
    assert put("third", first.headers["ETag"], "bob").status_code == 200
    assert put("second", tag).status_code == 412


def test_a_body_that_is_cached_under_its_tag_is_rendered_once(page: Page) -> None:
    shown = page("server-caches")
    rendered: list[str] = []
    with shown.app.app_context():
        shown.db.session.add(shown.Note(id=1, body="first"))
        shown.db.session.commit()
    client = shown.app.test_client()
    render = shown.render

    def noted(note: Any) -> Any:
        rendered.append(note.body)
        return render(note)

    vars(shown)["render"] = noted
    for path in ("/notes/1", "/board/1"):
        for body in ("second", "third"):
            answers = [client.get(path) for _ in range(3)]
            assert len({answer.text for answer in answers}) == len(rendered) == 1, rendered
            tag = answers[0].headers["ETag"]
            assert client.get(path, headers=if_none_match(tag)).status_code == 304
            assert client.put("/notes/1", json={"body": body}, headers=if_match(tag)).status_code == 200
            rendered.clear()
    tag = client.get("/notes/1").headers["ETag"]
    assert client.get("/public/1", headers=if_none_match(tag)).status_code == 304
    assert client.get("/public/1").json == client.get("/public/1").json == {"body": "third"}


# Clients and tests


def test_clients_merge_what_does_not_clash(page: Page) -> None:
    shown = page("clients")
    client = shown.client
    lamp = shown.products["lamp"]
    assert (lamp["stock"], len(lamp["sold"])) == (1, 1)  # two were sold, the second by what leaves its mark
    assert shown.copy.content["name"] == "Desk lamp"
    merged = save(client, "/products/lamp", shown.base, {**shown.base.content, "price": "36"})
    assert (merged.content["name"], merged.content["price"]) == ("Desk lamp", "36")
    with pytest.raises(Clash) as refused:
        save(client, "/products/lamp", shown.base, {**shown.base.content, "name": "Table lamp"})
    assert refused.value.pointers == ["/name"]
    for _ in range(2):
        shown.update(client, "/products/lamp", shown.add_visit)
    assert read(client, "/products/lamp").content["visits"] == ["2026-11-26 ann"]
    shown.cached.close()


def test_the_tests_of_the_page_pass_as_they_are_saved(tmp_path: Path) -> None:
    pages.give_quickstart(tmp_path)
    (tmp_path / "test_app.py").write_text(pages.shown("testing").replace("max_examples=20", "max_examples=3"))
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "--rootdir", "."],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert int(ran.stdout.split(" passed")[0].split()[-1]) > 60


def test_a_document_is_described_once(page: Page) -> None:
    shown = page("openapi")
    item = shown.document["paths"]["/notes/{note_id}"]
    assert set(item["get"]["responses"]) == {"200", "304", "412"}
    assert set(item["put"]["responses"]) == {"200", "409", "412", "428"}
    [link] = item["get"]["responses"]["200"]["links"].values()
    assert link["parameters"]["header.If-Match"] == "$response.header.ETag"
    schemas = {"PreconditionFailedProblem", "PreconditionRequiredProblem", "WriteConflictProblem"}
    assert set(shown.document["components"]["schemas"]) == schemas
    once = repr(shown.document)
    assert repr(shown.describe(shown.document, shown.app)) == once


def test_a_basket_counts_its_items(page: Page) -> None:
    basket = page("torture").basket
    assert basket.read(basket.write({"items": []}, 1)) == 1


# Settings and answers


def test_configuration_shows_the_audit_as_it_is_printed(page: Page) -> None:
    excused = page("configuration").app.test_cli_runner().invoke(args=["etag", "routes", "--check"])
    assert excused.exit_code == 0
    assert "exempt: takes away only the caller's own star" in excused.output

    @resource
    def find_note(note_id: int) -> WithVersion:
        return WithVersion(id=note_id)

    app = Flask(__name__, static_folder=None)
    ETag(app)
    app.post("/notes", endpoint="add")(lambda: "")
    app.get("/notes/<int:note_id>", endpoint="read")(etag_resource(find_note)(lambda note: ""))
    app.put("/notes/<int:note_id>", endpoint="replace")(require_if_match(find_note)(lambda note: ""))
    app.delete("/notes/<int:note_id>", endpoint="delete")(lambda note_id: "")
    ran = app.test_cli_runner().invoke(args=["etag", "routes", "--check"])
    assert ran.exit_code == 1
    assert ran.output in (ROOT / "docs" / "configuration.md").read_text("utf-8")


def test_an_epoch_with_a_point_needs_quotes(monkeypatch: pytest.MonkeyPatch) -> None:
    def configured(value: str) -> Flask:
        monkeypatch.setenv("FLASK_ETAG_EPOCH", value)
        app = Flask(__name__)
        app.config.from_prefixed_env()
        return app

    ETag(configured('"1.10"'))
    with pytest.raises(ValueError, match="ETAG_EPOCH"):
        ETag(configured("1.10"))


def test_errors_are_answered_by_the_handlers_of_the_page(page: Page) -> None:
    shown = page("errors")

    @resource(etag=lambda page: page)
    def find_page() -> str:
        return "v1"

    for app in (shown.app, shown.other):
        app.put("/")(require_if_match(find_page)(lambda page: ""))
    client, other = shown.app.test_client(), shown.other.test_client()
    refused = client.put("/", headers=if_match('"v0"'))
    assert refused.json == {"message": "Somebody else was faster.", "etag": '"v1"'}
    problem = client.put("/")
    assert problem.content_type == "application/problem+json"
    assert problem.headers["Cache-Control"] == "no-store"
    assert set(problem.json) == {"type", "title", "status", "detail", "reason"}
    refused = other.put("/", headers=if_match('"v0"'))
    assert refused.headers["ETag"] == refused.json["etag"] == '"v1"'
    assert (refused.status_code, refused.json["code"], refused.json["reason"]) == (412, 412, "stale")
    assert refused.headers["Cache-Control"] == "no-store"
    assert other.get("/nowhere").json["code"] == 404

    class PageView(flask_restx.Resource):  # type: ignore[misc]
        @require_if_match(find_page)
        def put(self, page: str) -> str:
            return page

    ETag(shown.api.app)
    shown.api.add_resource(PageView, "/page")
    restx = shown.api.app.test_client()
    refused = restx.put("/page", headers=if_match('"v0"'))
    assert (refused.status_code, refused.json.keys()) == (412, {"code", "message", "reason", "etag"})
    assert refused.json["etag"] == '"v1"'
    assert (refused.headers["ETag"], refused.headers["Cache-Control"]) == ('"v1"', "no-store")
    assert restx.get("/page").json.keys() == {"code", "message"}


# In service


def test_decisions_are_seen_as_the_page_says(page: Page) -> None:
    shown = page("seeing")
    log = logging.getLogger("flask_etag")
    try:
        client = shown.app.test_client()
        client.get("/")
        client.get("/", headers=if_none_match('"v1"'))
        client.put("/", json={"text": "mine"}, headers=if_match('"v1"'))
        shown.handler.setStream(io.StringIO())
        client.put("/", json={"text": "late"}, headers=if_match('"v1"'))
        assert shown.handler.stream.getvalue().endswith('stale: PUT write raced=False sent="v1" current="v2"\n')
        client.put("/")
        client.post("/")
    finally:
        log.removeHandler(shown.handler)
        log.setLevel(logging.NOTSET)
    assert shown.counts == {
        ("read", "served", None, False): 1,
        ("read", "unchanged", None, False): 1,
        ("write", "accepted", None, False): 1,
        ("write", "refused", "stale", False): 1,
        ("write", "refused", "missing", False): 1,
    }


def test_a_roll_out_names_who_is_not_ready(page: Page, caplog: pytest.LogCaptureFixture) -> None:
    shown = page("rollout", "4. Find the clients that are not ready")

    @resource(etag=lambda page: "v1", swaps=True)
    def find_page() -> str:
        return "page"

    shown.app.put("/", endpoint="replace")(require_if_match(find_page)(lambda page: ""))
    client = shown.app.test_client()
    for _ in range(3):
        assert client.put("/", headers=if_match('"v1"')).status_code == 200
    assert client.put("/", headers={"User-Agent": "nightly/1.0", "X-Request-ID": "r-7"}).status_code == 200
    assert "PUT replace by 'nightly/1.0', request r-7" in caplog.text
    assert [shown.share_that_is_ready(endpoint) for endpoint in ("replace", "other")] == [0.75, 1]


def test_a_roll_out_enforces_view_by_view(page: Page) -> None:
    shown = page("rollout", "5. Enforce, view by view")
    client = shown.app.test_client()
    assert client.put("/pages/home", json={"text": "mine"}).json == {"text": "mine"}
    assert client.put("/pages/home", json={}, headers=if_match('"stale"')).status_code == 412


def test_contention_sets_a_pool_and_a_timeout(page: Page) -> None:
    shown = page("contention")
    options = {**shown.SQLALCHEMY_ENGINE_OPTIONS, "connect_args": shown.SQLITE}
    engine = create_engine("sqlite:///contention.db", **options)
    with engine.connect() as connection:
        assert connection.execute(text("PRAGMA busy_timeout")).scalar() == 2000
        assert engine.pool.size() == shown.THREADS  # type: ignore[attr-defined]
    engine.dispose()


def test_a_replica_serves_the_reads(page: Page) -> None:
    shown = page("many-machines", "Reading from a replica")
    for name, method in ((None, "PUT"), ("replica", "GET")):
        with shown.app.test_request_context(method=method):
            assert shown.db.session.connection().engine is shown.db.engines[name]
            shown.db.session.remove()


def test_an_outage_is_503_and_says_what_is_known(page: Page) -> None:
    shown = page("many-machines", "What an outage answers")
    tables = page("views")
    shown.app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite:////nowhere/at/all.db"
    tables.db.init_app(shown.app)
    ETag(shown.app)
    found = tables.find_note
    shown.app.get("/<int:note_id>", endpoint="read")(etag_resource(found)(lambda note: ""))
    shown.app.put("/<int:note_id>", endpoint="write")(require_if_match(found)(lambda note: ""))
    for method, says in (("GET", False), ("PUT", True)):
        answer = shown.app.test_client().open("/1", method=method, headers=if_match('"x"'))
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5"), answer.text
        assert answer.content_type == "application/problem+json"
        assert answer.headers["Cache-Control"] == "no-store"
        assert ("not known" in answer.get_json()["detail"]) is says
        assert "ETag" not in answer.headers


def test_a_node_that_is_not_ready_is_no_connection(page: Page) -> None:
    shown = page("many-machines", "Galera, and other clusters with several nodes to write to")
    for code, is_lost in ((1047, True), (1213, False)):
        context = SimpleNamespace(original_exception=Exception(code, "..."), is_disconnect=False)
        shown.not_ready_is_no_connection(context)
        assert context.is_disconnect is is_lost


def test_a_read_purges_nothing(page: Page) -> None:
    shown = page("caches", "Purged as soon as it changes")
    assert shown.fields_of(SimpleNamespace(id=1))["xkey"] == "order-1"
    with shown.app.test_request_context("/", method="GET"):
        shown.drop_what_has_changed(shown.app, SimpleNamespace(outcome="served", reason=None))


@pytest.mark.parametrize(("evaluate", "status"), [(True, 412), (False, 200)])
def test_flask_compress_may_leave_conditions_to_flask_etag(page: Page, evaluate: bool, status: int) -> None:
    set_to = page("proxies").app.config
    assert (set_to["COMPRESS_EVALUATE_CONDITIONAL_REQUEST"], set_to["ETAG_ACCEPT_WEAKENED"]) == (False, True)
    desk = Desk(ETAG_ACCEPT_WEAKENED=True, COMPRESS_EVALUATE_CONDITIONAL_REQUEST=evaluate)
    Compress(desk.app)
    client, gzip = desk.app.test_client(), {"Accept-Encoding": "gzip"}
    tag = client.get("/papers/one", headers=gzip).headers["ETag"]
    assert tag.endswith(':gzip"')
    assert client.get("/papers/one", headers={**gzip, **if_match("*")}).status_code == status
    assert client.get("/papers/one", headers={**gzip, **if_none_match(tag)}).status_code == 304
    assert desk.views == 2


def test_flask_compress_leaves_alone_what_is_edited(page: Page) -> None:
    desk = Desk(COMPRESS_MIMETYPES=page("proxies").app.config["COMPRESS_MIMETYPES"])
    Compress(desk.app)
    client, gzip = desk.app.test_client(), {"Accept-Encoding": "gzip"}
    first = client.get("/papers/one", headers=gzip)
    assert "Content-Encoding" not in first.headers
    tag = first.headers["ETag"]
    assert client.get("/papers/one", headers={**gzip, **if_none_match(tag)}).status_code == 304
    assert client.put("/papers/one", json=1, headers={**gzip, **if_match(tag)}).status_code == 200
    assert client.put("/papers/one", json=2, headers={**gzip, **if_match(tag)}).get_json()["reason"] == "stale"
