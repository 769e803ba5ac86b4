"""Rule 3.5: collections, whose tag is made of keys and versions without the rows."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread
from typing import Any

import pytest
from flask import g
from sqlalchemy import ForeignKey, Select, String, TypeDecorator, cast, func, select, text
from sqlalchemy.orm import (
    Mapped,
    Session,
    aliased,
    declared_attr,
    defer,
    has_inherited_table,
    load_only,
    mapped_column,
    with_loader_criteria,
    with_parent,
    with_polymorphic,
)
from sqlalchemy.orm.attributes import flag_modified
from werkzeug.test import TestResponse

from flask_etag import Resource, etag_resource, resource
from flask_etag.sqlalchemy import Page, Versioned
from tests.world.listing import Listing
from tests.world.models import Base, Comment, Note, Paper, Shelf
from tests.world.racing import WAIT


def test_each_page_sort_and_filter_has_its_own_tag(listing: Listing) -> None:
    queries = ["", "?per_page=2", "?per_page=2&page=2", "?per_page=2&page=8", "?per_page=2&page=9", "?sort=-id"]
    queries += ["?without=3", "?per_page=1", "?n"]
    answers = [listing.list(query) for query in queries]
    tags = [answer.headers["ETag"] for answer in answers]
    assert len(set(tags)) == len(queries)
    assert [answer.json["notes"] for answer in answers if answer.json][1:5] == [[1, 2], [3, 4], [], []]
    for query, etag in zip(queries, tags, strict=True):
        assert [listing.list(query, if_none_match=other).status_code == 304 for other in tags] == [
            other == etag for other in tags
        ]


def test_what_is_added_deleted_and_edited_moves_the_tag(listing: Listing) -> None:
    seen = {listing.list("?per_page=5").headers["ETag"]}
    for change in (
        lambda session: session.add(Note(id=9, body="added")),
        lambda session: session.delete(session.get_one(Note, 2)),
        lambda session: setattr(session.get_one(Note, 3), "body", "edited"),
    ):
        with Session(listing.engine) as session:
            change(session)
            session.commit()
        etag = listing.list("?per_page=5").headers["ETag"]
        if "added" not in str(listing.list("?per_page=5").json):
            assert listing.list("?per_page=5", if_none_match=etag).status_code == 304
        seen.add(etag)
    assert len(seen) == 3  # the first was added on another page


def test_a_total_that_is_shown_is_part_of_the_tag(listing: Listing) -> None:
    before = listing.list("?per_page=5&n=")
    assert before.json == {"notes": [1, 2, 3, 4, 5], "total": 5, "page": 1}
    with Session(listing.engine) as session:
        session.add(Note(id=9, body="on another page"))
        session.commit()
    after = listing.list("?per_page=5&n=", if_none_match=before.headers["ETag"])
    assert after.json is not None
    assert after.json["total"] == 6


def serve_bodies(listing: Listing, between: Callable[[], None], **options: Any) -> None:
    """Serve the bodies of all notes; something happens between what judges a request and what answers it."""

    @resource(headers=lambda _: between() or {}, **options)  # type: ignore[func-returns-value]
    def find_all() -> Page[Note]:
        return Page(listing.db.session, select(Note).order_by(Note.id))

    @listing.app.get("/bodies")
    @etag_resource(find_all)
    def read_bodies(notes: Page[Note]) -> list[str]:
        return [note.body for note in notes]


def write_elsewhere(listing: Listing, change: Callable[[Session], object]) -> None:
    def write() -> None:
        with Session(listing.engine) as session:
            change(session)
            session.commit()

    writer = Thread(target=write)
    writer.start()
    writer.join(WAIT)
    assert not writer.is_alive()


def is_unchanged_just_if_it_shows_the_same(listing: Listing, seen: TestResponse) -> bool:
    client = listing.app.test_client()
    asked = client.get("/bodies", headers={"If-None-Match": seen.headers["ETag"]})
    return (asked.status_code == 304) == (seen.json == client.get("/bodies").json)


def test_3_7_what_is_added_after_the_request_was_judged_is_under_the_tag_that_shows_it(listing: Listing) -> None:
    changes: list[Callable[[Session], object]] = [lambda session: session.add(Note(id=9, body="9"))]
    serve_bodies(listing, lambda: write_elsewhere(listing, changes.pop()) if changes else None)
    seen = listing.app.test_client().get("/bodies", headers={"If-None-Match": '"other"'})
    assert changes == []
    write_elsewhere(listing, lambda session: session.delete(session.get_one(Note, 9)))
    assert is_unchanged_just_if_it_shows_the_same(listing, seen)


@pytest.mark.parametrize("condition", [{}, {"If-None-Match": '"other"'}], ids=["unconditional", "conditional"])
@pytest.mark.parametrize("parts", [[], [load_only(Note.body)]], ids=["whole", "part"])
def test_3_7_a_member_that_was_loaded_before_is_under_the_tag_of_what_is_shown_of_it(
    listing: Listing, condition: dict[str, str], parts: list[Any]
) -> None:
    """Above the decorator, say, by what decides who may come in."""
    changes: list[Callable[[Session], object]] = [
        lambda session: setattr(session.get_one(Note, 1), "body", "edited")
    ]

    @listing.app.before_request
    def load_user() -> None:
        g.user = listing.db.session.get(Note, 1, options=parts)
        if changes:
            write_elsewhere(listing, changes.pop())

    serve_bodies(listing, lambda: None)
    seen = listing.app.test_client().get("/bodies", headers=condition)
    assert changes == []
    assert is_unchanged_just_if_it_shows_the_same(listing, seen)


def test_a_collection_may_be_required_to_be_as_it_was_seen(listing: Listing) -> None:
    client = listing.app.test_client()
    etag = listing.list().headers["ETag"]
    assert client.post("/notes").status_code == 428
    assert client.post("/notes", headers={"If-Match": etag}).status_code == 201
    assert client.post("/notes", headers={"If-Match": etag}).status_code == 412


def tag_of(page: Page[Any]) -> str:
    """Return the tag of a page as its rows tell it; an application that has an ETag is current."""
    found: Resource[[], Page[Any]] = resource(lambda: page)
    return str(found.etag_of(page))


def test_a_filter_by_an_object_is_one_by_its_key(listing: Listing) -> None:
    """SQLAlchemy takes such a key from the object when the statement runs, and not before."""
    with listing.app.app_context():
        session = listing.db.session
        session.add_all([Shelf(id=1), Shelf(id=2)])
        session.flush()
        tags = [
            tag_of(Page(session, select(Note).where(with_parent(session.get_one(Shelf, number), Shelf.notes))))
            for number in (1, 1, 2)
        ]
        assert tags[0] == tags[1] != tags[2]


class Leaflet(Versioned, Base):
    """What has a key by another name than its column's; some are bound in a book."""

    __tablename__ = "leaflet"

    number: Mapped[int] = mapped_column("leaflet_number", primary_key=True)
    kind: Mapped[str] = mapped_column(String(10))

    @declared_attr.directive
    def __mapper_args__(cls: type[Leaflet]) -> dict[str, Any]:  # noqa: N805 - SQLAlchemy hands it the class
        if has_inherited_table(cls):
            return {"polymorphic_identity": "bound"}
        return {**super().__mapper_args__, "polymorphic_on": "kind", "polymorphic_identity": "loose"}


