"""Rule 3.4: what belongs to an object moves its version."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any
from weakref import ref

import pytest
from sqlalchemy import (
    Column,
    FetchedValue,
    ForeignKey,
    Integer,
    String,
    Table,
    bindparam,
    cast,
    create_engine,
    event,
    literal_column,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    configure_mappers,
    load_only,
    mapped_column,
    relationship,
)
from sqlalchemy.types import UserDefinedType

from flask_etag import resource
from flask_etag.sqlalchemy import Versioned, covering, covers, touch
from tests.world.models import Base, Line, Order, Paper
from tests.world.orders import Orders


class Bare(Base):
    """A parent that counts, and has nothing but its key and its version; its children do not know it."""

    __tablename__ = "bare"

    id: Mapped[int] = mapped_column(primary_key=True)
    revision: Mapped[int] = mapped_column()
    children: Mapped[list[Child]] = relationship()
    __mapper_args__ = {"version_id_col": revision}  # noqa: RUF012


class Child(Base):
    __tablename__ = "child"

    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str] = mapped_column(String(80), default="")
    bare_id: Mapped[int | None] = mapped_column(ForeignKey("bare.id"))
    bare: Mapped[Bare | None] = relationship(viewonly=True)


covers(Bare.children)


def set_text(session: Session) -> None:
    session.get_one(Line, 1).text = "changed"


def set_expired(session: Session) -> None:
    line = session.get_one(Line, 1)
    session.expire(line)
    line.text = "changed"


def add_by_key(session: Session) -> None:
    session.add(Line(id=3, order_id=1))


def add_to_parent(session: Session) -> None:
    order = session.get_one(Order, 1)
    order.lines.append(Line(id=3))


def add_with_parent(session: Session) -> None:
    session.add(Line(id=3, order=session.get_one(Order, 1)))


def delete(session: Session) -> None:
    session.delete(session.get_one(Line, 1))


def remove(session: Session) -> None:
    order = session.get_one(Order, 1)
    order.lines.remove(order.lines[0])


def touch_it(session: Session) -> None:
    session.execute(update(Line).values(text="in bulk"))
    touch(session.get_one(Order, 1))


ONE: list[Callable[[Session], None]] = [
    set_text, set_expired, add_by_key, add_to_parent, add_with_parent, delete, remove, touch_it,
]  # fmt: skip


@pytest.mark.parametrize("change", ONE)
def test_a_change_of_what_is_covered_moves_the_version(orders: Orders, change: Callable[[Session], None]) -> None:
    before = orders.etags()
    with Session(orders.engine) as session:
        change(session)
        session.commit()
    after = orders.etags()
    assert after[0] != before[0]
    assert after[1] == before[1]
    assert orders.put("stale", "/orders/1", if_match=before[0]).status_code == 412
    assert orders.put("fresh", "/orders/1", if_match=after[0]).status_code == 200


def move_by_key(session: Session) -> None:
    session.get_one(Line, 1).order_id = 2


def move_to_parent(session: Session) -> None:
    session.get_one(Line, 1).order = session.get_one(Order, 2)


def move_expired(session: Session) -> None:
    line = session.get_one(Line, 1)
    session.expire(line)
    line.order_id = 2


def move_what_is_loaded_in_part(session: Session) -> None:
    line = session.scalars(select(Line).where(Line.id == 1).options(load_only(Line.text))).one()
    line.order_id = 2


def move_before_a_flush(session: Session) -> None:
    @event.listens_for(session, "before_flush")
    def move(session: Session, *_: object) -> None:
        session.get_one(Line, 1).order_id = 2

    session.get_one(Line, 2).order_id = 2


def delete_and_make_again(session: Session) -> None:
    session.delete(session.get_one(Line, 1))
    session.add(Line(id=1, order_id=2))


MOVES: list[Callable[[Session], None]] = [
    move_by_key, move_to_parent, move_expired, move_what_is_loaded_in_part, move_before_a_flush,
    delete_and_make_again,
]  # fmt: skip


@pytest.mark.parametrize("move", MOVES)
def test_a_row_that_moves_moves_both_versions(orders: Orders, move: Callable[[Session], None]) -> None:
    before = orders.etags()
    with Session(orders.engine) as session:
        move(session)
        session.commit()
    after = orders.etags()
    assert after[0] != before[0]
    assert after[1] != before[1]


def test_a_parent_in_the_session_has_its_new_version_and_may_be_written_afterwards(orders: Orders) -> None:
    with Session(orders.engine) as session:
        order = session.get_one(Order, 1)
        version = order.version
        order.lines[0].text = "changed"
        session.flush()
        assert order.version != version
        order.name = "changed too"
        order.lines[1].text = "and this"
        session.commit()
        session.delete(order)
        session.commit()
    assert orders.app.test_client().get("/orders/1").status_code == 404


def test_children_of_one_parent_have_writers_that_are_no_rivals(orders: Orders) -> None:
    with Session(orders.engine) as one, Session(orders.engine) as two:
        first, second = one.get_one(Line, 1), two.get_one(Line, 2)
        assert first.order is not None
        assert second.order is not None
        one.commit()
        two.commit()
        first.text = "one"
        one.commit()
        second.text = "two"
        two.commit()


@pytest.mark.parametrize("path", ["/orders", "/whole"])
def test_of_two_writers_of_children_with_one_tag_of_their_parent_one_is_refused(orders: Orders, path: str) -> None:
    etag = orders.etags(path)[0]
    slow, hold = orders.held(
        "before commit", lambda: orders.put("slow", f"{path}/1", if_match=etag, hold="before commit")
    )
    fast = orders.put("fast", f"{path}/1", if_match=etag)
    assert fast.status_code == 200
    assert fast.headers["ETag"] == orders.etags(path)[0] != etag
    hold.released.set()
    assert slow.answer().status_code == 412
    answer = orders.app.test_client().get("/orders/1")
    assert answer.json is not None
    assert answer.json["lines"] == ["fast", ""]


def test_a_writer_of_a_child_beats_a_slower_one_of_the_parent(orders: Orders) -> None:
    etag = orders.etags()[0]
    slow, hold = orders.held(
        "before commit", lambda: orders.put("slow", "/orders/1", if_match=etag, hold="before commit")
    )
    with Session(orders.engine) as session:
        session.get_one(Line, 2).text = "the child's"
        session.commit()
    hold.released.set()
    assert slow.answer().status_code == 412


def test_a_parent_with_nothing_but_its_key_and_a_number(orders: Orders) -> None:
    with Session(orders.engine) as session:
        session.add(Bare(id=1, children=[Child()]))
        session.commit()

    @resource
    def find_bare(note_id: int) -> Bare | None:
        return orders.db.session.get(Bare, note_id)

    def write(bare: Bare) -> str:
        bare.children[0].text += "x"
        orders.db.session.commit()
        return ""

    orders.find_note = find_bare
    orders.put_view(write)
    etag = str(orders.put("", "/other/1", if_match='"stale"').headers["ETag"])
    with Session(orders.engine) as session:
        session.add_all([Child(bare_id=1), Child()])
        session.commit()
    assert orders.put("", "/other/1", if_match=etag).status_code == 412
    etag = str(orders.put("", "/other/1", if_match='"stale"').headers["ETag"])
    answer = orders.put("", "/other/1", if_match=etag)
    assert answer.status_code == 200
    assert answer.headers["ETag"] != etag
    with Session(orders.engine) as session:
        assert session.scalars(select(Bare.revision)).all() == [3]


def test_misuse_is_refused_with_advice(orders: Orders) -> None:
    with pytest.raises(TypeError, match=r"takes a relationship, such as Order\.lines"):
        covers(Order.name)
    with pytest.raises(TypeError, match="takes a relationship"):
        covers("lines")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="there is nothing to touch"):
        touch(Order())
    with Session(orders.engine) as session:
        session.add(Paper(name="plan 2", body=""))
        session.flush()
        with pytest.raises(TypeError, match="Paper has no version"):
            touch(session.get_one(Paper, "plan 2"))


class Work(Versioned, Base):
    __tablename__ = "work"

    id: Mapped[int] = mapped_column(primary_key=True)


class Epic(Work):
    __tablename__ = "epic"

    id: Mapped[int] = mapped_column(ForeignKey("work.id"), primary_key=True)
    cantos: Mapped[list[Canto]] = relationship()


covers(Epic.cantos)  # before its cantos are known


class Canto(Versioned, Base):
    __tablename__ = "canto"

    id: Mapped[int] = mapped_column(primary_key=True)
    epic_id: Mapped[int] = mapped_column(ForeignKey("epic.id"))
    verses: Mapped[list[Verse]] = relationship()


class Verse(Base):
    __tablename__ = "verse"

    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str] = mapped_column(String(80), default="")
    canto_id: Mapped[int] = mapped_column(ForeignKey("canto.id"))


covers(Canto.verses)
covers(Canto.verses)  # it is no harm to say it twice


def change_verse(session: Session) -> None:
    session.get_one(Verse, 1).text = "changed"


def add_verse(session: Session) -> None:
    session.add(Verse(canto_id=1))


def add_canto_and_verse_by_their_keys(session: Session) -> None:
    session.add_all([Canto(id=2, epic_id=1), Verse(canto_id=2)])
    session.get_one(Verse, 1).text = "changed"


def touch_canto(session: Session) -> None:
    touch(session.get_one(Canto, 1))


@pytest.mark.parametrize("change", [change_verse, add_verse, add_canto_and_verse_by_their_keys, touch_canto])
def test_what_belongs_to_a_part_belongs_to_the_whole(
    world_on: Callable[[str], str], change: Callable[[Session], None]
) -> None:
    engine = create_engine(world_on("sqlite"))

    def versions(session: Session) -> set[Any]:
        versions = select(Work.version), select(Canto.version).where(Canto.id == 1)
        return {session.scalar(version) for version in versions}

    with Session(engine) as session:
        session.add(Epic(id=1, cantos=[Canto(id=1, verses=[Verse(id=1)])]))
        session.commit()
        before = versions(session)
        session.expunge_all()
        change(session)
        session.commit()
        assert not before & versions(session)
        for row in (*session.scalars(select(Verse)), *session.scalars(select(Canto)), session.get_one(Epic, 1)):
            session.delete(row)  # so each in the session has the version that is stored
        session.commit()
    engine.dispose()


def test_a_part_of_nothing_is_for_the_database_to_refuse(world_on: Callable[[str], str]) -> None:
    engine = create_engine(world_on("postgresql"))
    with Session(engine) as session:
        session.add(Verse(canto_id=7))
        with pytest.raises(IntegrityError):
            session.flush()
    engine.dispose()


def test_a_version_that_the_database_makes(empty_database: Callable[[str], str]) -> None:
    class XminBase(DeclarativeBase):
        pass

    class Xid(UserDefinedType[str]):
        cache_ok = True

        def get_col_spec(self, **_: object) -> str:
            return "xid"

        def bind_expression(self, bindvalue: Any) -> Any:
            return cast(cast(bindvalue, String), self)

    class Parent(XminBase):
        __tablename__ = "parent"

        id: Mapped[int] = mapped_column(primary_key=True)
        xmin: Mapped[str] = mapped_column(Xid, system=True, server_default=FetchedValue())
        toys: Mapped[list[Toy]] = relationship()
        __mapper_args__ = {"version_id_col": xmin, "version_id_generator": False}  # noqa: RUF012

    class Toy(XminBase):
        __tablename__ = "toy"

        id: Mapped[int] = mapped_column(primary_key=True)
        text: Mapped[str] = mapped_column(default="")
        parent_id: Mapped[int] = mapped_column(ForeignKey("parent.id"))

    XminBase.registry.configure()
    covers(Parent.toys)
    engine = create_engine(empty_database("postgresql"))
    XminBase.metadata.create_all(engine)
    with Session(engine) as session:
        session.add(Parent(id=1, toys=[Toy(id=1)]))
        session.commit()
        before = session.scalar(select(Parent.xmin))
        session.get_one(Toy, 1).text = "changed"
        session.commit()
        assert session.scalar(select(Parent.xmin)) != before
        late = str(2**31)  # as PostgreSQL counts them, and an Integer does not
        assert session.scalar(select(literal_column(f"'{late}'::xid") == bindparam("late", late, Xid)))
    engine.dispose()


@pytest.mark.parametrize(
    "change",
    [
        "add",
        "add from the other side",
        "remove",
        "delete",
    ],
)
def test_a_relationship_by_way_of_another_table(empty_database: Callable[[str], str], change: str) -> None:
    class ManyBase(DeclarativeBase):
        pass

    both = Table(
        "both",
        ManyBase.metadata,
        Column("book", ForeignKey("book.id"), primary_key=True),
        Column("label", ForeignKey("label.id"), primary_key=True),
    )

    class Book(Versioned, ManyBase):
        __tablename__ = "book"

        id: Mapped[int] = mapped_column(primary_key=True)
        labels: Mapped[list[Label]] = relationship(secondary=both, back_populates="books")

    class Label(ManyBase):
        __tablename__ = "label"

        id: Mapped[int] = mapped_column(primary_key=True)
        books: Mapped[list[Book]] = relationship(secondary=both, back_populates="labels")

    ManyBase.registry.configure()
    covers(Book.labels)
    engine = create_engine(empty_database("sqlite"))
    ManyBase.metadata.create_all(engine)

    def add(session: Session) -> None:
        book = session.get_one(Book, 1)
        book.labels.append(Label(id=2))

    def add_from_the_other_side(session: Session) -> None:
        session.add(Label(id=3, books=[session.get_one(Book, 1)]))

    def remove(session: Session) -> None:
        book = session.get_one(Book, 1)
        book.labels.pop()

    def delete_label(session: Session) -> None:
        session.delete(session.get_one(Label, 1))

    changes = {"add": add, "add from the other side": add_from_the_other_side, "remove": remove}
    with Session(engine) as session:
        session.add_all([Book(id=1, labels=[Label(id=1)]), Book(id=2)])
        session.commit()
        session.expunge_all()
        one, other = session.scalars(select(Book.version).order_by(Book.id))
        changes.get(change, delete_label)(session)
        session.commit()
        now, still = session.scalars(select(Book.version).order_by(Book.id))
        assert now != one
        assert still == other
    engine.dispose()


def test_a_parent_without_a_version_cannot_cover() -> None:
    class PlainBase(DeclarativeBase):
        pass

    class Pile(PlainBase):
        __tablename__ = "pile"

        id: Mapped[int] = mapped_column(primary_key=True)
        stones: Mapped[list[Pebble]] = relationship()

    class Pebble(PlainBase):
        __tablename__ = "pebble"

        id: Mapped[int] = mapped_column(primary_key=True)
        pile_id: Mapped[int] = mapped_column(ForeignKey("pile.id"))

    PlainBase.registry.configure()
    with pytest.raises(TypeError, match=r"Pile.*version"):
        covers(Pile.stones)


def test_a_relationship_that_is_refused_by_its_model_is_so_when_that_is_configured() -> None:
    class LaterBase(DeclarativeBase):
        pass

    class Member(Versioned, LaterBase):
        __tablename__ = "member"

        id: Mapped[int] = mapped_column(primary_key=True)
        club_id: Mapped[int] = mapped_column(ForeignKey("club.id"))
        club: Mapped[Club] = relationship()

    covers(Member.club)

    class Club(LaterBase):
        __tablename__ = "club"

        id: Mapped[int] = mapped_column(primary_key=True)

    with pytest.raises(TypeError, match=r"covers\(Member\.club\) is not possible"):
        Club()


def test_rows_that_name_their_parent_only_after_they_are_written_are_refused() -> None:
    class PostBase(DeclarativeBase):
        pass

    class Tree(Versioned, PostBase):
        __tablename__ = "tree"

        id: Mapped[int] = mapped_column(primary_key=True)
        leaves: Mapped[list[Leaf]] = relationship(back_populates="tree")

    class Leaf(PostBase):
        __tablename__ = "leaf"

        id: Mapped[int] = mapped_column(primary_key=True)
        tree_id: Mapped[int | None] = mapped_column(ForeignKey("tree.id"))
        tree: Mapped[Tree | None] = relationship(back_populates="leaves", post_update=True)

    PostBase.registry.configure()
    with pytest.raises(TypeError, match="without post_update"):
        covers(Tree.leaves)


def test_links_that_name_one_side_by_something_else_than_its_key_are_refused() -> None:
    class LinkBase(DeclarativeBase):
        pass

    links = Table(
        "links",
        LinkBase.metadata,
        Column("crate", ForeignKey("crate.id"), primary_key=True),
        Column("code", ForeignKey("article.code"), primary_key=True),
    )

    class Crate(Versioned, LinkBase):
        __tablename__ = "crate"

        id: Mapped[int] = mapped_column(primary_key=True)
        articles: Mapped[list[Article]] = relationship(secondary=links)

    class Article(LinkBase):
        __tablename__ = "article"

        id: Mapped[int] = mapped_column(primary_key=True)
        code: Mapped[str] = mapped_column(String(10), unique=True)

    LinkBase.registry.configure()
    with pytest.raises(TypeError, match="links name both sides by their primary keys"):
        covers(Crate.articles)


@pytest.mark.parametrize("names", [["_links"], ["_links", "_coverings"]])
def test_where_no_links_are_covered_none_are_looked_for(
    orders: Orders, monkeypatch: pytest.MonkeyPatch, names: list[str]
) -> None:
    """As in an application that covers nothing of a many-to-many relationship, unlike this one."""
    for name in names:
        monkeypatch.setattr(covering, name, [])
    before = orders.etags()
    with Session(orders.engine) as session:
        set_text(session)
        session.commit()
    assert orders.etags()[0] != before[0]


@pytest.mark.parametrize("is_configured", [False, True])
def test_models_that_are_given_up_go_with_what_they_cover(is_configured: bool) -> None:
    def declare() -> list[ref[type]]:
        class OwnBase(DeclarativeBase):
            pass

        class Whole(Versioned, OwnBase):
            __tablename__ = "whole"
            id = mapped_column(Integer, primary_key=True)
            parts = relationship("Part")
            kinds = relationship("Kind", secondary="whole_kind")

        class Part(OwnBase):
            __tablename__ = "part"
            id = mapped_column(Integer, primary_key=True)
            whole_id = mapped_column(ForeignKey(Whole.id))

        class Kind(OwnBase):
            __tablename__ = "kind"
            id = mapped_column(Integer, primary_key=True)

        Table(
            "whole_kind",
            OwnBase.metadata,
            Column("whole", ForeignKey(Whole.id)),
            Column("kind", ForeignKey(Kind.id)),
        )
        covers(Whole.parts)
        covers(Whole.kinds)
        if is_configured:
            OwnBase.registry.configure()
        return [ref(Whole), ref(Part), ref(Kind)]

    models = declare()
    gc.collect()
    assert [model() for model in models] == [None, None, None]
    configure_mappers()  # and not: "failed to locate a name"
