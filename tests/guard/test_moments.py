"""What is read at one moment is not tagged, locked or shown as that of another."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest
from flask import Flask, Response, g, jsonify
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import ForeignKey, String, event, select, update
from sqlalchemy.exc import SADeprecationWarning
from sqlalchemy.orm import Mapped, Session, load_only, mapped_column, relationship

from flask_etag import ETag, Resource, content_hash, etag_resource, require_if_match, resource, version_column
from flask_etag.sqlalchemy import Page, Versioned, covers, touch
from tests.world.models import Base, Memo
from tests.world.racing import in_thread


class Letter(Versioned, Base):
    __tablename__ = "letter"

    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str] = mapped_column(String(80), default="first")
    pages: Mapped[list[LetterPage]] = relationship()


class LetterPage(Base):
    __tablename__ = "letter_page"

    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str] = mapped_column(String(80), default="first")
    letter_id: Mapped[int] = mapped_column(ForeignKey("letter.id"))


class Slip(Versioned, Base):
    """With a version, and nothing that belongs to it."""

    __tablename__ = "slip"

    id: Mapped[int] = mapped_column(primary_key=True)


covers(Letter.pages)


class Desk:
    """An application, and what other writers do at a moment of the test's choice."""

    def __init__(self, url: str) -> None:
        self.app = Flask("desk")
        self.app.config["SQLALCHEMY_DATABASE_URI"] = url
        self.db = SQLAlchemy(self.app, model_class=Base)
        ETag(self.app)
        self.client = self.app.test_client()
        with self.app.app_context():
            self.db.session.add_all([Letter(id=1, pages=[LetterPage(id=1)]), Memo(id=1), Slip(id=1)])
            self.db.session.commit()
        self.meanwhile: list[Callable[[], None]] = []

    def let_others_write(self) -> None:
        while self.meanwhile:
            self.meanwhile.pop()()

    def rewrite(self) -> None:
        """Have another writer change the letter and its page."""

        def write() -> None:
            with self.app.app_context(), Session(self.db.engine) as session:
                letter = session.get_one(Letter, 1)
                letter.text = letter.pages[0].text = "theirs"
                session.commit()

        in_thread(write)

    def rewrite_memo(self) -> None:
        """Have another writer change the memo, whose row nobody holds."""

        def write() -> None:
            with self.app.app_context(), self.db.engine.begin() as connection:
                connection.execute(update(Memo).values(text="theirs"))

        in_thread(write)

    def serve(self, found: Resource[..., Any], show: Callable[[Any], Any] = lambda letter: letter.text) -> None:
        """Serve a resource."""

        def view(target: Any) -> Any:
            return jsonify(show(target))

        self.app.add_url_rule("/read", "read", etag_resource(found)(view))


@pytest.fixture
def desk(world_url: str) -> Iterator[Desk]:
    desk = Desk(world_url)
    yield desk
    with desk.app.app_context():
        desk.db.session.remove()
        desk.db.engine.dispose()


def light() -> Any:
    return select(Letter).options(load_only(Letter.text))


@pytest.mark.parametrize("options", [{}, {"etag": version_column("version")}])
def test_a_version_that_is_left_for_later_is_of_the_content_that_is_shown(
    desk: Desk, options: dict[str, Any]
) -> None:
    @resource(**options)
    def find_letter() -> Letter | None:
        letter: Letter | None = desk.db.session.scalar(light())
        desk.let_others_write()
        return letter

    desk.serve(find_letter)
    desk.meanwhile.append(desk.rewrite)
    first, second = desk.client.get("/read"), desk.client.get("/read")
    assert second.json == "theirs"
    assert (first.json == second.json) is (first.headers["ETag"] == second.headers["ETag"])


def test_a_list_whose_versions_are_left_for_later_is_of_the_content_that_is_shown(desk: Desk) -> None:
    @resource
    def find_letters() -> list[Letter]:
        letters = list(desk.db.session.scalars(light()))
        desk.let_others_write()
        return letters

    desk.serve(find_letters, lambda letters: [letter.text for letter in letters])
    desk.meanwhile.append(desk.rewrite)
    first, second = desk.client.get("/read"), desk.client.get("/read")
    assert second.json == ["theirs"]
    assert (first.json == second.json) is (first.headers["ETag"] == second.headers["ETag"])


def test_what_a_loader_changes_is_not_lost_where_the_version_is_left_for_later(desk: Desk) -> None:
    @resource
    def find_letter() -> Letter:
        letter: Letter = desk.db.session.scalars(light()).one()
        letter.text = "seen"
        return letter

    desk.serve(find_letter)
    assert desk.client.get("/read").json == "seen"


@pytest.mark.parametrize("kind", ["object", "page", "list"])
def test_covered_rows_that_were_read_before_are_read_anew(desk: Desk, kind: str) -> None:
    @resource
    def find_letter() -> Letter | Page[Letter] | list[Letter | Slip]:
        session = desk.db.session
        if kind == "page":
            return Page(session, select(Letter))
        letter = session.get_one(Letter, 1)
        return letter if kind == "object" else [session.get_one(Slip, 1), letter]  # read last, and tagged first

    def texts(found: Letter | Page[Letter] | list[Letter | Slip]) -> list[str]:
        letters = [found] if isinstance(found, Letter) else [each for each in found if isinstance(each, Letter)]
        return [sheet.text for letter in letters for sheet in letter.pages]

    @desk.app.before_request
    def read_a_sheet() -> None:
        if desk.meanwhile:
            g.sheet = desk.db.session.get(LetterPage, 1)
            desk.db.session.execute(select(Memo))
            desk.let_others_write()
            if desk.db.engine.dialect.name in ("mysql", "mariadb"):
                desk.db.session.connection().exec_driver_sql("COMMIT")  # or all that is read were of one moment

    desk.serve(find_letter, texts)
    desk.meanwhile.append(desk.rewrite)
    first, second = desk.client.get("/read"), desk.client.get("/read")
    assert first.json == second.json == ["theirs"]
    assert first.headers["ETag"] == second.headers["ETag"]