class BoundLeaflet(Leaflet):
    __tablename__ = "bound_leaflet"

    number: Mapped[int] = mapped_column(ForeignKey("leaflet.leaflet_number"), primary_key=True)
    book: Mapped[str] = mapped_column(String(10))


def selects() -> dict[str, Select[Any]]:
    other = aliased(Note)
    some = aliased(Note, select(Note).where(Note.id > 2).subquery())
    ids = select(Note.id).where(Note.id > 3).cte()
    return {
        "an alias": select(other).where(other.id > 1).order_by(other.id.desc()),
        "an alias of a part": select(some).order_by(some.id),
        "a common table expression": select(Note).join(ids, ids.c.id == Note.id).order_by(Note.id),
        "criteria": select(Note).options(with_loader_criteria(Note, Note.id > 2)).order_by(Note.id),
        "a group": select(Note).group_by(Note.id).having(func.count() > 0).order_by(func.count(), Note.id),
        "a limit of its own": select(Note).order_by(Note.id).limit(2),
        "a subclass": select(BoundLeaflet).order_by(BoundLeaflet.book),
        "a class with its subclasses": select(with_polymorphic(Leaflet, "*")).order_by(Leaflet.number),
        "a join that repeats members": select(Note).join(Comment, Comment.id >= Note.id).order_by(Note.id),
        "what is loaded in parts": select(Note).options(load_only(Note.body, Note.version)).order_by(Note.id),
    }


