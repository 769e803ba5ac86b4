"""The advice of the page on troubleshooting, tried: each message is met, and not where the advice is followed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import cache, wraps
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Lock
from typing import Any

import flask_login  # type: ignore[import-untyped]
import flask_restx
import httpx
import pytest
from apispec import APISpec
from flask import Flask, Response, jsonify, make_response, request, session
from flask.views import MethodView
from flask_caching import Cache
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import ForeignKey, String, create_engine, select, text, update
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    declared_attr,
    load_only,
    mapped_column,
    relationship,
)
from sqlalchemy.orm.exc import StaleDataError
from sqlalchemy.pool import StaticPool

from flask_etag import (
    EntityTag,
    ETag,
    PreconditionFailed,
    Stale,
    client,
    content_hash,
    decided,
    etag_resource,
    exempt,
    require_if_match,
    resource,
    version_column,
)
from flask_etag.entity_tags import MalformedField, TagList
from flask_etag.errors import _ADVICE
from flask_etag.openapi import describe
from flask_etag.sqlalchemy import Page, Versioned, covers, etag_of_version, touch
from flask_etag.testing import assert_protected, conformance, race, unguarded_writes
from tests.docs.test_troubleshooting import QUOTED
from tests.servers.loopback import serving
from tests.world.application import begin_for_real
from tests.world.racing import in_thread


class Base(DeclarativeBase):
    pass


class Note(Versioned, Base):
    __tablename__ = "note"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    body: Mapped[str] = mapped_column(String(50), default="first")
    is_hidden: Mapped[bool] = mapped_column(default=False)
    revision: Mapped[int] = mapped_column(default=1)
    seen: Mapped[int] = mapped_column(default=0)
    remarks: Mapped[list[Remark]] = relationship()
    stars: Mapped[list[Star]] = relationship()

    __unversioned__ = frozenset({"seen"})


class Remark(Base):
    __tablename__ = "remark"

    id: Mapped[int] = mapped_column(primary_key=True)
    note_id: Mapped[int | None] = mapped_column(ForeignKey("note.id"))
    body: Mapped[str] = mapped_column(String(50), default="")


class Star(Base):
    __tablename__ = "star"

    id: Mapped[int] = mapped_column(primary_key=True)
    note_id: Mapped[int] = mapped_column(ForeignKey("note.id"))


class Plain(Base):
    """What has no version."""

    __tablename__ = "plain"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    body: Mapped[str] = mapped_column(String(50), default="first")
    revision: Mapped[int | None] = mapped_column(default=1)


covers(Note.stars)


@cache
def blank() -> bytes:
    """Return a database, as its file has it: made once, and copied, which is much faster."""
    with TemporaryDirectory() as folder:
        engine = create_engine(f"sqlite:///{folder}/blank.db")
        Base.metadata.create_all(engine)
        with Session(engine) as session:
            session.add_all([Note(id=1), Plain(id=1), Remark(note_id=1)])
            session.commit()
        engine.dispose()
        return Path(folder, "blank.db").read_bytes()


class Desk:
    """An application with note 1 and plain 1, and whatever views a trial gives it."""

    def __init__(self, url: str, **config: Any) -> None:
        self.app = Flask("desk")
        self.app.testing = True
        self.app.secret_key = "a secret"
        self.app.config.update({"SQLALCHEMY_DATABASE_URI": url, **config})
        self.db = SQLAlchemy(self.app, model_class=Base, session_options={"expire_on_commit": False})
        ETag(self.app)
        self.find = self.found_by(lambda number: self.db.session.get(Note, number))

    def found_by(self, find: Callable[[int], Any], **options: Any) -> Any:
        @resource(**options)
        def find_note(number: int) -> Any:
            return find(number)

        return find_note

    def read(self, view: Any = lambda note: {"body": "read"}, found: Any = None, *, above: Any = None) -> Any:
        """Serve and send GET /1, whose view is a function of the target."""
        decorated = etag_resource(found or self.find)(view)
        self.app.get("/<int:number>", endpoint="read")(above(decorated) if above else decorated)
        return self.app.test_client().get("/1")

    def write(self, view: Any = None, found: Any = None, if_match: str | None = None, **options: Any) -> Any:
        """Serve and send PUT /1 with the current tag, or another field."""

        def save(note: Any) -> dict[str, str]:
            note.body = "mine"
            self.db.session.commit()
            return {"body": note.body}

        found = found or self.find
        self.app.put("/<int:number>", endpoint="write")(require_if_match(found, **options)(view or save))
        return self.send(found, if_match)

    def send(self, found: Any, if_match: str | None = None, number: int = 1, **given: Any) -> Any:
        with self.app.test_request_context():
            target = found(number)
            etag = if_match or (None if target is None else str(found.etag_of(target)))
        headers = {"If-None-Match": "*"} if etag is None else {"If-Match": etag}
        return self.app.test_client().put(f"/{number}", headers=headers, **given)

    def close(self) -> None:
        with self.app.app_context():
            self.db.engine.dispose()


class Trial:
    """One try of an entry's advice.

    :param followed: whether it is followed.
    """

    def __init__(self, followed: bool, folder: Path) -> None:
        self.followed = followed
        self.folder = folder
        self._desks: list[Desk] = []

    def app(self, **config: Any) -> Flask:
        app = Flask("trial")
        app.testing = True
        app.config.update(config)
        ETag(app)
        return app

    def desk(self, **config: Any) -> Desk:
        database = self.folder / "desk.db"
        database.write_bytes(blank())
        self._desks.append(Desk(f"sqlite:///{database}", **config))
        return self._desks[-1]

    def either(self, one: Any, followed: Any) -> Any:
        """Return what is given where the advice is followed, and what is given where it is not."""
        return followed if self.followed else one

    def close(self) -> None:
        for desk in self._desks:
            desk.close()


Try = Callable[[Trial], object]
TRIALS: dict[Try, list[str]] = {}


def advice(*quoted: str) -> Callable[[Try], Try]:
    """Name the messages that a function meets, unless the advice is followed; there may be several functions."""

    def named(trial: Try) -> Try:
        TRIALS.setdefault(trial, []).extend(quoted)
        return trial

    return named


# In the log.


@advice("stands below etag_resource or require_if_match")
def authentication_below(t: Trial) -> None:
    desk = t.desk()
    manager = flask_login.LoginManager(desk.app)
    manager.request_loader(lambda _: flask_login.UserMixin())
    if t.followed:
        desk.read(above=flask_login.login_required)
    else:
        desk.read(flask_login.login_required(lambda note: {}))


@advice("judged, not guarded")
def a_dictionary(t: Trial) -> None:
    desk, notes = t.desk(), {1: {"body": "first"}}
    options = t.either({}, {"lock": lambda number: Lock()})
    found = desk.found_by(lambda number: notes[number], etag=content_hash(dict), **options)
    assert desk.write(lambda note: notes.update({1: {"body": "mine"}}) or "", found).status_code == 200


@advice("judged, not guarded")
def a_store_that_compares(t: Trial) -> None:
    desk, notes = t.desk(), {1: {"body": "first"}}
    found = desk.found_by(lambda number: notes[number], etag=content_hash(dict), swaps=t.followed)

    def swap(note: dict[str, str]) -> str:
        if notes[1] != note:
            raise Stale
        notes[1] = {"body": "mine"}
        return ""

    assert desk.write(swap, found).status_code == 200


@advice("judged, not guarded")
def a_dump_in_the_place_of_the_object(t: Trial) -> None:
    desk = t.desk()
    one = desk.found_by(
        lambda number: {"body": desk.db.session.get_one(Note, number).body}, etag=content_hash(dict)
    )

    def save(_: Any) -> str:
        desk.db.session.get_one(Note, 1).body = "mine"
        desk.db.session.commit()
        return ""

    assert desk.write(save, t.either(one, desk.find)).status_code == 200


@advice("its answer is streamed")
def a_write_while_it_answers(t: Trial) -> None:
    desk = t.desk()

    def view(note: Any) -> Any:
        def parts() -> Iterator[str]:
            yield "done"

        note.body = "mine"
        desk.db.session.commit()
        return t.either(Response(parts()), "done")

    desk.write(view)


@advice("its write is not committed when the answer is settled")
def a_late_commit(t: Trial) -> None:
    desk = t.desk()

    @desk.app.after_request
    def commit(response: Response) -> Response:
        desk.db.session.commit()
        return response

    def view(note: Any) -> str:
        note.body = "mine"
        if t.followed:
            desk.db.session.commit()
        return ""

    assert desk.write(view).status_code == 200


@advice("which its 304 will not have")
def a_field_of_the_view(t: Trial) -> None:
    desk = t.desk()
    fields = {"Vary": "Accept-Language"}
    found = desk.found_by(lambda number: desk.db.session.get(Note, number), **t.either({}, {"headers": fields}))
    desk.read(lambda note: ("", 200, t.either(fields, {})), found)


@advice("the view sets an ETag of its own")
def two_tags(t: Trial) -> None:
    t.desk().read(lambda note: ("", 200, t.either({"ETag": '"mine"'}, {})))


@advice("its answer was given an ETag, and leaves without it")
def another_response(t: Trial) -> None:
    def shouting(view: Any) -> Any:
        @wraps(view)
        def shout(*args: Any, **kwargs: Any) -> Response:
            return Response(make_response(view(*args, **kwargs)).get_data(as_text=True).upper())

        return shout

    if t.followed:
        t.desk().read(shouting(lambda note: "read"))
    else:
        t.desk().read(above=shouting)


@advice("and its 304 has not: for that, the view does not run")
def a_session_that_the_view_reads(t: Trial) -> None:
    desk = t.desk()
    options = t.either({}, {"headers": {"Vary": "Cookie"}})
    found = desk.found_by(lambda number: desk.db.session.get(Note, number), **options)
    client, etag = desk.app.test_client(), desk.read(lambda note: session.get("name", ""), found).headers["ETag"]
    assert client.get("/1", headers={"If-None-Match": etag}).status_code == 304


@advice("is loaded for its answer, and what changes there does not change the ETag")
def what_is_not_covered(t: Trial) -> None:
    t.desk().read(lambda note: {"number": len(note.stars if t.followed else note.remarks)})


@advice("is loaded for its answer, and what changes there does not change the ETag")
def what_a_variant_names(t: Trial) -> None:
    desk = t.desk()
    options = t.either({}, {"variant": content_hash(lambda note: len(note.remarks))})
    found = desk.found_by(lambda number: desk.db.session.get(Note, number), **options)
    desk.read(lambda note: {"number": len(note.remarks)}, found)


@advice("did not move on with a write")
def a_version_that_stays(t: Trial) -> None:
    desk = t.desk()
    found = desk.found_by(lambda number: desk.db.session.get(Plain, number), etag=version_column("revision"))
    answer = desk.write(found=t.either(found, desk.find))
    assert answer.status_code == t.either(409, 200)


def meet_a_rival(desk: Desk, note: Any, engine: Any) -> None:
    """Save in a view what another has saved meanwhile."""

    def rival() -> None:
        with Session(engine) as other:
            other.get_one(Note, 1).body = "theirs"
            other.commit()

    note.body = "mine"
    in_thread(rival)
    desk.db.session.commit()


@advice("another writer was first, and a StaleDataError has left this view")
def a_view_that_is_not_decorated(t: Trial) -> None:
    desk = t.desk()
    with desk.app.app_context():
        engine = desk.db.engine
    if t.followed:
        answer = desk.write(lambda note: meet_a_rival(desk, note, engine))
        assert answer.status_code == 412
        return

    @desk.app.put("/bare")
    def save() -> str:
        meet_a_rival(desk, desk.db.session.get_one(Note, 1), engine)
        return ""

    desk.app.test_client().put("/bare")


@advice("another writer was first, and a StaleDataError has left this view")
def a_handler_for_it(t: Trial) -> None:
    desk = t.desk()
    with desk.app.app_context():
        engine = desk.db.engine
    if t.followed:
        desk.app.register_error_handler(StaleDataError, lambda error: ("", 409))

    @desk.app.put("/bare")
    def save() -> str:
        meet_a_rival(desk, desk.db.session.get_one(Note, 1), engine)
        return ""

    assert desk.app.test_client().put("/bare").status_code == 409


def hidden(desk: Desk) -> None:
    with desk.app.app_context():
        desk.db.session.get_one(Note, 1).is_hidden = True
        desk.db.session.commit()


@advice("met a row that is there, or was a moment ago, which its loader does not find")
def a_row_that_is_soft_deleted(t: Trial) -> None:
    desk = t.desk()
    hidden(desk)
    shown = desk.found_by(
        lambda number: desk.db.session.scalar(select(Note).filter_by(id=number, is_hidden=False))
    )
    absent = desk.found_by(lambda number: desk.db.session.get(Note, number), absent=lambda note: note.is_hidden)
    found = t.either(shown, absent)

    def create(_: Any) -> str:
        if t.followed:
            note = found.absent_row()
            note.is_hidden = False
        else:
            desk.db.session.add(Note(id=1))
        desk.db.session.commit()
        return ""

    desk.app.put("/<int:number>", endpoint="write")(require_if_match(found, create=True)(create))
    answer = desk.app.test_client().put("/1", headers={"If-None-Match": "*"})
    assert answer.status_code == t.either(409, 200)


@advice("refused, since it changed what its loader did not find before")
def a_row_that_the_view_finds_itself(t: Trial) -> None:
    desk = t.desk()
    hidden(desk)
    shown = desk.found_by(
        lambda number: desk.db.session.scalar(select(Note).filter_by(id=number, is_hidden=False))
    )

    def create(_: Any) -> str:
        if t.followed:
            desk.db.session.add(Note(id=2))
        else:
            desk.db.session.get_one(Note, 1).is_hidden = False
        desk.db.session.commit()
        return ""

    number = t.either(1, 2)
    desk.app.put("/<int:number>", endpoint="write")(require_if_match(shown, create=True)(create))
    answer = desk.app.test_client().put(f"/{number}", headers={"If-None-Match": "*"})
    assert answer.status_code == t.either(409, 200)


@advice("its body is streamed, or longer than", "it is not known, should it come again")
def a_long_body(t: Trial) -> None:
    desk = t.desk(ETAG_KEY="a secret")

    def save(note: Any) -> str:
        note.body = request.get_data(as_text=True)[:5]
        desk.db.session.commit()
        return ""

    desk.app.put("/<int:number>", endpoint="write")(require_if_match(desk.find, replay=True)(save))
    assert desk.send(desk.find, data="x" * (2**20 + t.either(1, 0))).status_code == 200


@advice("has failed to read what a request under replay= has written before")
def a_read_that_fails(t: Trial) -> None:
    desk = t.desk(ETAG_KEY="a secret")
    desk.app.testing = False

    def save(note: Any) -> str:
        note.body = "mine"
        desk.db.session.commit()
        return ""

    def show(note: Any) -> dict[str, str]:
        return {"body": note.body} if t.followed else {}[note.body]

    found = desk.find
    desk.app.get("/<int:number>", endpoint="read")(etag_resource(found)(show))
    desk.app.put("/<int:number>", endpoint="write")(require_if_match(found, replay=True)(save))
    with desk.app.test_request_context():
        etag = str(found.etag_of(found(1)))
    statuses = [desk.send(found, etag).status_code for _ in range(2)]
    assert statuses == [200, t.either(204, 200)]


@advice("something above has answered for it")
def a_cache_above(t: Trial) -> None:
    desk = t.desk()
    cache = Cache(desk.app, config={"CACHE_TYPE": "SimpleCache"})
    if t.followed:

        def show(note: Any) -> Any:
            key = f"note/{desk.find.etag_of(note)}"
            body = cache.get(key) or {"body": note.body}
            cache.set(key, body)
            return body

        desk.read(show)
    else:
        desk.read(above=cache.cached(response_filter=lambda answer: answer.status_code == 200))
    desk.app.test_client().get("/1")


@advice("has met another writer there, so that it was answered 409")
def a_read_that_counts(t: Trial) -> None:
    desk = t.desk()
    with desk.app.app_context():
        engine = desk.db.engine
        desk.db.session.add(Note(id=2))
        desk.db.session.commit()

    def rival() -> None:
        with Session(engine) as other:
            other.get_one(Note, 1).body = "theirs"
            other.commit()

    def show(_: Any) -> str:
        beside = desk.db.session.get_one(Note, 1)
        if t.followed:
            beside.seen += 1
        else:
            beside.revision += 1
        in_thread(rival)
        desk.db.session.commit()
        return ""

    desk.app.get("/<int:number>")(etag_resource(desk.find)(show))
    assert desk.app.test_client().get("/2").status_code == t.either(409, 200)


@advice("A receiver of flask_etag.decided has failed")
def a_receiver(t: Trial) -> None:
    desk = t.desk()

    def count(_: Flask, decision: Any) -> None:
        decision.outcome if t.followed else decision.status  # noqa: B018

    with decided.connected_to(count, desk.app):
        assert desk.read().status_code == 200


# At import, and at the first request.


@advice("is not initialised for this application")
def not_initialised(t: Trial) -> None:
    app = Flask("app")
    app.testing = True
    if t.followed:
        ETag(app)
    app.get("/")(etag_resource(lambda: "read"))
    app.test_client().get("/")


@advice("is initialised for this application already")
def initialised_twice(t: Trial) -> None:
    app = Flask("app")
    etag = ETag(app)
    if not t.followed:
        etag.init_app(app)


@advice("takes the Flask application")
def no_application(t: Trial) -> None:
    made: Any = t.either(ETag, EntityTag)
    assert str(made("abc")) == '"abc"'


@advice("is decorated above its route")
def above_its_route(t: Trial) -> None:
    app = t.app()
    if t.followed:
        app.get("/")(etag_resource(lambda: "read"))
    else:
        etag_resource(app.get("/")(lambda: "read"))
    app.test_client().get("/")


@resource(etag=lambda note: "1", lock=lambda number: nullcontext())
def find_one(number: int) -> Any:
    return {"body": "first"}


@advice("is decorated already")
def twice(t: Trial) -> None:
    def view(note: Any) -> str:
        return ""

    if t.followed:
        require_if_match(find_one)(view)
    else:
        etag_resource(find_one)(require_if_match(find_one)(view))


def load(number: int) -> Any:
    return None


@advice("takes the resource that the view is for")
def a_loader_that_is_no_resource(t: Trial) -> None:
    require: Any = require_if_match
    require(t.either(load, find_one))(lambda note: "")


@advice("takes a resource, or decorates a view")
def called_without_a_resource(t: Trial) -> None:
    decorate: Any = etag_resource
    decorate(t.either("find_note", find_one))(lambda note: "")


@advice("is no resource: put @resource above it")
def a_loader_for_a_read(t: Trial) -> None:
    app = t.app()
    decorate: Any = etag_resource
    app.get("/<int:number>")(decorate(t.either(load, find_one))(lambda note: {}))
    app.test_client().get("/1")


@advice("@resource decorates the function")
def a_class_for_a_loader(t: Trial) -> None:
    declare: Any = resource
    declare(t.either(Note, load))


def handing_a_user(view: Any) -> Any:
    @wraps(view)
    def hand(*args: Any, **kwargs: Any) -> Any:
        return view(*args, "a user", **kwargs)

    return hand


@advice("was called with a positional argument")
def a_user_from_above(t: Trial) -> None:
    app = t.app()

    def show(note: Any, *user: str) -> str:
        return "read"

    decorate: Any = etag_resource(find_one)
    app.get("/<int:number>")(decorate(handing_a_user(show)) if t.followed else handing_a_user(decorate(show)))
    app.test_client().get("/1")


@advice("takes no argument, so it would not get the resource")
def no_parameter(t: Trial) -> None:
    require_if_match(find_one)(t.either(lambda: "", lambda note: ""))


@resource(etag=lambda page: "1")
def find_page(book: int, page: int) -> Any:
    return {}


@advice("takes only some of the loader's arguments")
def some_arguments(t: Trial) -> None:
    etag_resource(find_page)(t.either(lambda found, book: "", lambda found, book, page: ""))


@advice("takes only some of the loader's arguments")
def the_resource_alone(t: Trial) -> None:
    etag_resource(find_page)(t.either(lambda found, book: "", lambda found: ""))


@advice("which its loader does not take")
def a_user_that_nobody_hands(t: Trial) -> None:
    app = t.app()
    view: Any = t.either(lambda note, user: "", lambda note, number: "")
    app.get("/<int:number>")(etag_resource(find_one)(view))
    app.test_client().get("/1")


@advice("takes keywords only")
def in_decorators(t: Trial) -> None:
    app = t.app()

    class View(MethodView):
        decorators = t.either([etag_resource(find_one)], [])

        def get(self, note: Any) -> str:
            return str(note)

    view: Any = etag_resource(find_one)(View) if t.followed else View
    app.add_url_rule("/<int:number>", view_func=view.as_view("view"))
    app.test_client().get("/1")


@advice("is no view")
def no_view(t: Trial) -> None:
    decorate: Any = etag_resource(find_one)
    decorate(t.either("view", lambda note: ""))


@advice("without a resource is for reads")
def a_write_without_a_resource(t: Trial) -> None:
    app = t.app()
    view: Any = lambda given: ""  # noqa: E731
    app.put("/<int:given>" if not t.followed else "/<int:number>")(
        require_if_match(find_one)(view) if t.followed else etag_resource(view)
    )
    app.test_client().put("/1", headers={"If-Match": '"1"'})


@advice("is exempt and requires If-Match")
def exempt_and_not(t: Trial) -> None:
    view: Any = exempt("adds only one's own")(lambda note: "")
    if not t.followed:
        require_if_match(find_one)(view)


@advice("takes the reason why a view needs no condition")
def exempt_without_a_reason(t: Trial) -> None:
    mark: Any = exempt
    mark(t.either(lambda: "", "adds only one's own"))(lambda: "")


@advice("is cached below etag_resource or require_if_match")
def a_cache_below(t: Trial) -> None:
    desk = t.desk()
    cache = Cache(desk.app, config={"CACHE_TYPE": "SimpleCache"})

    def cached(note: Any) -> Any:
        key = f"note/{desk.find.etag_of(note)}"
        body = cache.get(key) or {"body": note.body}
        cache.set(key, body)
        return body

    desk.read(t.either(cache.cached()(lambda note: {"body": note.body}), cached))


@advice("answers the conditions of one request, and is not to be stored")
def a_cache_that_pickles(t: Trial) -> None:
    desk = t.desk()
    cache = Cache(desk.app, config={"CACHE_TYPE": "FileSystemCache", "CACHE_DIR": str(t.folder / "cache")})
    options = t.either({}, {"response_filter": lambda answer: answer.status_code == 200})
    desk.app.get("/cached/<int:number>")(cache.cached(**options)(etag_resource(desk.find)(lambda note: "")))
    etag = desk.read().headers["ETag"]
    assert desk.app.test_client().get("/cached/1", headers={"If-None-Match": etag}).status_code == 304


@advice("a 304 that was stored for another request")
def a_cache_of_one_s_own(t: Trial) -> None:
    desk = t.desk()
    stored: list[Any] = []

    def cache(view: Any) -> Any:
        def answer(**given: Any) -> Any:
            if stored:
                return stored[0]
            made = make_response(view(**given))
            if made.status_code == 200 or not t.followed:
                stored.append(made)
            return made

        return answer

    desk.app.get("/cached/<int:number>")(cache(etag_resource(desk.find)(lambda note: "")))
    client, etag = desk.app.test_client(), desk.read().headers["ETag"]
    assert client.get("/cached/1", headers={"If-None-Match": etag}).status_code == 304
    client.get("/cached/1", headers={"If-None-Match": '"another"'})


# Where a tag comes from.


@advice("does not say what its ETag is")
def a_dict_without_a_tag(t: Trial) -> None:
    desk = t.desk()
    desk.read(found=desk.found_by(lambda number: {"body": ""}, **t.either({}, {"etag": content_hash(dict)})))


@advice("has no version, so nothing says what its ETag is")
def a_model_without_a_version(t: Trial) -> None:
    desk = t.desk()
    desk.read(found=desk.found_by(lambda number: desk.db.session.get(t.either(Plain, Note), number)))


@advice("version_column() takes the name of an attribute")
def a_column_for_its_name(t: Trial) -> None:
    name: Any = t.either(Plain.revision, "revision")
    version_column(name)


@advice("which version_column() names")
def a_name_that_is_not_there(t: Trial) -> None:
    desk = t.desk()
    option = version_column(t.either("revision_", "revision"))
    desk.read(found=desk.found_by(lambda number: desk.db.session.get(Plain, number), etag=option))


@advice("is not enough to tell: write etag=version_column")
def a_text_for_a_validator(t: Trial) -> None:
    option: Any = t.either("revision", version_column("revision"))
    resource(etag=option)(load)


@advice("etag= takes version_column")
def an_async_validator(t: Trial) -> None:
    async def tag(note: Any) -> str:
        return "1"

    option: Any = t.either(tag, lambda note: "1")
    resource(etag=option)(load)


@advice("for an ETag: it takes a str, an EntityTag or None")
def a_number_for_a_tag(t: Trial) -> None:
    desk = t.desk()
    desk.read(found=desk.found_by(lambda number: {}, etag=lambda note: t.either(1, "1")))


@advice("content_hash() takes an object with dump()")
def no_schema(t: Trial) -> None:
    content_hash(t.either("NoteSchema", dict))


class Schema:
    def dump(self, note: Any) -> Any:
        return {"body": note.body}


@advice("takes a schema, and was given its class")
def a_schema_s_class(t: Trial) -> None:
    schema: Any = t.either(Schema, Schema())
    content_hash(schema)


@advice("content_hash() needs what JSON can say", "it has no way to say")
def what_json_cannot_say(t: Trial) -> None:
    desk = t.desk()
    dump = t.either(lambda note: {"body": object()}, lambda note: {"body": str(note.body)})
    desk.read(found=desk.found_by(lambda number: desk.db.session.get(Plain, number), etag=content_hash(dump)))


@advice("content_hash() needs what JSON can say")
def keys_of_two_types(t: Trial) -> None:
    desk = t.desk()
    dump = t.either(lambda note: {1: "", "a": ""}, lambda note: {"1": "", "a": ""})
    desk.read(found=desk.found_by(lambda number: desk.db.session.get(Plain, number), etag=content_hash(dump)))


@advice("has no content_of(): its tag is no content_hash()")
def content_of_a_version(t: Trial) -> None:
    desk = t.desk()
    option = t.either({}, {"etag": content_hash(lambda note: {"body": note.body})})
    found = desk.found_by(lambda number: desk.db.session.get(Note, number), **option)
    desk.read(lambda note: Response(found.content_of(note), mimetype="application/json"), found)


@advice("is None, so it has no ETag", "has no version: flush the session")
def a_tag_before_the_flush(t: Trial) -> None:
    desk = t.desk()
    with desk.app.app_context():
        find_plain = desk.found_by(load, etag=version_column("revision"))
        for found, made in ((find_plain, Plain(id=2)), (desk.find, Note(id=2))):
            desk.db.session.add(made)
            if t.followed:
                desk.db.session.flush()
            errors: list[ValueError] = []
            try:
                found.etag_of(made)
            except ValueError as error:
                errors.append(error)
                logging.getLogger("trial").warning("%s", error)


@advice("has no ETag.")
def a_function_that_gives_none(t: Trial) -> None:
    found = t.desk().found_by(load, etag=lambda note: t.either(None, "1"))
    with t.app().app_context():
        found.etag_of({})


class Money:
    def __init__(self, amount: int) -> None:
        self.amount = amount


class MoneyWithText(Money):
    def __str__(self) -> str:
        return str(self.amount)


@advice("of its own, so it cannot be part of an ETag")
def a_version_without_a_text(t: Trial) -> None:
    class Thing:
        revision = t.either(Money, MoneyWithText)(1)

    desk = t.desk()
    desk.read(found=desk.found_by(lambda number: Thing(), etag=version_column("revision")))


@advice("A loader returned a Row with an object in it")
def execute_for_scalars(t: Trial) -> None:
    desk = t.desk()

    def find(number: int) -> Any:
        chosen = select(Note).filter_by(id=number)
        return desk.db.session.scalars(chosen).one() if t.followed else desk.db.session.execute(chosen).one()

    desk.read(found=desk.found_by(find))


@advice("which has no rows yet, or reads them by itself")
def a_select_for_a_page(t: Trial) -> None:
    desk = t.desk()

    def find(number: int) -> Any:
        chosen = select(Note).order_by(Note.id)
        return Page(desk.db.session, chosen, page=1, per_page=5) if t.followed else chosen

    desk.read(found=desk.found_by(find))


@advice("last_modified= of")
def a_date_that_is_a_text(t: Trial) -> None:
    desk = t.desk()
    option = {"last_modified": lambda note: t.either("today", None)}
    desk.read(found=desk.found_by(lambda number: desk.db.session.get(Note, number), **option))


@advice("headers= of")
def fields_that_are_a_list(t: Trial) -> None:
    desk = t.desk()
    option = {"headers": lambda note: t.either([("Vary", "Cookie")], {"Vary": "Cookie"})}
    desk.read(found=desk.found_by(lambda number: desk.db.session.get(Note, number), **option))


@advice("which JSON cannot say")
def a_variant_that_is_an_object(t: Trial) -> None:
    desk = t.desk()
    option = {"variant": lambda note: t.either(object(), "de")}
    desk.read(found=desk.found_by(lambda number: desk.db.session.get(Note, number), **option))


@advice("= takes a function")
def a_text_for_a_lock(t: Trial) -> None:
    option: Any = t.either("lock", lambda number: Lock())
    resource(lock=option)(load)


@advice("= takes True or False")
def a_text_for_a_choice(t: Trial) -> None:
    option: Any = t.either("yes", True)
    require_if_match(find_one, create=option)


@advice("An entity tag is made of a text")
def a_tag_of_a_number(t: Trial) -> None:
    tag: Any = t.either(1, "1")
    str(EntityTag(tag))


@advice("cannot be an entity tag")
def a_tag_with_quotes(t: Trial) -> None:
    for text_of_it in t.either(['"1"', "1 2", "€"], ["1", "ä"]):
        try:
            str(EntityTag(text_of_it))
        except ValueError as error:
            logging.getLogger("trial").warning("%s", error)


@advice("is longer than any that is read")
def a_tag_that_is_too_long(t: Trial) -> None:
    desk = t.desk()
    tag = "x" * t.either(8189, 8188)
    assert desk.read(found=desk.found_by(lambda number: {}, etag=lambda note: tag)).headers["ETag"] == f'"{tag}"'


# Models, sessions and databases. A model that is refused is made anew each time, on a base of its own.


def model_of(name: str, **attributes: Any) -> Any:
    base: Any = type("Base", (DeclarativeBase,), {})
    key: Any = mapped_column(primary_key=True)
    annotations = {"id": Mapped[int], "body": Mapped[str]}
    return type(
        name,
        (*attributes.pop("mixins", (Versioned,)), base),
        {"__tablename__": name.lower(), "__annotations__": annotations, "id": key, **attributes},
    )


@advice("has a __mapper_args__ of its own")
def mapper_args(t: Trial) -> None:
    class Base(DeclarativeBase):
        pass

    class Thing(Versioned, Base):
        __tablename__ = "thing"
        id: Mapped[int] = mapped_column(primary_key=True)

        @declared_attr.directive
        def __mapper_args__(cls) -> dict[str, Any]:  # noqa: N805
            return {**t.either({}, super().__mapper_args__), "eager_defaults": True}

    Base.registry.configure()


@advice("is a set of names, such as")
def a_text_for_names(t: Trial) -> None:
    model_of("Thing", __unversioned__=t.either("body", {"body"})).registry.configure()


@advice("it takes names of attributes that are columns")
def a_name_of_no_column(t: Trial) -> None:
    model_of("Thing", __unversioned__={t.either("content", "body")}).registry.configure()


@advice("takes a version that SQLAlchemy makes")
def no_version_for_unversioned(t: Trial) -> None:
    mixins = t.either((), (Versioned,))
    model_of("Thing", mixins=mixins, __unversioned__={"body"}).registry.configure()


@advice("can change without it, and nothing would guard them")
def a_hash_of_other_rows(t: Trial) -> None:
    desk = t.desk()

    def dump(note: Any) -> Any:
        others = [] if t.followed else list(desk.db.session.scalars(select(Remark.id)))
        return {"body": note.body, "others": others}

    find = lambda number: desk.db.session.get(Plain, number)  # noqa: E731
    assert desk.write(found=desk.found_by(find, etag=content_hash(dump))).status_code == 200


@advice("covers() takes a relationship")
def a_column_that_is_covered(t: Trial) -> None:
    part: Any = t.either(Note.body, Note.stars)
    covers(part)


@advice("has no version that its parts could move")
def a_whole_without_a_version(t: Trial) -> None:
    class Base(DeclarativeBase):
        pass

    class Book(*t.either((), (Versioned,)), Base):  # type: ignore[misc]
        __tablename__ = "book"
        id: Mapped[int] = mapped_column(primary_key=True)
        pages: Mapped[list[Leaf]] = relationship()

    class Leaf(Base):
        __tablename__ = "leaf"
        id: Mapped[int] = mapped_column(primary_key=True)
        book_id: Mapped[int] = mapped_column(ForeignKey("book.id"))

    covers(Book.pages)
    Base.registry.configure()


@advice("is not possible: it takes a relationship")
def the_whole_of_a_part(t: Trial) -> None:
    class Base(DeclarativeBase):
        pass

    class Book(Versioned, Base):
        __tablename__ = "book"
        id: Mapped[int] = mapped_column(primary_key=True)
        pages: Mapped[list[Leaf]] = relationship(back_populates="book")

    class Leaf(Versioned, Base):
        __tablename__ = "leaf"
        id: Mapped[int] = mapped_column(primary_key=True)
        book_id: Mapped[int] = mapped_column(ForeignKey("book.id"))
        book: Mapped[Book] = relationship(back_populates="pages")

    Base.registry.configure()
    covers(t.either(Leaf.book, Book.pages))


@advice("there is nothing to touch")
def touched_before_the_flush(t: Trial) -> None:
    desk = t.desk()
    with desk.app.app_context():
        desk.db.session.add(note := Note(id=2))
        if t.followed:
            desk.db.session.flush()
        touch(note)


@advice("touch() takes an object of a model")
def touched_where_there_is_none(t: Trial) -> None:
    """As the parent of a row that has none."""
    desk = t.desk()
    with desk.app.app_context():
        touch(t.either(None, desk.db.session.get(Note, 1)))


@advice("has no version that could be moved")
def touched_without_a_version(t: Trial) -> None:
    desk = t.desk()
    with desk.app.app_context():
        touch(desk.db.session.get_one(t.either(Plain, Note), 1))


def counted(desk: Desk, **mapper_args: Any) -> type:
    """Make a model whose version is a number, and its row 1."""

    class Base(DeclarativeBase):
        pass

    class Counted(Base):
        __tablename__ = "counted"
        id: Mapped[int] = mapped_column(primary_key=True)
        revision: Mapped[int] = mapped_column()
        body: Mapped[str] = mapped_column(default="first")
        __mapper_args__ = {"version_id_col": revision, **mapper_args}  # noqa: RUF012

    with desk.app.app_context():
        Base.metadata.create_all(desk.db.engine)
        desk.db.session.add(Counted(id=1))
        desk.db.session.commit()
    return Counted


@advice("has confirm_deleted_rows=False")
def deletions_that_are_not_confirmed(t: Trial) -> None:
    desk = t.desk()
    model = counted(desk, **t.either({"confirm_deleted_rows": False}, {}))
    assert desk.write(found=desk.found_by(lambda number: desk.db.session.get(model, number))).status_code == 200


@advice("a connection that commits by itself (AUTOCOMMIT)")
def autocommit(t: Trial) -> None:
    options = t.either({"isolation_level": "AUTOCOMMIT"}, {})
    assert t.desk(SQLALCHEMY_ENGINE_OPTIONS=options).write().status_code == 200


@advice("is in no session, so that nothing can guard it")
def detached(t: Trial) -> None:
    desk = t.desk()

    def find(number: int) -> Any:
        note = desk.db.session.get(Note, number)
        if not t.followed:
            desk.db.session.expunge(note)
        return note

    desk.write(found=desk.found_by(find))


@advice("was changed before the request was judged by its ETag")
def a_loader_that_changes(t: Trial) -> None:
    desk = t.desk()

    def find(number: int) -> Any:
        plain = desk.db.session.get_one(Plain, number)
        plain.body = t.either("normalised", plain.body)
        return plain

    desk.write(found=desk.found_by(find, etag=content_hash(lambda plain: plain.body)))


@advice("has begun the transaction that the view writes in")
def a_transaction_that_is_begun_twice(t: Trial) -> None:
    desk = t.desk()

    def save(note: Any) -> str:
        if t.followed:
            note.body = "mine"
            desk.db.session.commit()
        else:
            with desk.db.session.begin():
                note.body = "mine"
        return ""

    assert desk.write(save).status_code == 200


@advice("how to lock its rows on")
def a_database_that_is_not_known(t: Trial) -> None:
    desk = t.desk()
    find = lambda number: desk.db.session.get(t.either(Plain, Note), number)  # noqa: E731
    found = desk.found_by(find, etag=version_column("revision"))
    with desk.app.app_context():
        desk.db.engine.dialect.name = "oracle"  # no other is at hand
    desk.write(lambda note: "", found)


@advice("ends the transaction that its target is guarded in")
def a_commit_as_a_text(t: Trial) -> None:
    desk = t.desk()

    def save(note: Any) -> str:
        note.body = "mine"
        desk.db.session.flush()
        if t.followed:
            desk.db.session.commit()
        else:
            desk.db.session.execute(text("COMMIT"))
        return ""

    assert desk.write(save).status_code == 200


@advice("which would wait for the first without end")
def a_second_session(t: Trial) -> None:
    desk = t.desk()

    def save(note: Any) -> str:
        note.body = "mine"
        desk.db.session.flush()
        if t.followed:
            desk.db.session.commit()
        with Session(desk.db.engine) as other:
            other.get_one(Note, 1).revision += 1
            other.commit()
        return ""

    desk.write(save)


@advice("two requests could do so at once")
def the_latest_of_several(t: Trial) -> None:
    desk = t.desk()
    latest = lambda number: desk.db.session.scalar(select(Note).order_by(Note.id.desc()).limit(1))  # noqa: E731
    found = t.either(desk.found_by(latest), desk.find)

    def save(note: Any) -> str:
        if t.followed:
            desk.db.session.add(Star(note_id=note.id))
        else:
            desk.db.session.add(Note(id=2))
        desk.db.session.commit()
        return ""

    assert desk.write(save, found).status_code == 200


@advice("so that there was no ETag")
def a_history_from_before(t: Trial) -> None:
    with t.app().app_context():
        str(etag_of_version(Note, 1, t.either(None, "abc")))


@advice("is of type ..., and ... was given")
def a_key_as_a_text(t: Trial) -> None:
    with t.app().app_context():
        str(etag_of_version(Note, t.either("1", 1), "abc"))


@advice("parts, and ... was given")
def a_key_of_one_part(t: Trial) -> None:
    class Base(DeclarativeBase):
        pass

    class Seat(Versioned, Base):
        __tablename__ = "seat"
        row: Mapped[int] = mapped_column(primary_key=True)
        place: Mapped[int] = mapped_column(primary_key=True)

    with t.app().app_context():
        str(etag_of_version(Seat, t.either(1, (1, 2)), "abc"))


# Pages, batches, replays.


@advice("A page is told by page= and per_page=")
@advice("offset= and limit= take integers", "offset= is 0 or more")
@advice("page= and per_page= take integers", "Pages are counted from 1", "all members are on the first page")
def pages(t: Trial) -> None:
    wrong: list[dict[str, Any]] = [
        {"page": 1, "per_page": 5, "offset": 0, "limit": 5},
        {"offset": "0", "limit": 5},
        {"offset": -1, "limit": 5},
        {"page": "1", "per_page": 5},
        {"page": 0, "per_page": 5},
        {"page": 2},
    ]
    right: list[dict[str, Any]] = [{"page": 2, "per_page": 5}, {"offset": 0, "limit": 5}, {"page": 1}, {}]
    for given in t.either(wrong, right):
        try:
            Page(Session(), select(Note).order_by(Note.id), **given)
        except (TypeError, ValueError) as error:
            logging.getLogger("trial").warning("%s", error)


@advice("Page() takes a select of one model with a version")
def a_page_without_versions(t: Trial) -> None:
    Page(Session(), select(t.either(Plain, Note)))


@advice("leaves the version of ... for later")
def a_version_for_later(t: Trial) -> None:
    desk = t.desk()
    columns: Any = t.either([Note.body], [Note.body, Note.version])
    chosen = select(Note).order_by(Note.id).options(load_only(*columns))
    desk.read(
        lambda page: jsonify([note.body for note in page]), desk.found_by(lambda _: Page(desk.db.session, chosen))
    )


def batch(t: Trial, items: Callable[[], Any], method: str = "PATCH", **options: Any) -> Any:
    desk = t.desk()
    find = lambda number: desk.db.session.get(Note, number)  # noqa: E731
    found = desk.found_by(find, **options)
    decorated = require_if_match(found, each=items)(lambda notes: jsonify(len(notes)))
    desk.app.route("/all", methods=["GET", "PATCH"])(decorated)
    with desk.app.test_request_context():
        tag = str(desk.find.etag_of(found(1)))
    return desk.app.test_client().open("/all", method=method, json=[{"etag": tag, "id": 1}])


@advice("each= gave")
def items_without_arguments(t: Trial) -> None:
    one = lambda: [each["etag"] for each in request.get_json()]  # noqa: E731
    followed = lambda: [(each["etag"], {"number": each["id"]}) for each in request.get_json()]  # noqa: E731
    assert batch(t, t.either(one, followed)).status_code == 200


@advice("each= takes a function")
def items_for_a_function(t: Trial) -> None:
    each: Any = t.either([("1", {"number": 1})], lambda: [("1", {"number": 1})])
    require_if_match(find_one, each=each)


@advice("each= is for writes")
def a_batch_that_reads(t: Trial) -> None:
    each = lambda: [(each["etag"], {"number": each["id"]}) for each in request.get_json()]  # noqa: E731
    batch(t, each, method=t.either("GET", "PATCH"))


@advice("lock= of ... gave")
def a_lock_that_is_none(t: Trial) -> None:
    desk = t.desk()
    option: Any = lambda number: t.either("lock", Lock())  # noqa: E731
    desk.write(lambda note: "", desk.found_by(lambda number: {}, etag=lambda note: "1", lock=option))


@advice("replay= takes True, or a function")
def a_text_for_who_sends(t: Trial) -> None:
    option: Any = t.either("user", lambda: "user")
    require_if_match(t.desk().find, replay=option)


@advice("replay= takes a resource whose tag is the version")
def a_replay_of_a_hash(t: Trial) -> None:
    desk = t.desk(ETAG_KEY="a secret")
    option = t.either({"etag": content_hash(lambda note: {})}, {})
    require_if_match(desk.found_by(load, **option), replay=True)


@advice("replay= needs a model")
def a_replay_without_a_version(t: Trial) -> None:
    desk = t.desk(ETAG_KEY="a secret")
    model = t.either(counted(desk), Note)
    find = lambda number: desk.db.session.get(model, number)  # noqa: E731
    assert desk.write(found=desk.found_by(find), replay=True).status_code == 200


@advice("replay= needs ETAG_KEY")
def a_replay_without_a_key(t: Trial) -> None:
    assert t.desk(**t.either({}, {"ETAG_KEY": "a secret"})).write(replay=True).status_code == 200


@advice("commits once")
def a_view_that_commits_twice(t: Trial) -> None:
    desk = t.desk(ETAG_KEY="a secret")

    def save(note: Any) -> str:
        note.body = "mine"
        if not t.followed:
            desk.db.session.commit()
        note.revision += 1
        desk.db.session.commit()
        return ""

    assert desk.write(save, replay=True).status_code == 200


# Settings.


@advice("ETAG_REQUIRE is", "ETAG_CACHE_CONTROL is", "ETAG_EPOCH is", "ETAG_ACCEPT_WEAKENED is")
@advice("takes a secret text or bytes", "ETAG_KEY_FALLBACKS takes a list")
def settings(t: Trial) -> None:
    wrong = {
        "REQUIRE": "off",
        "CACHE_CONTROL": 0,
        "EPOCH": 1.1,
        "ACCEPT_WEAKENED": "yes",
        "KEY": "",
        "KEY_FALLBACKS": "",
    }
    right = {
        "REQUIRE": "report",
        "CACHE_CONTROL": "no-cache",
        "EPOCH": "1.10",
        "ACCEPT_WEAKENED": True,
        "KEY": "abc",
    }
    for name, value in t.either(wrong, {**right, "KEY_FALLBACKS": [None, "before"]}).items():
        try:
            t.app(**{f"ETAG_{name}": value})
        except ValueError as error:
            logging.getLogger("trial").warning("%s", error)


@advice("ETAG_EPOCH is")
def an_epoch_of_the_environment(t: Trial) -> None:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("FLASK_ETAG_EPOCH", t.either("1.10", '"1.10"'))
        app = Flask("app")
        app.config.from_prefixed_env()
        ETag(app)


# In tests, on the command line, in clients.


def saving(etag: str) -> Any:
    return lambda client: client.put("/1", headers={"If-Match": etag})


def ready(t: Trial, **config: Any) -> tuple[Desk, str]:
    """Return a desk whose PUT /1 saves, and the tag of note 1."""
    desk = t.desk(**config)

    def save(note: Any) -> str:
        note.body = "mine"
        desk.db.session.commit()
        return ""

    desk.app.put("/<int:number>")(require_if_match(desk.find)(save))
    with desk.app.test_request_context():
        desk.db.create_all()  # where it is in memory
        desk.db.session.merge(Note(id=1))
        desk.db.session.commit()
        return desk, str(desk.find.etag_of(desk.find(1)))


@advice("came to no view that is decorated")
def a_race_of_the_stale(t: Trial) -> None:
    desk, etag = ready(t)
    save = saving(t.either('"old"', etag))
    race(desk.app, save, save)


@advice("of SQLite's in memory")
def a_race_in_memory(t: Trial) -> None:
    desk, etag = ready(t, **t.either({"SQLALCHEMY_DATABASE_URI": "sqlite://"}, {}))
    race(desk.app, saving(etag), saving(etag))


@advice("Both requests use the same connection")
def a_race_on_one_connection(t: Trial) -> None:
    shared = {"poolclass": StaticPool, "connect_args": {"check_same_thread": False}}
    desk, etag = ready(t, SQLALCHEMY_ENGINE_OPTIONS=t.either(shared, {}))
    race(desk.app, saving(etag), saving(etag))


@advice("was sent after that was answered")
def a_race_of_two_requests_each(t: Trial) -> None:
    desk, etag = ready(t)
    save = saving(etag)

    def twice(client: Any) -> Any:
        save(client)
        return save(client)

    race(desk.app, t.either(twice, save), save)


@advice("returned no response")
def a_race_without_an_answer(t: Trial) -> None:
    desk, etag = ready(t)
    save = saving(etag)
    forgets: Any = lambda client: save(client) if t.followed else None  # noqa: E731
    race(desk.app, forgets, save)


@advice("A request was not answered in")
def a_race_that_hangs(t: Trial) -> None:
    desk, etag = ready(t)
    ended = Event()

    def hang(client: Any) -> Any:
        if not t.followed:
            ended.wait(20)
        return saving(etag)(client)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("flask_etag.testing._LONGEST", t.either(0.1, 60))
        race(desk.app, saving(etag), hang, wait=0.05)
    ended.set()


@advice("Not protected:")
def a_route_that_is_not_protected(t: Trial) -> None:
    app = t.app()
    view: Any = lambda note: ""  # noqa: E731
    app.put("/<int:number>")(require_if_match(find_one)(view) if t.followed else view)
    assert_protected(app)


@advice("Not protected:")
def a_route_that_needs_no_condition(t: Trial) -> None:
    app = t.app()
    view: Any = lambda number: ""  # noqa: E731
    app.put("/<int:number>")(exempt("adds only one's own")(view) if t.followed else view)
    assert_protected(app)


@advice("Written without a guard:")
def a_write_without_a_guard(t: Trial) -> None:
    desk, etag = ready(t)

    @desk.app.put("/bare/<int:number>")
    def save_bare(number: int) -> str:
        desk.db.session.get_one(Note, number).body = "mine"
        desk.db.session.commit()
        return ""

    with unguarded_writes(desk.app):
        answer = desk.app.test_client().put(t.either("/bare/1", "/1"), headers={"If-Match": etag})
        assert answer.status_code == 200


def command(t: Trial, desk: Desk, *words: str) -> None:
    """Run a command of ``flask``; what it prints and exits with other than 0 is told."""
    result = desk.app.test_cli_runner().invoke(args=["etag", *words])
    if result.exit_code:
        logging.getLogger("trial").warning("%s", result.output)


@advice("is no URL")
def a_doctor_without_a_scheme(t: Trial) -> None:
    desk, _ = ready(t)
    desk.app.get("/<int:number>")(etag_resource(desk.find)(lambda note: {"body": note.body}))
    with serving(desk.app) as url:
        command(t, desk, "doctor", t.either(url.removeprefix("http://"), url) + "/1")


@advice("and 200 is needed")
def a_doctor_before_a_login(t: Trial) -> None:
    desk, _ = ready(t)

    @desk.app.before_request
    def authenticate() -> Any:
        return None if request.authorization else ("", 401)

    desk.app.get("/<int:number>")(etag_resource(desk.find)(lambda note: {"body": note.body}))
    with serving(desk.app) as url:
        command(t, desk, "doctor", f"{url}/1", *t.either([], ["--header", "Authorization: Bearer alice"]))


@advice("does not answer")
def a_doctor_of_nobody(t: Trial) -> None:
    desk, _ = ready(t)
    desk.app.get("/<int:number>")(etag_resource(desk.find)(lambda note: {"body": note.body}))
    with serving(desk.app) as url:
        command(t, desk, "doctor", t.either("http://127.0.0.1:9", url) + "/1")


@advice("is no field: write")
def a_field_without_a_colon(t: Trial) -> None:
    desk, _ = ready(t)
    desk.app.get("/<int:number>")(etag_resource(desk.find)(lambda note: {"body": note.body}))
    command(t, desk, "explain", "GET", "/1", "--header", t.either("Accept", "Accept: text/html"))


@advice("An error has left the application")
def an_error_of_the_loader(t: Trial) -> None:
    desk = t.desk()
    found = desk.found_by(lambda number: desk.db.session.get(Note, number) if t.followed else 1 / 0)
    desk.app.get("/<int:number>")(etag_resource(found)(lambda note: {"body": note.body}))
    command(t, desk, "explain", "GET", "/1")


@advice("describe() takes an OpenAPI document")
def a_document_of_a_version_of_before(t: Trial) -> None:
    with t.app().app_context():
        describe({t.either("swagger", "openapi"): t.either("1.2", "3.1.0"), "paths": {}})


@advice("describe() takes an OpenAPI document")
def a_document_that_is_not_dumped_yet(t: Trial) -> None:
    spec = APISpec("notes", "1", "3.1.0")
    with t.app().app_context():
        describe(t.either(spec, spec.to_dict()))


@advice("None is no content that can be saved")
def nothing_to_save(t: Trial) -> None:
    desk, _ = ready(t)
    desk.app.get("/<int:number>")(etag_resource(desk.find)(lambda note: {"body": note.body}))
    desk.app.delete("/<int:number>", endpoint="delete")(require_if_match(desk.find)(lambda note: ("", 204)))
    sent_by = desk.app.test_client()
    copy = client.read(sent_by, "/1")
    if t.followed:
        client.delete(sent_by, "/1", copy)
    else:
        client.save(sent_by, "/1", copy, None)


@advice("There is no ETag of")
def a_read_that_is_not_tagged(t: Trial) -> None:
    desk, _ = ready(t)
    view: Any = etag_resource(desk.find)(lambda note: {"body": note.body}) if t.followed else lambda number: {}
    desk.app.get("/<int:number>")(view)
    sent_by = desk.app.test_client()
    client.save(sent_by, "/1", client.read(sent_by, "/1"), {"body": "mine"})


@advice("No answer came from")
def a_server_that_is_not_there(t: Trial) -> None:
    desk, _ = ready(t)
    desk.app.get("/<int:number>")(etag_resource(desk.find)(lambda note: {"body": note.body}))
    with serving(desk.app) as url, httpx.Client() as sent_by:
        client.read(sent_by, t.either("http://127.0.0.1:9", url) + "/1", attempts=1)


@advice("and one is no object: give body=")
def contents_that_are_lists(t: Trial) -> None:
    desk = t.desk()
    notes = {"/1": [1], "/2": [2]}
    lock = Lock()
    found = desk.found_by(
        lambda number: notes[f"/{number}"], etag=content_hash(lambda note: note), lock=lambda number: lock
    )

    def items() -> Any:
        return [(each["etag"], {"number": each["number"]}) for each in request.get_json()]

    def save(_: Any) -> str:
        notes.update({f"/{each['number']}": each["list"] for each in request.get_json()})
        return ""

    def body(copies: Any) -> Any:
        return [{"etag": each.etag, "number": n, "list": each.content} for n, each in enumerate(copies, 1)]

    desk.app.get("/<int:number>")(etag_resource(found)(jsonify))
    desk.app.patch("/all")(require_if_match(found, each=items)(save))
    options: Any = t.either({}, {"body": body})
    change: Any = lambda contents: [[*each, 3] for each in contents]  # noqa: E731
    client.update_each(desk.app.test_client(), "/all", ["/1", "/2"], change, **options)
    assert notes == {"/1": [1, 3], "/2": [2, 3]}


@advice("The application has a handler of its own")
def what_restx_has_answered_already(t: Trial) -> None:
    app = t.app()
    api: Any = flask_restx.Api(app)

    def refuse(error: Any) -> Any:
        return (error.problem() if t.followed else error.data), 412

    api.errorhandler(PreconditionFailed)(refuse)

    class View(flask_restx.Resource):  # type: ignore[misc]
        @require_if_match(find_one)
        def put(self, note: Any) -> Any:
            return str(note)

    api.add_resource(View, "/<int:number>")
    answer: Any = app.test_client().put("/1", headers={"If-Match": '"old"'})
    assert answer.json["reason"] == "stale"


@advice("no entity tag at character", "longer than ... characters", "more than ... entity tags")
def fields_that_cannot_be_read(t: Trial) -> None:
    many = ",".join(['"1"'] * t.either(257, 256))
    for field in (t.either("1", '"1"'), '"' + "x" * t.either(8189, 8188) + '"', many):
        try:
            TagList.parse(field)
        except MalformedField as error:
            logging.getLogger("trial").warning("%s", error)


@advice("has a table of its own, and no version in it")
def a_concrete_table(t: Trial) -> None:
    class Base(DeclarativeBase):
        pass

    if t.followed:

        class Abstract(Versioned, Base):
            __abstract__ = True
            id: Mapped[int] = mapped_column(primary_key=True)

        class Tame(Abstract):
            __tablename__ = "tame"

        class Wild(Abstract):
            __tablename__ = "wild"

    else:

        class Animal(Versioned, Base):
            __tablename__ = "animal"
            id: Mapped[int] = mapped_column(primary_key=True)

        class Cat(Animal):
            __tablename__ = "cat"
            id: Mapped[int] = mapped_column(primary_key=True)
            __mapper_args__ = {"concrete": True}  # noqa: RUF012

    Base.registry.configure()


MAKE_NOTE_2 = text(
    "INSERT OR REPLACE INTO note (id, body, is_hidden, revision, seen, version) VALUES (2, 'mine', 0, 1, 0, 'v')"
)


@advice("has been made since the request was judged")
def a_creation_that_is_wrapped(t: Trial) -> None:
    desk = t.desk()
    with desk.app.app_context():
        engine = desk.db.engine

    def rival() -> None:
        with Session(engine) as other:
            other.add(Note(id=2, body="theirs"))
            other.commit()

    def create(_: Any) -> str:
        in_thread(rival)
        try:
            desk.db.session.execute(MAKE_NOTE_2)
            desk.db.session.commit()
        except StaleDataError as error:
            if not t.followed:
                logging.getLogger("trial").warning("%s", error)
            raise
        return ""

    desk.app.put("/<int:number>")(require_if_match(desk.find, create=True)(create))
    assert desk.send(desk.find, number=2).status_code == 412


@advice("by another session or connection than its loader")
def a_creation_by_another_session(t: Trial) -> None:
    desk = t.desk()
    with desk.app.app_context():
        begin_for_real(desk.db.engine)

    def create(_: Any) -> str:
        desk.db.session.add(Remark())
        if t.followed:
            desk.db.session.commit()
        with Session(desk.db.engine) as other:
            other.execute(update(Note).values(body="mine"))
            other.commit()
        return ""

    desk.app.put("/<int:number>")(require_if_match(desk.find, create=True)(create))
    assert desk.send(desk.find, number=2).status_code == 200


@advice("has been changed since the request was judged")
def a_refusal_that_is_wrapped(t: Trial) -> None:
    """It is met in what the view makes of it; let pass, it is answered 412."""
    desk = t.desk()

    def save(note: Any) -> str:
        def rival() -> None:
            with Session(desk_engine) as other:
                other.get_one(Note, 1).body = "theirs"
                other.commit()

        in_thread(rival)
        try:
            desk.db.session.execute(update(Note).values(body="mine"))
        except StaleDataError as error:
            if not t.followed:
                logging.getLogger("trial").warning("%s", error)
            raise
        return ""

    with desk.app.app_context():
        desk_engine = desk.db.engine
    assert desk.write(save).status_code == 412


@advice("is not a text, an integer or a UUID", "have one name, of two types")
def keys_of_items(t: Trial) -> None:
    desk = t.desk()
    lock = nullcontext()
    found = desk.found_by(lambda number: {}, etag=lambda note: "1", lock=lambda number: lock)

    def items() -> Any:
        return [('"1"', {"number": number}) for number in request.get_json()]

    desk.app.patch("/all")(require_if_match(found, each=items)(lambda notes: ""))
    for numbers in t.either([[1.5], [1, "1"]], [[1], ["1"], [1, 2]]):
        answer = desk.app.test_client().patch("/all", json=numbers)
        if answer.status_code == 400:
            logging.getLogger("trial").warning("%s", answer.get_data(as_text=True))


def compare_by_hand(desk: Desk, *before: Any) -> Any:
    """Serve PUT /1 by a view that compares and then writes, and is not decorated, behind what writes before it."""

    @desk.app.put("/1")
    def save_by_hand() -> Any:
        for write in before:
            write()
        note = desk.db.session.get_one(Plain, 1)
        if request.get_json()["revision"] != note.revision:
            return "", 412
        note.revision = (note.revision or 0) + 1
        desk.db.session.commit()
        return ""

    return lambda client: client.put("/1", json={"revision": 1})


@advice("was stopped at its first write to")
def a_table_that_is_written_before(t: Trial) -> None:
    desk = t.desk()

    def count() -> None:
        desk.db.session.get_one(Plain, 1)
        desk.db.session.execute(update(Plain).values(body="counted"))
        desk.db.session.commit()

    save = compare_by_hand(desk, *t.either([count], []))
    race(desk.app, save, save)


@advice("The first request was stopped at its write to")
def another_table_that_is_written_before(t: Trial) -> None:
    desk = t.desk()

    def count() -> None:
        desk.db.session.get_one(Remark, 1).body += "."
        desk.db.session.commit()

    save = compare_by_hand(desk, count)
    options: Any = t.either({}, {"at": Plain})
    race(desk.app, save, save, **options)


@advice("and has to be 200, with an ETag")
def conformance_of_what_is_not_there(t: Trial) -> None:
    desk, _ = ready(t)
    desk.app.get("/<int:number>")(etag_resource(desk.find)(lambda note: {"body": note.body}))
    with serving(desk.app) as url:
        for _ in conformance(None, url + t.either("/404", "/1")):
            pass


@advice("it was not done after")
def a_doctor_of_a_slow_one(t: Trial) -> None:
    desk, _ = ready(t)
    ended = Event()

    @desk.app.before_request
    def wait() -> None:
        if not t.followed:
            ended.wait(20)

    desk.app.get("/<int:number>")(etag_resource(desk.find)(lambda note: {"body": note.body}))
    with pytest.MonkeyPatch.context() as patch, serving(desk.app) as url:
        patch.setattr("flask_etag.doctor.TIMEOUT", t.either(0.2, 10))
        command(t, desk, "doctor", f"{url}/1")
        ended.set()


# What flask_etag.client raises: each is an answer to a person, who does what it says.


def served(t: Trial, **config: Any) -> Any:
    """Return a client of a desk that reads, saves and deletes at /<number>."""
    desk = t.desk(**config)

    def save(note: Any) -> Any:
        if note is None:
            desk.db.session.add(note := Note(id=int(request.path[1:])))
        note.body = request.get_json()["body"]
        desk.db.session.commit()
        return {"body": note.body}

    def delete(note: Any) -> Any:
        desk.db.session.delete(note)
        desk.db.session.commit()
        return "", 204

    desk.app.get("/<int:number>")(etag_resource(desk.find)(lambda note: {"body": note.body}))
    desk.app.put("/<int:number>", endpoint="save")(require_if_match(desk.find, create=True)(save))
    desk.app.delete("/<int:number>", endpoint="delete")(require_if_match(desk.find)(delete))
    return desk.app.test_client()


@advice("ETags on their way, as those that compress do")
def a_proxy_that_alters_tags(t: Trial) -> None:
    desk = t.desk(ETAG_ACCEPT_WEAKENED=t.followed)
    desk.app.get("/<int:number>")(etag_resource(desk.find)(lambda note: {"body": note.body}))
    desk.app.put("/<int:number>", endpoint="save")(require_if_match(desk.find)(lambda note: {"body": "mine"}))

    @desk.app.after_request
    def compress(response: Response) -> Response:
        if response.status_code == 200:
            response.headers["ETag"] = "W/" + response.headers["ETag"].removeprefix("W/")
        return response

    sent_by = desk.app.test_client()
    client.save(sent_by, "/1", client.read(sent_by, "/1"), {"body": "mine"})


@advice("Somebody else has changed the same")
def two_who_changed_the_same(t: Trial) -> None:
    sent_by = served(t)
    base = client.read(sent_by, "/1")
    client.save(sent_by, "/1", base, {"body": "theirs"})
    try:
        client.save(sent_by, "/1", base, {"body": "mine"})
    except client.Clash as clash:
        if not t.followed:
            raise
        client.save(sent_by, "/1", clash.theirs, {"body": "decided"})
    assert client.read(sent_by, "/1").content == {"body": "decided"}


@advice("It has been deleted meanwhile")
def what_was_deleted_meanwhile(t: Trial) -> None:
    sent_by = served(t)
    base = client.read(sent_by, "/1")
    client.delete(sent_by, "/1", base)
    client.save(sent_by, "/1", t.either(base, client.ABSENT), {"body": "mine"})


@advice("It exists already. Read it")
def what_exists_already(t: Trial) -> None:
    sent_by = served(t)
    if t.followed:
        client.save(sent_by, "/1", client.read(sent_by, "/1"), {"body": "mine"})
    else:
        client.create(sent_by, "/1", {"body": "mine"})


@advice("The server answered")
def what_the_server_does_not_do(t: Trial) -> None:
    sent_by = served(t)
    url = t.either("/nothing", "/1")
    client.save(sent_by, url, client.read(sent_by, url), {"body": "mine"})


@advice("each time somebody else was first")
def somebody_else_each_time(t: Trial) -> None:
    sent_by = served(t)
    rivals = iter(t.either("1234", "1"))

    def change(content: Any) -> Any:
        for each in rivals:
            client.save(sent_by, "/1", client.read(sent_by, "/1"), {"body": each})
            break
        return {"body": content["body"] + "!"}

    client.update(sent_by, "/1", change, attempts=3)


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> Iterator[Callable[[Try, bool], str]]:
    """A function that runs a trial, and returns what was raised and logged."""
    trials: list[Trial] = []

    def run(function: Try, followed: bool) -> str:
        caplog.clear()
        folder = tmp_path / str(followed)
        folder.mkdir()
        trials.append(Trial(followed, folder))
        raised = ""
        try:
            function(trials[-1])
        except (Exception, SystemExit) as error:  # a command ends with the other
            raised = "\n".join([f"{type(error).__name__}: {error}", *getattr(error, "__notes__", [])])
        records = [each for each in caplog.records if each.levelno > logging.INFO]
        return "\n".join([raised, *map(logging.Formatter().format, records)])

    yield run
    for trial in trials:
        trial.close()


@pytest.mark.parametrize("trial", [pytest.param(each, id=each.__name__) for each in TRIALS])
def test_the_message_is_met_and_not_where_the_advice_is_followed(
    trial: Try, told: Callable[[Try, bool], str]
) -> None:
    said = told(trial, False)
    for quoted in TRIALS[trial]:
        assert quoted in QUOTED
        for part in quoted.split("..."):
            assert part in said
    assert told(trial, True).strip() == ""


ELSEWHERE = {
    "has committed a part, and the version of that could not be moved": "tests/guard/test_replays.py",
    "cannot be judged again, so that it is answered 409": "tests/guard/test_refusals.py",
    "is in an AsyncSession, whose writes cannot be guarded": "tests/guard/test_unguardable.py",
    "can load nothing at the moment, so that it cannot be asked": "tests/guard/test_creations.py",
    "unguarded_writes() listens to SQLAlchemy": "tests/kit/test_kit.py",
    "A client has failed": "tests/torture/test_command.py",
    "It is not known whether this was saved": "tests/client/test_client.py",
    "a cache has answered that does not ask the server": "tests/client/test_client.py",
}
"""Where what is not tried here is met: with servers, without a package, or by somebody who looks for himself."""


def test_every_message_is_tried_or_its_test_is_known() -> None:
    tried = {quoted for each in TRIALS.values() for quoted in each}
    titles = {title for title, _ in _ADVICE.values()}  # what they say is the page on errors, and its tests
    assert {*QUOTED} - tried - titles == {*ELSEWHERE}