@pytest.mark.parametrize("write", [lambda letter: letter.pages.append(LetterPage(id=2)), touch])
def test_what_others_changed_before_a_part_moved_the_version_is_read_anew(
    desk: Desk, write: Callable[[Letter], None]
) -> None:
    find_letter = resource(lambda: desk.db.session.get(Letter, 1))

    def texts(letter: Letter) -> list[str]:
        return [letter.text, letter.pages[0].text]

    @desk.app.post("/write/part")
    def add() -> Any:
        letter = desk.db.session.get_one(Letter, 1)
        assert texts(letter) == ["first", "first"]
        desk.rewrite()
        write(letter)
        desk.db.session.flush()
        answer = jsonify(texts(letter))
        answer.headers["ETag"] = str(find_letter.etag_of(letter))
        desk.db.session.commit()
        return answer

    desk.serve(find_letter, texts)
    written, read = desk.client.post("/write/part"), desk.client.get("/read")
    assert written.headers["ETag"] == read.headers["ETag"]
    in_snapshot = desk.app.config["SQLALCHEMY_DATABASE_URI"].startswith("mysql")  # but for what it has written
    assert written.json == ["theirs", "first" if in_snapshot else "theirs"]
    assert read.json == ["theirs", "theirs"]


def test_unsent_changes_of_a_part_survive_the_flush_of_another(desk: Desk) -> None:
    with desk.app.app_context():
        session = desk.db.session
        letter = session.get_one(Letter, 1)
        letter.pages.append(LetterPage(id=2))
        session.commit()
        first, second = letter.pages
        first.text = "one"
        session.flush()
        first.text, second.text = "one more", "two"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SADeprecationWarning)  # since SQLAlchemy 2.1
            session.flush([first])
        session.commit()
        assert session.scalars(select(LetterPage.text).order_by(LetterPage.id)).all() == ["one more", "two"]


def test_unsent_changes_survive_what_is_read_anew_after_a_flush(desk: Desk) -> None:
    with desk.app.app_context():
        session = desk.db.session
        letter = session.get_one(Letter, 1)
        assert letter.pages[0].text == "first"
        desk.rewrite()

        def note(*_: object) -> None:
            letter.text = letter.pages[0].text = "noted"
            letter.pages.append(LetterPage(id=3))

        event.listen(Session, "after_flush_postexec", note, insert=True, once=True)
        letter.pages.append(LetterPage(id=2))
        session.commit()
        assert session.scalars(select(Letter.text)).all() == ["noted"]
        assert session.scalars(select(LetterPage.text).order_by(LetterPage.id)).all() == [
            "noted",
            "first",
            "first",
        ]


@pytest.mark.parametrize("rival", [True, False])
def test_what_is_written_where_no_transaction_has_begun_is_guarded(desk: Desk, rival: bool) -> None:
    """SQLAlchemy begins none for a change where a listener of the commit has changed something already."""
    sessions = desk.db.session.session_factory
    sessions.configure(expire_on_commit=False)
    find_memo = resource(etag=content_hash(lambda memo: memo.text))(lambda: desk.db.session.get(Memo, 1))

    @desk.app.put("/write/twice")
    @require_if_match(find_memo)
    def write_twice(memo: Memo) -> str:
        event.listen(sessions, "after_commit", lambda _: setattr(memo, "text", "noted"), once=True)
        memo.text = "first of mine"
        desk.db.session.commit()
        memo.text = "second of mine"
        assert not desk.db.session().in_transaction()
        desk.let_others_write()
        return memo.text

    @desk.app.after_request
    def commit(response: Response) -> Response:
        desk.db.session.commit()
        return response

    if rival:
        desk.meanwhile.append(desk.rewrite_memo)
    with desk.app.app_context():
        etag = str(find_memo.etag_of(desk.db.session.get(Memo, 1)))
    answer = desk.client.put("/write/twice", headers={"If-Match": etag})
    with desk.app.app_context():
        memo = desk.db.session.get_one(Memo, 1)
        assert (answer.status_code, memo.text) == ((409, "theirs") if rival else (200, "second of mine"))
        assert rival or answer.headers["ETag"] == str(find_memo.etag_of(memo))


def test_a_304_leaves_the_view_s_own_response_as_it_is() -> None:
    app = Flask("kept")
    ETag(app)
    closed = []

    @cache
    def kept() -> Response:
        response = jsonify("kept")
        response.set_cookie("kind", "own")
        response.call_on_close(lambda: closed.append(True))
        return response

    app.get("/")(etag_resource(lambda: kept()))  # noqa: PLW0108 - a view of the application's own
    client = app.test_client()
    etag = client.get("/").headers["ETag"]
    closed.clear()
    unchanged = client.get("/", headers={"If-None-Match": etag})
    assert (unchanged.status_code, unchanged.data) == (304, b"")
    assert unchanged.headers["Set-Cookie"].startswith("kind=own")
    unchanged.close()
    assert closed
    again = client.get("/")
    assert (again.status_code, again.json, again.headers["ETag"]) == (200, "kept", etag)