@pytest.mark.parametrize("limit", [None, 1])
@pytest.mark.parametrize("which", selects())
def test_keys_and_versions_tell_the_same_as_the_rows(listing: Listing, which: str, limit: int | None) -> None:
    """A request without conditions is answered by the rows, and one with them by keys and versions."""
    statement = selects()[which] if limit is None else selects()[which].limit(limit)

    @resource
    def find_selected() -> Page[Note]:
        return Page(listing.db.session, statement)

    @listing.app.get("/selected")
    @etag_resource(find_selected)
    def read_selected(found: Page[Note]) -> str:
        return str(len(found))

    def asked(tag: str) -> TestResponse:
        return listing.app.test_client().get("/selected", headers={"If-None-Match": tag})

    with Session(listing.engine) as session:
        session.add_all(Comment(id=number, body=str(number)) for number in (2, 4))
        session.add_all([Leaflet(number=1), BoundLeaflet(number=2, book="a"), BoundLeaflet(number=3, book="b")])
        session.commit()
        before = asked("").headers["ETag"]
        assert asked(before).status_code == 304
        changed = session.scalars(statement).unique().all()[-1]
        flag_modified(changed, "body" if isinstance(changed, Note) else "kind")
        session.commit()
    answer = asked(before)
    assert answer.status_code == 200
    assert answer.headers["ETag"] == listing.app.test_client().get("/selected").headers["ETag"] != before
    assert asked(answer.headers["ETag"]).status_code == 304


def test_a_distinct_select_in_the_order_of_what_it_shows_is_judged_by_its_rows(listing: Listing) -> None:
    @resource
    def find_distinct() -> Page[Note]:
        found = select(Note).join(Comment, Comment.id >= Note.id).distinct().order_by(Note.body.desc())
        return Page(listing.db.session, found, counted=True)

    @listing.app.get("/distinct")
    @etag_resource(find_distinct)
    def read_distinct(notes: Page[Note]) -> list[Any]:
        return [*(note.id for note in notes), notes.total]

    with Session(listing.engine) as session:
        session.add_all(Comment(id=number, body=str(number)) for number in (2, 4))
        session.commit()
    client = listing.app.test_client()
    seen = client.get("/distinct")
    assert seen.json == [1, 4, 3, 2, 4]
    assert client.get("/distinct", headers={"If-None-Match": seen.headers["ETag"]}).status_code == 304
    assert client.get("/distinct", headers={"If-None-Match": '"other"'}).json == seen.json


@pytest.mark.parametrize("option", [load_only(Note.body), defer(Note.version)], ids=["load_only", "defer"])
def test_a_select_that_leaves_the_version_for_later_is_refused_with_advice(listing: Listing, option: Any) -> None:
    advice = r"the version of Note for later.*: name it in load_only\(\) as well"
    with listing.app.app_context(), pytest.raises(TypeError, match=advice):
        tag_of(Page(listing.db.session, select(Note).options(option)))


def test_what_a_request_has_changed_and_not_sent_yet_is_not_lost(listing: Listing) -> None:
    with listing.app.app_context():
        session = listing.db.session
        with session.no_autoflush:
            note = session.get_one(Note, 1, options=[load_only(Note.body)])
            note.body = "changed"
            assert Page(session, select(Note).order_by(Note.id)).items[0].body == "changed"


class Uncached(TypeDecorator[str]):
    impl = String
    cache_ok = False


def test_a_statement_that_sqlalchemy_does_not_cache_has_a_tag_as_well(listing: Listing) -> None:
    with listing.app.app_context():
        session = listing.db.session
        tags = [
            tag_of(Page(session, select(Note).where(cast(Note.body, Uncached()) == body).order_by(Note.id)))
            for body in ("2", "2", "9")
        ]
        assert tags[0] == tags[1] != tags[2]


