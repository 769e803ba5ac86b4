"""Caches on the server, the real ones: above our decorator, below it, around the views, and within them."""

# mypy: disallow-untyped-decorators=False

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from dogpile.cache import make_region
from dogpile.cache.api import NO_VALUE
from flask import Flask, Response, abort, make_response, request, request_started
from flask.testing import FlaskClient
from flask.views import MethodView
from flask_caching import Cache
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from werkzeug.local import LocalProxy

from flask_etag import ETag, etag_resource, require_if_match, resource
from flask_etag.sqlalchemy import Versioned

OK_ALONE: dict[str, Any] = {"response_filter": lambda answer: answer.status_code == 200}


class Base(DeclarativeBase):
    pass


class Note(Versioned, Base):
    __tablename__ = "note"

    id: Mapped[int] = mapped_column(primary_key=True)
    body: Mapped[str]


class Board:
    """An application with one note, and a cache."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.cache = Cache(app)
        self.runs = 0
        db = self.db = SQLAlchemy(app, model_class=Base, session_options={"expire_on_commit": False})
        ETag(app)

        def load(note_id: int) -> Note | None:
            return db.session.get(Note, note_id)

        def show(note: Note) -> dict[str, str]:
            self.runs += 1
            return {"body": note.body}

        def save(note: Note) -> dict[str, str]:
            note.body = request.get_data(as_text=True)
            db.session.commit()
            return {"body": note.body}

        self.load, self.show, self.save = load, show, save

    @property
    def client(self) -> FlaskClient:
        return self.app.test_client()

    def serve(self, read: Any, save: Any = None) -> None:
        self.app.add_url_rule("/notes/<int:note_id>", "read", read)
        if save is not None:
            self.app.add_url_rule("/notes/<int:note_id>", "save", save, methods=["PUT"])

    def write(self, body: str) -> None:
        """Let another change the note."""
        with self.app.app_context():
            self.db.session.get_one(Note, 1).body = body
            self.db.session.commit()


@pytest.fixture(params=["SimpleCache", "FileSystemCache"])
def board(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Board]:
    app = Flask("board")
    app.config.update(
        SQLALCHEMY_DATABASE_URI=f"sqlite:///{tmp_path / 'board.db'}",
        CACHE_TYPE=request.param,
        CACHE_DIR=str(tmp_path / "cache"),
    )
    board = Board(app)
    with app.app_context():
        board.db.create_all()
        board.db.session.add(Note(id=1, body="first"))
        board.db.session.commit()
    yield board
    with app.app_context():
        board.db.engine.dispose()


# Above.


@pytest.mark.parametrize("options", [{}, OK_ALONE], ids=["as it is", "what is 200 alone"])
@pytest.mark.parametrize("condition", ["If-None-Match", "If-Match"])
def test_what_answers_the_conditions_of_one_request_is_not_stored_for_others(
    board: Board, caplog: pytest.LogCaptureFixture, options: dict[str, Any], condition: str
) -> None:
    """Neither a 304 nor, since Flask-Caching 2.5, a 412."""
    find_note = resource(board.load)
    board.app.get("/tag/<int:note_id>")(etag_resource(find_note)(lambda _: ""))
    view = board.cache.cached(**options)(etag_resource(find_note)(board.show))
    board.serve(view)
    tag = board.client.get("/tag/1").headers["ETag"]
    sent, status = {"If-None-Match": (tag, 304), "If-Match": ('"other"', 412)}[condition]
    for _ in range(2):
        assert board.client.get("/notes/1", headers={condition: sent}).status_code == status
    told = "is not to be stored for others" in caplog.text
    assert told is (options == {})
    caplog.clear()
    for _ in range(2):
        answer = board.client.get("/notes/1")
        assert (answer.status_code, answer.json, answer.headers["ETag"]) == (200, {"body": "first"}, tag)
    assert board.runs == 1
    assert "is not to be stored for others" not in caplog.text


def test_in_debug_mode_the_author_is_told_at_once(board: Board) -> None:
    board.app.debug = board.app.testing = True
    view = board.cache.cached()(etag_resource(resource(board.load))(board.show))
    board.serve(view)
    with pytest.raises(TypeError, match="Let a cache above etag_resource store what is 200 alone"):
        board.client.get("/notes/1", headers={"If-None-Match": "*"})


def test_what_is_stored_above_has_the_tag_of_its_body_and_the_log_names_the_view_once(
    board: Board, caplog: pytest.LogCaptureFixture
) -> None:
    find_note = resource(board.load)
    view = board.cache.cached(**OK_ALONE)(etag_resource(find_note)(board.show))
    board.serve(view, require_if_match(find_note)(board.save))
    first = board.client.get("/notes/1")
    assert "something above" not in caplog.text
    board.write("second")
    for _ in range(2):
        stored = board.client.get("/notes/1", headers={"If-None-Match": '"other"'})
        assert (stored.json, stored.headers["ETag"]) == (first.json, first.headers["ETag"])
    assert caplog.text.count("something above has answered for it") == 1
    assert "read: something above" in caplog.text
    saved = board.client.put("/notes/1", data="third", headers={"If-Match": stored.headers["ETag"]})
    assert saved.status_code == 412
    board.cache.clear()
    assert board.client.get("/notes/1").headers["ETag"] == saved.headers["ETag"]


def test_a_save_that_a_cache_of_its_class_answers_is_told(board: Board, caplog: pytest.LogCaptureFixture) -> None:
    find_note = resource(board.load)

    @require_if_match(find_note)
    class NoteView(MethodView):
        decorators: ClassVar = [board.cache.cached(**OK_ALONE)]

        def get(self, note: Note) -> dict[str, str]:
            return board.show(note)

        def put(self, note: Note) -> dict[str, str]:
            return board.save(note)

    board.app.add_url_rule("/notes/<int:note_id>", view_func=NoteView.as_view("note"))
    tag = board.client.get("/notes/1").headers["ETag"]
    assert "something above" not in caplog.text
    board.client.put("/notes/1", data="lost", headers={"If-Match": tag})
    assert "note: something above has answered for it" in caplog.text


# Around: the hooks of an application, which store what is answered, whatever that is.


def stored_around(app: Flask) -> dict[str, tuple[bytes, int, dict[str, str]]]:
    stored: dict[str, tuple[bytes, int, dict[str, str]]] = {}

    @app.before_request
    def answer_from_store() -> Response | None:
        found = stored.get(request.path)
        return None if found is None or request.method != "GET" else Response(*found)

    @app.after_request
    def store(response: Response) -> Response:
        if request.method == "GET" and response.status_code < 400:
            stored[request.path] = (response.get_data(), response.status_code, dict(response.headers))
        return response

    return stored


def test_a_304_that_was_stored_is_never_the_answer_to_a_request_that_has_another_or_no_condition(
    board: Board, caplog: pytest.LogCaptureFixture
) -> None:
    stored = stored_around(board.app)
    board.serve(etag_resource(resource(board.load))(board.show))
    tag = board.client.get("/notes/1").headers["ETag"]
    stored.clear()
    assert board.client.get("/notes/1", headers={"If-None-Match": tag}).status_code == 304

    for conditions in ({}, {"If-None-Match": '"other"'}, {"If-None-Match": "mal"}, {"If-Match": tag}):
        assert board.client.get("/notes/1", headers=conditions).status_code == 500, conditions
        assert "read: a 304 that was stored for another request is no answer to this one" in caplog.text
        caplog.clear()
    for conditions in ({"If-None-Match": f'"other", W/{tag}'}, {"If-None-Match": "*"}):
        assert board.client.get("/notes/1", headers=conditions).status_code == 304, conditions
    long_ago, now = "Sun, 06 Nov 1994 08:49:37 GMT", "Fri, 27 Nov 2026 06:00:00 GMT"
    for dated, named, answered in (
        (long_ago, None, 500),  # nothing tells of which date the 304 is
        ("no date", None, 500),
        (long_ago, "Tue, 15 Nov 1994 12:45:26 GMT", 500),
        (now, "Tue, 15 Nov 1994 12:45:26 GMT", 304),
    ):
        body, status, fields = stored["/notes/1"]
        stored["/notes/1"] = body, status, {**fields, **({"Last-Modified": named} if named else {})}
        answer = board.client.get("/notes/1", headers={"If-Modified-Since": dated})
        assert answer.status_code == answered, dated
    both = {"If-None-Match": tag, "If-Match": '"other"'}
    assert board.client.get("/notes/1", headers=both).status_code == 500
    body, status, fields = stored["/notes/1"]
    stored["/notes/1"] = body, status, {name: text for name, text in fields.items() if name != "ETag"}
    assert board.client.get("/notes/1", headers={"If-None-Match": tag}).status_code == 500


class Caching:
    """A cache above that keeps what was answered in bytes, whatever that is: none that pickles."""

    def __init__(self, view: Callable[..., Any]) -> None:
        self.view = view
        self.stored: tuple[bytes, int, dict[str, str]] | None = None

    def __call__(self, **given: Any) -> Response:
        if self.stored is None:
            made = make_response(self.view(**given))
            self.stored = made.get_data(), made.status_code, dict(made.headers)
        return Response(*self.stored)

    def answer(self, **given: Any) -> Response:
        return self(**given)


def bare(view: Callable[..., Any]) -> Callable[..., Any]:
    def wrapper(**given: Any) -> Any:
        return view(**given)

    return wrapper


@pytest.mark.parametrize(
    "cached",
    [
        Caching,
        lambda view: Caching(view).answer,
        lambda view: bare(bare(Caching(bare(view)))),
        lambda view: functools.partial(Caching(functools.partial(view))),
    ],
    ids=["an object", "a method", "through others", "partial"],
)
@pytest.mark.parametrize("is_class", [False, True])
@pytest.mark.parametrize("board", ["SimpleCache"], indirect=True)
def test_a_decorator_above_that_does_not_tell_what_it_wraps_is_seen_through(
    board: Board, caplog: pytest.LogCaptureFixture, cached: Any, is_class: bool
) -> None:
    view: Any = etag_resource(resource(board.load))(board.show)
    if is_class:

        @etag_resource(resource(board.load))
        class NoteView(MethodView):
            def get(self, note: Note) -> dict[str, str]:
                return board.show(note)

        view = NoteView.as_view("note")
    board.app.add_url_rule("/notes/<int:note_id>", "read", bare(cached(view)))
    board.app.add_url_rule("/tag/<int:note_id>", "tag", view)
    tag = board.client.get("/tag/1").headers["ETag"]
    for _ in range(2):
        assert board.client.get("/notes/1", headers={"If-None-Match": tag}).status_code == 304
    assert board.client.get("/notes/1").status_code == 500
    assert "read: a 304 that was stored for another request is no answer to this one" in caplog.text


@pytest.mark.parametrize("board", ["SimpleCache"], indirect=True)
def test_a_view_that_holds_another_answers_for_itself(board: Board, caplog: pytest.LogCaptureFixture) -> None:
    """It may call that one, as a decorator would, and has a 304 of its own; what is in no cell yet is nothing."""
    read = etag_resource(resource(board.load))(board.show)

    current_user: Any = LocalProxy(lambda: abort(401))  # in whose place nobody is

    @board.app.get("/latest")
    def latest() -> Any:
        if request.path == "/":
            return current_user
        if request.args:
            return read(note_id=1)
        made = Response("latest")
        made.set_etag("own")
        return made.make_conditional(request) if request.if_none_match else later

    for asked in ('"own"', 'no tag, "own"'):  # the second is malformed to us, and none of ours to judge
        assert board.client.get("/latest", headers={"If-None-Match": asked}).status_code == 304
    later = "later"
    assert board.client.get("/latest").text == "later"
    assert board.client.get("/latest?note").json == {"body": "first"}
    assert "something above" not in caplog.text


def test_other_answers_of_hooks_are_their_own(board: Board, caplog: pytest.LogCaptureFixture) -> None:
    board.serve(etag_resource(resource(board.load))(board.show))
    board.app.get("/plain")(lambda: "")
    board.app.before_request(lambda: Response(status=int(request.headers["Answer"])))
    for method, path, status in [
        ("GET", "/notes/1", 401),
        ("GET", "/notes/1", 503),
        ("GET", "/plain", 304),
        ("GET", "/nowhere", 200),
        ("OPTIONS", "/notes/1", 204),
    ]:
        answer = board.client.open(path, method=method, headers={"Answer": str(status)})
        assert answer.status_code == status
    assert "something above" not in caplog.text


def test_a_304_by_the_body_is_not_stored_either(board: Board) -> None:
    def report() -> str:
        return "a report"

    board.app.add_url_rule("/report", "report", board.cache.cached()(etag_resource(report)))
    board.app.add_url_rule("/tag", "tag", etag_resource(report))
    tag = board.client.get("/tag").headers["ETag"]
    assert board.client.get("/report", headers={"If-None-Match": tag}).status_code == 304
    answer = board.client.get("/report")
    assert (answer.status_code, answer.text, answer.headers["ETag"]) == (200, "a report", tag)


# Below.


def dogpile() -> Any:
    return make_region().configure("dogpile.cache.memory")


@pytest.mark.parametrize(
    "cached",
    [
        lambda board: board.cache.cached(),
        lambda board: board.cache.memoize(),
        lambda _: dogpile().cache_on_arguments(),
    ],
    ids=["cached", "memoize", "dogpile"],
)
@pytest.mark.parametrize("decorated", [etag_resource, require_if_match])
def test_a_view_that_is_cached_below_is_refused(
    board: Board, cached: Callable[[Board], Any], decorated: Callable[..., Any]
) -> None:
    def read(note: Note) -> dict[str, str]:
        return board.show(note)

    class NoteView(MethodView):
        get = cached(board)(read)

    for view in (cached(board)(read), NoteView):
        with pytest.raises(TypeError, match=r"read\(\) is cached below .* Cache in the view, under the tag"):
            decorated(resource(board.load))(view)


def test_a_cache_below_a_tag_of_the_body_is_harmless(board: Board) -> None:
    @board.app.get("/notes/<int:note_id>")
    @etag_resource
    @board.cache.cached()
    def read(note_id: int) -> dict[str, str]:
        note = board.load(note_id)
        assert note is not None
        return board.show(note)

    first = board.client.get("/notes/1")
    board.write("second")
    assert board.client.get("/notes/1").headers["ETag"] == first.headers["ETag"]
    assert board.client.get("/notes/1", headers={"If-None-Match": first.headers["ETag"]}).status_code == 304
    board.cache.clear()
    second = board.client.get("/notes/1")
    assert second.json == {"body": "second"}
    assert second.headers["ETag"] != first.headers["ETag"]
    assert board.runs == 2


# Within the view, under the tag: as the docs say.


def with_flask_caching(board: Board, find_note: Any) -> Callable[[Note], Any]:
    def read(note: Note) -> Any:
        key = f"note/{find_note.etag_of(note)}"
        body = board.cache.get(key)
        if body is None:
            body = board.show(note)
            board.cache.set(key, body)
        return body

    return read


def with_dogpile(board: Board, find_note: Any) -> Callable[[Note], Any]:
    region = dogpile()

    def read(note: Note) -> Any:
        return region.get_or_create(f"note/{find_note.etag_of(note)}", lambda: board.show(note))

    return read


@pytest.mark.parametrize("cached", [with_flask_caching, with_dogpile])
def test_what_is_cached_under_the_tag_has_the_body_of_the_tag(
    board: Board, cached: Callable[[Board, Any], Any]
) -> None:
    find_note = resource(board.load)
    board.serve(etag_resource(find_note)(cached(board, find_note)), require_if_match(find_note)(board.save))
    seen = {}
    for body in ("first", "second", "first"):
        for _ in range(2):
            answer = board.client.get("/notes/1")
            assert answer.json == {"body": body}
        tag = answer.headers["ETag"]
        assert tag not in seen
        seen[tag] = body
        assert board.client.get("/notes/1", headers={"If-None-Match": tag}).status_code == 304
        then = {"first": "second", "second": "first"}[body]
        assert board.client.put("/notes/1", data=then, headers={"If-Match": tag}).status_code == 200
    assert board.runs == 3


# In the loader.


def memoized(board: Board) -> Any:
    return board.cache.memoize()(board.load)


def in_dogpile(board: Board) -> Any:
    region = dogpile()

    def load(note_id: int) -> Note | None:
        found = region.get_or_create(f"note/{note_id}", lambda: board.load(note_id))
        assert found is not NO_VALUE
        return found  # type: ignore[no-any-return]

    return load


@pytest.mark.parametrize("cached", [memoized, in_dogpile])
def test_a_loader_that_answers_from_a_cache_reads_what_is_old_and_writes_nothing(
    board: Board, caplog: pytest.LogCaptureFixture, cached: Callable[[Board], Any]
) -> None:
    find_cached = resource(cached(board))
    board.serve(etag_resource(find_cached)(board.show), require_if_match(find_cached)(board.save))
    first = board.client.get("/notes/1")
    board.write("second")
    old = board.client.get("/notes/1")
    assert (old.json, old.headers["ETag"]) == ({"body": "first"}, first.headers["ETag"])
    for condition in (old.headers["ETag"], "*"):
        assert board.client.put("/notes/1", data="third", headers={"If-Match": condition}).status_code == 500
        assert "This Note is in no session, so that nothing can guard it" in caplog.text
        caplog.clear()
    with board.app.app_context():
        assert board.db.session.get_one(Note, 1).body == "second"


@pytest.mark.parametrize(("load", "read", "written"), [(False, 200, 409), (True, 409, 500)])
def test_a_loader_that_merges_what_a_cache_has_writes_nothing_over_another(
    board: Board, load: bool, read: int, written: int
) -> None:
    """As long as there is a version: with ``load=True``, SQLAlchemy compares it in the loader."""

    def merge(note_id: int) -> Note:
        kept: Note | None = board.cache.get("kept")
        if kept is None:
            kept = board.load(note_id)
            assert kept is not None
            board.db.session.expunge(kept)
            board.cache.set("kept", kept)
        return board.db.session.merge(kept, load=load)

    find_merged = resource(merge)
    board.serve(etag_resource(find_merged)(board.show), require_if_match(find_merged)(board.save))
    first = board.client.get("/notes/1")
    board.write("second")
    assert board.client.get("/notes/1").status_code == read
    saved = board.client.put("/notes/1", data="third", headers={"If-Match": first.headers["ETag"]})
    assert saved.status_code == written
    with board.app.app_context():
        assert board.db.session.get_one(Note, 1).body == "second"


# What may answer for a view is known at the first request: only then is each answer looked at.


class Page:
    def __etag__(self) -> str:
        return "v1"


@resource
def find_page() -> Page:
    return Page()


def show_page(_: Page) -> str:
    return "shown"


def hidden(view: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **given: Any) -> Any:
        return view(*args, **given)

    return call


def wrapped(view: Callable[..., Any]) -> Callable[..., Any]:
    return functools.wraps(view)(hidden(view))


def page_view(*decorators: Any, above: Callable[[Any], Any] | None = None) -> Callable[..., Any]:
    @etag_resource(find_page)
    class PageView(MethodView):
        def get(self, page: Page) -> str:
            return show_page(page)

    PageView.decorators = list(decorators)
    if above is not None:
        PageView.get = above(PageView.get)  # type: ignore[method-assign]
    return PageView.as_view("page")


@etag_resource(find_page)
class OwnDispatching(MethodView):
    def get(self, page: Page) -> str:
        return show_page(page)

    def dispatch_request(self, **arguments: Any) -> Any:
        return super().dispatch_request(**arguments)


class OwnFlask(Flask):
    def dispatch_request(self) -> Any:
        return super().dispatch_request()


def plain_view() -> Callable[..., Any]:
    return etag_resource(find_page)(show_page)


def app_with(view: Callable[..., Any], app: Flask | None = None) -> Flask:
    app = app or Flask("one page")
    ETag(app)
    app.add_url_rule("/page", "page", view)
    app.add_url_rule("/bare", "bare", lambda: "bare")
    return app


def app_of_instance_dispatching() -> Flask:
    app = app_with(plain_view())
    app.dispatch_request = hidden(app.dispatch_request)  # type: ignore[method-assign]
    return app


def app_of_hook(name: str) -> Flask:
    app = app_with(plain_view())
    getattr(app, name)(lambda answer=None, *_: answer)
    return app


@pytest.mark.parametrize(
    ("make", "looks"),
    [
        (lambda: app_with(plain_view()), False),
        (lambda: app_with(page_view()), False),
        (lambda: app_with(hidden(show_page)), False),
        (lambda: app_with(wrapped(plain_view())), True),
        (lambda: app_with(hidden(plain_view())), True),
        (lambda: app_with(functools.partial(plain_view())), True),
        (lambda: app_with(page_view(hidden)), True),
        (lambda: app_with(page_view(above=wrapped)), True),
        (lambda: app_with(OwnDispatching.as_view("page")), True),
        (lambda: app_with(plain_view(), OwnFlask("one page")), True),
        (app_of_instance_dispatching, True),
        (lambda: app_of_hook("before_request"), True),
        (lambda: app_of_hook("url_value_preprocessor"), True),
        (lambda: app_of_hook("after_request"), False),
    ],
)
def test_answers_are_looked_at_where_anything_may_answer_for_a_decorated_view(
    make: Callable[[], Flask], looks: bool
) -> None:
    app = make()
    app.test_client().get("/bare")
    assert ("process_response" in vars(app)) is looks


def test_after_the_first_request_nobody_waits_for_it() -> None:
    app = app_with(plain_view())
    before = set(request_started.receivers)
    app.test_client().get("/page")
    assert len(before - set(request_started.receivers)) == 1


def test_of_two_first_requests_at_once_one_sees_to_the_rest() -> None:
    app = app_with(wrapped(plain_view()))
    waiting = app.extensions["flask_etag.receiver"]
    app.test_client().get("/page")
    processing = app.process_response
    waiting(app)
    assert app.process_response is processing