def test_a_page_is_told_by_an_offset_and_a_limit_as_well(listing: Listing) -> None:
    with listing.app.test_request_context():
        session = listing.db.session
        by_id = select(Note).order_by(Note.id)
        for page, offset in ((1, None), (1, 0), (2, 2), (3, 4)):
            numbered = Page(session, by_id, page=page, per_page=2)
            skipped = Page(session, by_id, offset=offset, limit=2)
            assert [note.id for note in skipped] == [note.id for note in numbered]
            if offset is not None and page > 1:
                assert skipped.__etag__().digest() == numbered.__etag__().digest()
        assert [note.id for note in Page(session, by_id, offset=3)] == [4, 5]
        behind = Page(session, by_id.where(Note.id > 3), limit=1)
        assert [note.id for note in behind] == [4]


QUERIES: dict[str, Callable[[Listing], Any]] = {
    "select": lambda _: select(Note),
    "union": lambda _: select(Note).union(select(Note)),
    "query": lambda listing: listing.db.session.query(Note),
    "pagination": lambda listing: listing.db.paginate(select(Note), per_page=2),
    "scalars": lambda listing: listing.db.session.scalars(select(Note)),
    "result": lambda listing: listing.db.session.execute(select(Note)),
    "scalars of a result": lambda listing: listing.db.session.execute(select(Note)).unique().scalars(),
    "mappings": lambda listing: listing.db.session.execute(select(Note.id)).mappings(),
    "a result of a connection": lambda listing: listing.db.session.connection().execute(select(Note)),
}


@pytest.mark.parametrize("what", QUERIES)
def test_a_loader_that_returns_a_query_is_told_of_pages(listing: Listing, what: str) -> None:
    find_query: Any = resource(lambda: QUERIES[what](listing))
    listing.app.get("/query")(etag_resource(find_query)(lambda _: ""))
    with pytest.raises(TypeError, match=r"let it return Page\(session, select"):
        listing.app.test_client().get("/query")


def test_misuse_is_refused_with_advice(listing: Listing) -> None:
    session = listing.db.session
    texts = select(Note).from_statement(text("SELECT * FROM note"))
    for statement in (select(Note.id), select(Note, Paper), select(Paper), Note, texts):
        with pytest.raises(TypeError, match="takes a select of one model with a version"):
            Page(session, statement)  # type: ignore[arg-type]
    for page, per_page in ((0, None), (1, 0)):
        with pytest.raises(ValueError, match="counted from 1"):
            Page(session, select(Note), page=page, per_page=per_page)
    for options in ({"page": "2", "per_page": 10}, {"per_page": "10"}, {"page": None}):
        with pytest.raises(TypeError, match="page= and per_page= take integers"):
            Page(session, select(Note), **options)
    for offset, limit in ((-1, 5), (0, 0)):
        with pytest.raises(ValueError, match="offset= is 0 or more"):
            Page(session, select(Note), offset=offset, limit=limit)
    mixtures: list[dict[str, Any]] = [{"page": 2, "per_page": 3, "limit": 3}, {"per_page": 3, "offset": 3}]
    for mixed in mixtures:
        with pytest.raises(TypeError, match="and not by both"):
            Page(session, select(Note), **mixed)
    with pytest.raises(TypeError, match="offset= and limit= take integers"):
        Page(session, select(Note), limit="3")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="all members are on the first page, so that there is no page 2"):
        Page(session, select(Note), page=2)


@pytest.mark.parametrize("fields", [{}, {"If-None-Match": '"other"'}], ids=["unconditional", "conditional"])
def test_2_5_a_page_that_a_writer_holds_for_too_long_is_a_conflict_and_no_server_error(
    world_on: Callable[[str], str], fields: dict[str, str]
) -> None:
    listing = Listing(world_on("sqlite"), connect_args={"timeout": 0.1})
    with listing.engine.connect() as writer:
        writer.exec_driver_sql("BEGIN EXCLUSIVE")
        answer = listing.app.test_client().get("/notes", headers=fields)
        writer.rollback()
    assert answer.status_code == 409
    assert answer.get_json()["reason"] in ("conflict", "busy")  # "busy" from the new write side on
    assert listing.app.test_client().get("/notes", headers=fields).status_code == 200
    listing.close()
