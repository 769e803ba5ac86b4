"""Columns that do not count: ``__unversioned__``."""

from __future__ import annotations

import enum
import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
from sqlalchemy import (
    Computed,
    Enum,
    ForeignKey,
    String,
    TypeDecorator,
    bindparam,
    event,
    inspect,
    select,
    text,
    update,
)
from sqlalchemy.exc import IntegrityError, InvalidRequestError, SADeprecationWarning
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    declared_attr,
    mapped_column,
    relationship,
)

from flask_etag import etag_resource
from flask_etag.sqlalchemy import Versioned, covers
from flask_etag.sqlalchemy.unversioned import leaves_version, names_unversioned
from tests.world.board import Board, Checked, Player
from tests.world.models import Base


class Watched(Versioned, Base):
    """What is looked at more often than it is changed."""

    __tablename__ = "watched"
    __unversioned__ = frozenset({"views", "seen_by"})

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(String(20))
    text: Mapped[str] = mapped_column(String(80))
    views: Mapped[int] = mapped_column("view_count", default=0)
    seen_by: Mapped[str] = mapped_column(String(80), default="")

    @declared_attr.directive
    def __mapper_args__(cls) -> dict[str, Any]:  # noqa: N805 - SQLAlchemy hands it the class
        return {**super().__mapper_args__, "polymorphic_on": "kind", "polymorphic_identity": cls.__name__.lower()}


class Film(Watched):
    """What inherits from that, in a table of its own."""

    __tablename__ = "film"
    __unversioned__ = frozenset({"shows", "shown_by"})

    id: Mapped[int] = mapped_column(ForeignKey("watched.id"), primary_key=True, autoincrement=False)
    shows: Mapped[int] = mapped_column(default=0)
    shown_by: Mapped[str] = mapped_column(String(80), default="", onupdate="somebody")
    changed_by: Mapped[str] = mapped_column(String(80), default="", onupdate="somebody")


class Valley(Versioned, Base):
    """What is told of each change of its huts that counts."""

    __tablename__ = "valley"
    __unversioned__ = frozenset({"stamped"})

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    stamped: Mapped[int] = mapped_column(default=0)
    huts: Mapped[list[Hut]] = relationship()


class Hut(Versioned, Base):
    """What has a keeper, who does not count, and is one of a valley."""

    __tablename__ = "hut"
    __unversioned__ = frozenset({"visits", "stamped", "keeper_id"})

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    text: Mapped[str] = mapped_column(String(80), default="")
    visits: Mapped[int] = mapped_column(default=0)
    stamped: Mapped[int] = mapped_column(default=0)
    keeper_id: Mapped[int | None] = mapped_column(ForeignKey("player.id"))
    keeper: Mapped[Player | None] = relationship()
    valley_id: Mapped[int | None] = mapped_column(ForeignKey("valley.id"))


covers(Valley.huts)


class Level(enum.Enum):
    """What has no order of its own."""

    LOW = "low"
    HIGH = "high"


class Locker(Versioned, Base):
    """What the database reckons with, and allows some values only."""

    __tablename__ = "locker"
    __unversioned__ = frozenset({"visits", "code", "last_player_id", "player_id"})

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    level: Mapped[Level] = mapped_column(Enum(Level), primary_key=True, default=Level.LOW)
    text: Mapped[str] = mapped_column(String(80), default="")
    visits: Mapped[int] = mapped_column(default=0)
    shout: Mapped[str] = mapped_column(String(160), Computed("upper(text)", persisted=True))
    twice: Mapped[int] = mapped_column(Computed("visits * 2", persisted=True))
    code: Mapped[str | None] = mapped_column(String(20), unique=True)
    last_player_id: Mapped[int | None] = mapped_column(ForeignKey("player.id"))
    player_id: Mapped[int | None] = mapped_column(ForeignKey("player.id"))
    player: Mapped[Player | None] = relationship(foreign_keys=player_id)


@pytest.fixture(params=[Watched, Film])
def watched(request: pytest.FixtureRequest, world_url: str) -> Iterator[Board]:
    board = Board(world_url, request.param)
    yield board
    board.close()


def stored(board: Board, *names: str) -> list[Any]:
    with Session(board.engine) as session:
        found = session.get_one(board.model, 1)
        return [getattr(found, name) for name in names]


def test_a_write_of_these_alone_moves_no_version_and_meets_no_conflict(watched: Board) -> None:
    [before] = stored(watched, "version")
    with Session(watched.engine) as session, Session(watched.engine) as other:
        loaded = session.get_one(watched.model, 1)
        session.expunge(loaded)
        session.rollback()
        other.get_one(watched.model, 1).text = "theirs"
        other.commit()
        [theirs] = stored(watched, "version")
        assert theirs != before
        session.add(loaded)  # as it was read before the other writer
        loaded.views += 1
        assert loaded.version == before
        session.commit()
        assert stored(watched, "views", "text", "version") == [1, "theirs", theirs]


def test_an_expression_is_written_by_the_database(watched: Board) -> None:
    [before] = stored(watched, "version")
    with Session(watched.engine, expire_on_commit=False) as session:
        found = session.get_one(watched.model, 1)
        found.views = Watched.views + 5
        session.commit()
        assert (found.views, found.version) == (5, before)


@pytest.fixture
def films(world_url: str) -> Iterator[Board]:
    board = Board(world_url, Film)
    yield board
    board.close()


def test_each_of_several_tables_is_written_and_what_these_set_by_themselves_if_it_does_not_count(
    films: Board,
) -> None:
    [before] = stored(films, "version")
    with Session(films.engine, expire_on_commit=False) as session:
        film = session.get_one(Film, 1)
        film.views, film.shows = 2, 3
        session.commit()
        assert (film.views, film.shows, film.shown_by, film.changed_by) == (2, 3, "somebody", "")
    assert stored(films, "views", "shows", "version") == [2, 3, before]


def test_a_statement_sets_what_its_table_sets_by_itself(films: Board) -> None:
    def view(film: Film) -> None:
        table: Any = Film.__table__
        films.db.session.execute(update(table).values(shows=3))
        films.db.session.commit()

    answer = films.save(view)
    assert stored(films, "shows", "changed_by") == [3, "somebody"]
    assert answer.headers["ETag"] == films.get().headers["ETag"] != films.seen


def test_together_with_others_they_are_written_along(watched: Board) -> None:
    [before] = stored(watched, "version")
    with Session(watched.engine) as session:
        found = session.get_one(watched.model, 1)
        found.views, found.text = 7, "mine"
        session.commit()
    views, version = stored(watched, "views", "version")
    assert views == 7
    assert version != before


def test_what_a_listener_changes_besides_is_compared(watched: Board) -> None:
    def change(_mapper: object, _connection: object, target: Any) -> None:
        target.text = "noted"

    event.listen(watched.model, "before_update", change)
    try:

        def view(found: Any) -> None:
            found.views += 1
            watched.db.session.flush()

        answer = watched.save(view)
    finally:
        event.remove(watched.model, "before_update", change)
    assert answer.status_code == 200
    assert answer.headers["ETag"] != watched.seen


@pytest.fixture
def huts(world_on: Callable[[str], str]) -> Iterator[Board]:
    """On one database: all that is told is told by SQLAlchemy."""
    board = Board(world_on("sqlite"), Hut, is_empty=False)
    with Session(board.engine) as session:
        session.add_all([Player(id=1), Valley(id=1), Hut(id=1, text="first", valley_id=1)])
        session.commit()
    yield board
    board.close()


@contextmanager
def told(target: Any, name: str, listener: Callable[..., None]) -> Iterator[None]:
    event.listen(target, name, listener)
    try:
        yield
    finally:
        event.remove(target, name, listener)


def stamp(_mapper: object, _connection: object, target: Any) -> None:
    target.stamped += 1


def stamp_all(session: Session, *_: object) -> None:
    for changed in session.dirty:
        changed.stamped += 1


def versions(board: Board) -> list[str]:
    with Session(board.engine) as session:
        return [session.get_one(Hut, 1).version, session.get_one(Valley, 1).version]


class TestAListenerThatSetsOneMore:
    """Of the columns that do not count, too: it hears of the write before it is sent, or just afterwards."""

    @pytest.mark.parametrize(("name", "listener"), [("before_update", stamp), ("before_flush", stamp_all)])
    @pytest.mark.parametrize("has_rival", [False, True])
    def test_moves_no_version_and_meets_no_conflict(
        self, huts: Board, name: str, listener: Callable[..., None], has_rival: bool
    ) -> None:
        huts.has_rival = has_rival
        with Session(huts.engine) as session, told(Hut if name == "before_update" else session, name, listener):
            before = versions(huts)
            found = session.get_one(Hut, 1)
            session.expunge(found)
            session.rollback()
            if has_rival:
                with Session(huts.engine) as other:
                    other.get_one(Hut, 1).text = "theirs"
                    other.commit()
                before = versions(huts)
            session.add(found)
            found.visits += 1
            session.commit()
            assert versions(huts) == before
        assert stored(huts, "visits", "stamped", "text")[::2] == [1, "theirs" if has_rival else "first"]
        assert stored(huts, "stamped")[0] >= 1

    def test_moves_neither_the_tag_of_a_view_that_is_guarded(self, huts: Board) -> None:
        def view(found: Any) -> None:
            found.visits += 1
            huts.meanwhile("PUT", **{"If-Match": "*"})
            huts.db.session.commit()

        with told(Hut, "before_update", stamp):
            answer = huts.save(view)
        assert (answer.status_code, answer.headers["ETag"]) == (200, huts.seen)
        assert stored(huts, "visits", "text") == [1, "theirs"]

    def test_is_heard_before_whoever_came_later(self, huts: Board) -> None:
        """A listener that is added while the application runs, and then another."""
        with told(Hut, "before_update", lambda *_: None), told(Hut, "before_update", stamp):
            for visits in (1, 2):
                before = versions(huts)
                with Session(huts.engine) as session:
                    session.get_one(Hut, 1).visits += 1
                    session.commit()
                assert versions(huts) == before
                assert stored(huts, "visits", "stamped") == [visits, visits]

    def test_does_not_keep_a_whole_from_being_told_of_another_change(self, huts: Board) -> None:
        """The whole is changed as well, of what does not count: that gives it no version by itself."""
        [_, before] = versions(huts)

        def stamp_valley(session: Session, *_: object) -> None:
            session.get_one(Valley, 1).stamped += 1

        with Session(huts.engine) as session, told(session, "before_flush", stamp_valley):
            session.get_one(Hut, 1).text = "mine"
            session.commit()
            assert session.get_one(Valley, 1).stamped >= 1
        [_, after] = versions(huts)
        assert after != before


@pytest.mark.parametrize("keeper", [1, None, 2], ids=["another", "none", "one that is made with it"])
def test_a_relationship_whose_key_does_not_count_does_not_either(huts: Board, keeper: int | None) -> None:
    before = versions(huts)
    with Session(huts.engine, expire_on_commit=False) as session:
        found = session.get_one(Hut, 1)
        found.visits = 3
        found.keeper = None if keeper is None else session.get(Player, keeper) or Player(id=keeper)
        session.commit()
        assert found.keeper_id == keeper
    assert versions(huts) == before
    assert stored(huts, "keeper_id", "visits") == [keeper, 3]


def test_a_relationship_goes_along_with_what_counts(huts: Board) -> None:
    before = versions(huts)
    with Session(huts.engine) as session:
        found = session.get_one(Hut, 1)
        found.keeper, found.visits, found.text = session.get(Player, 1), 3, "mine"
        session.commit()
    assert stored(huts, "keeper_id", "visits", "text") == [1, 3, "mine"]
    assert all(old != new for old, new in zip(before, versions(huts), strict=True))


def test_only_what_a_flush_is_asked_for_is_sent(watched: Board) -> None:
    with Session(watched.engine) as session:
        session.add(watched.model(id=2, text="second"))
        session.commit()
        first, second = session.get_one(watched.model, 1), session.get_one(watched.model, 2)
        first.views = second.views = 9
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SADeprecationWarning)  # since SQLAlchemy 2.1
            session.flush([first])
        assert session.is_modified(second)
        assert not session.is_modified(first)


@pytest.fixture
def lockers(world_url: str) -> Iterator[Board]:
    board = Board(world_url, Locker, is_empty=False)
    with Session(board.engine) as session:
        session.add_all(
            Locker(id=number, level=level, text="first", code=f"{number} {level.name}")
            for number in (1, 2)
            for level in Level
        )
        session.commit()
    yield board
    board.close()


def locker(session: Session, number: int, level: Level = Level.LOW) -> Locker:
    return session.get_one(Locker, (number, level))


class TestWhatTheDatabaseReckons:
    """A generated column takes no value, and is another one after a write of what it is made of."""

    def test_is_left_alone_and_read_anew(self, lockers: Board) -> None:
        with Session(lockers.engine, expire_on_commit=False) as session:
            found = locker(session, 1)
            before = found.version
            assert (found.twice, found.shout) == (0, "FIRST")
            found.visits = 3
            session.commit()
            assert (found.twice, found.shout, found.version) == (6, "FIRST", before)

    def test_goes_along_with_what_a_view_writes(self, lockers: Board) -> None:
        with Session(lockers.engine, expire_on_commit=False) as session:
            found = locker(session, 1)
            before = found.version
            found.visits, found.text = 3, "mine"
            session.commit()
            assert (found.twice, found.shout) == (6, "MINE")
            assert found.version != before

    def test_does_not_make_a_statement_count(self, lockers: Board) -> None:
        compiled = update(Locker).values(visits=3).compile(lockers.engine)
        assert leaves_version(inspect(Locker), compiled)
        compiled = update(Locker).values(visits=3, text="mine").compile(lockers.engine)
        assert not leaves_version(inspect(Locker), compiled)


class TestWhatOtherRowsAllow:
    """A foreign key and a unique value are written where the flush comes to them, if it writes more than these."""

    def test_names_a_row_that_the_same_flush_makes(self, lockers: Board) -> None:
        with Session(lockers.engine) as session:
            found = locker(session, 1)
            before = found.version
            found.player, found.last_player_id, found.visits = Player(id=7), 7, 3
            session.commit()
            assert (found.player_id, found.last_player_id, found.visits, found.version) == (7, 7, 3, before)

    @pytest.mark.parametrize("text", ["mine", None], ids=["edited", "not edited"])
    def test_takes_over_what_another_row_gives_up(self, lockers: Board, text: str | None) -> None:
        with Session(lockers.engine) as session:
            first, second = locker(session, 1), locker(session, 2)
            before = second.version
            first.text = text or first.text
            second.code, first.code = first.code, None
            session.commit()
            assert (first.code, second.code, second.version) == (None, "1 LOW", before)


def test_what_a_flush_did_not_come_to_send_is_not_sent_by_the_next(lockers: Board) -> None:
    with Session(lockers.engine) as session:
        found = locker(session, 1)
        found.code, found.visits = "taken", 3
        locker(session, 2).code = "taken"
        locker(session, 2).text = "mine"
        with pytest.raises(IntegrityError):
            session.flush()
        session.rollback()
        found.text = "mine"
        session.commit()
        assert (found.code, found.visits, found.text) == ("1 LOW", 0, "mine")


class TestTheOrder:
    """Rows are written in one order, whichever they were changed in, so that two sessions do not deadlock."""

    @contextmanager
    def written(self, board: Board) -> Iterator[list[str]]:
        sent: list[str] = []

        def note(_c: object, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
            if statement.startswith("UPDATE"):
                values = parameters.values() if isinstance(parameters, dict) else parameters
                sent.append(" ".join([statement.split()[1], *(str(each) for each in values)]))

        with told(board.engine, "before_cursor_execute", note):
            yield sent

    @pytest.mark.parametrize("order", [(1, 2, 10, 3), (10, 3, 2, 1), (2, 10, 1, 3)])
    def test_is_that_of_tables_then_of_keys(self, films: Board, order: tuple[int, ...]) -> None:
        with Session(films.engine) as session, self.written(films) as sent:
            session.add_all(Film(id=number, text="more") for number in (2, 3, 10))
            session.commit()
            found = {each.id: each for each in session.scalars(select(Film))}
            sent.clear()
            for number in order:
                found[number].shows, found[number].views = 5, 5
            session.commit()
        tables = [each.split()[0].strip('`"') for each in sent]
        assert tables == ["watched"] * 4 + ["film"] * 4
        assert [int(each.split()[-1]) for each in sent] == [1, 2, 3, 10] * 2

    @pytest.mark.parametrize("is_backwards", [False, True])
    def test_is_one_for_keys_that_python_does_not_sort(self, lockers: Board, is_backwards: bool) -> None:
        with Session(lockers.engine) as session, self.written(lockers) as sent:
            found = sorted(session.scalars(select(Locker)), key=lambda each: (each.id, each.level.name))
            for each in reversed(found) if is_backwards else found:
                each.visits = 5
            session.commit()
        assert [each.split()[-2:] for each in sent] == [[n, level] for n in "12" for level in ("HIGH", "LOW")]


class TestAGuardedView:
    def test_that_writes_these_alone_meets_no_conflict_and_keeps_the_tag(self, watched: Board) -> None:
        def view(found: Any) -> None:
            found.seen_by = "me"
            watched.meanwhile("PUT", **{"If-Match": "*"})
            watched.db.session.commit()

        answer = watched.save(view)
        assert (answer.status_code, answer.headers["ETag"]) == (200, watched.seen)
        assert stored(watched, "seen_by", "text") == ["me", "theirs"]
        assert watched.get().headers["ETag"] != watched.seen

    @pytest.mark.parametrize("way", ["values", "parameters", "query", "expression"])
    def test_whose_statement_sets_these_alone_is_neither_held_nor_tagged_anew(
        self, watched: Board, way: str
    ) -> None:
        session = watched.db.session
        table = Watched.__table__
        ways: dict[str, Callable[[], object]] = {
            "values": lambda: session.execute(
                update(Watched).where(Watched.id == 1).values(views=4, seen_by="me")
            ),
            "parameters": lambda: session.connection().execute(
                update(table).where(table.c.id == bindparam("key")),  # type: ignore[arg-type]
                {"key": 1, "view_count": 4, "seen_by": "me"},
            ),
            "query": lambda: session.query(Watched).filter(Watched.id == 1).update({"views": 4, "seen_by": "me"}),
            "expression": lambda: session.execute(
                update(Watched).values({Watched.views: Watched.views + 4, Watched.seen_by: "me"})
            ),
        }

        def view(found: Any) -> None:
            watched.meanwhile("PUT", **{"If-Match": "*"})
            ways[way]()
            session.commit()

        answer = watched.save(view)
        assert (answer.status_code, answer.headers["ETag"]) == (200, watched.seen)
        assert stored(watched, "views", "seen_by", "text") == [4, "me", "theirs"]

    @pytest.mark.parametrize(
        "statement",
        [
            update(Watched).where(Watched.id == 1).values(views=4, text="mine"),
            text("UPDATE watched SET view_count = 4 WHERE id = 1"),
        ],
        ids=["with another column", "a text"],
    )
    def test_whose_statement_may_set_more_is_held(self, watched: Board, statement: Any) -> None:
        def view(found: Any) -> None:
            watched.meanwhile("PUT", **{"If-Match": "*"})
            watched.db.session.execute(statement)
            watched.db.session.commit()

        assert watched.save(view).status_code == 412
        assert stored(watched, "views", "text") == [0, "theirs"]

    def test_of_mappings_names_the_version_and_moves_it(self, watched: Board) -> None:
        """SQLAlchemy wants it in each mapping, and compares it; the docs have the statement that does not."""
        with Session(watched.engine) as session:
            before = session.get_one(watched.model, 1).version
            for bulk in (
                lambda mapping: session.bulk_update_mappings(watched.model, [mapping]),
                lambda mapping: session.execute(update(watched.model), [mapping]),
            ):
                with pytest.raises(KeyError, match="version"):
                    bulk({"id": 1, "views": 1})
                session.rollback()
                bulk({"id": 1, "views": 1, "version": before})
                session.commit()
                session.expire_all()
                after = session.get_one(watched.model, 1).version
                assert after != before
                before = after


@pytest.mark.parametrize("way", ["object", "statement"])
def test_a_read_that_counts_answers_a_tag_that_a_save_can_use(watched: Board, way: str) -> None:
    session = watched.db.session

    def read(found: Any) -> str:
        if way == "object":
            found.views += 1
        else:
            session.execute(update(Watched).where(Watched.id == found.id).values(views=Watched.views + 1))
        session.commit()
        return "counted"

    watched.app.get("/counted/<int:number>", endpoint="counted")(etag_resource(watched.find)(read))
    first, second = watched.send("GET", "/counted/1", {}), watched.send("GET", "/counted/1", {})
    assert first.headers["ETag"] == second.headers["ETag"] == watched.get().headers["ETag"]
    assert stored(watched, "views") == [2]


class TestADeclaration:
    """A class adds to what it inherits; what could not be kept is refused when the models are configured."""

    def test_of_a_mixin_an_abstract_class_and_what_inherits_from_them(self) -> None:
        class Apart(DeclarativeBase):
            pass

        class Seen:
            __unversioned__: ClassVar[Collection[str]] = frozenset({"seen"})
            seen: Mapped[int]

        class Kept(Versioned, Apart):
            __abstract__ = True
            __unversioned__: ClassVar[Collection[str]] = ("kept",)
            kept: Mapped[int]

        class Thing(Seen, Kept):
            __tablename__ = "thing"
            id: Mapped[int] = mapped_column(primary_key=True)

        class More(Thing):
            __unversioned__ = frozenset({"more"})
            more: Mapped[int | None]

        assert names_unversioned(inspect(Thing)) == {"seen", "kept"}
        assert names_unversioned(inspect(More)) == {"seen", "kept", "more"}
        Apart.registry.dispose()

    def test_of_one_text_in_a_mixin(self) -> None:
        class Apart(DeclarativeBase):
            pass

        class Seen:
            __unversioned__: ClassVar[Collection[str]] = "seen"
            seen: Mapped[int]

        class Thing(Seen, Versioned, Apart):
            __tablename__ = "thing"
            __unversioned__ = frozenset({"more"})
            id: Mapped[int] = mapped_column(primary_key=True)
            more: Mapped[int]

        with pytest.raises(TypeError, match=r'__unversioned__ of Seen is a set of names, such as {"seen"}'):
            Apart.registry.configure()
        Apart.registry.dispose()

    @pytest.mark.parametrize(
        ("declared", "message"),
        [
            ("views", "is a set of names, such as"),
            ({"view"}, "names view: it takes names of attributes"),
            ({"id"}, "names id"),
            ({"version"}, "names version"),
        ],
    )
    def test_of_what_is_no_column_that_could_be_left_out(self, declared: Any, message: str) -> None:
        class Apart(DeclarativeBase):
            pass

        class Seen(Versioned, Apart):
            __tablename__ = "seen"
            __unversioned__ = declared

            id: Mapped[int] = mapped_column(primary_key=True)
            views: Mapped[int]

        with pytest.raises(TypeError, match=f"__unversioned__ of Seen {message}"):
            Apart.registry.configure()
        Apart.registry.dispose()

    @pytest.mark.parametrize("is_versioned", [True, False])
    def test_of_a_model_whose_version_sqlalchemy_does_not_make(self, is_versioned: bool) -> None:
        class Apart(DeclarativeBase):
            pass

        class Seen(Apart):
            __tablename__ = "seen"
            __unversioned__ = frozenset({"views"})

            id: Mapped[int] = mapped_column(primary_key=True)
            views: Mapped[int]
            revision: Mapped[int] = mapped_column()
            __mapper_args__ = {"version_id_col": revision, "version_id_generator": False} if is_versioned else {}

        with pytest.raises(TypeError, match="takes a version that SQLAlchemy makes"):
            Apart.registry.configure()
        Apart.registry.dispose()


def test_a_row_that_is_gone_has_nothing_that_could_be_written(watched: Board) -> None:
    with Session(watched.engine) as session:
        found = session.get_one(watched.model, 1)
        session.expunge(found)
        session.rollback()
        with Session(watched.engine) as other:
            other.delete(other.get_one(watched.model, 1))
            other.commit()
        session.add(found)
        found.views += 1
        session.commit()
        assert session.scalars(select(watched.model)).all() == []


@dataclass(frozen=True)
class Code:
    """A key that has no order."""

    text: str


class CodeType(TypeDecorator[Code]):
    impl = String(10)
    cache_ok = True

    def process_bind_param(self, value: Code | None, _: object) -> str | None:
        return None if value is None else value.text

    def process_result_value(self, value: str | None, _: object) -> Code | None:
        return None if value is None else Code(value)


class Coded(Versioned, Base):
    __tablename__ = "coded"
    __unversioned__ = frozenset({"views"})

    code: Mapped[Code] = mapped_column(CodeType, primary_key=True)
    views: Mapped[int] = mapped_column(default=0)


def test_keys_without_an_order_are_left_to_the_flush_which_says_so(board_on: Callable[..., Board]) -> None:
    board = board_on("sqlite", Checked)
    with board.app.app_context():
        session = board.db.session
        for code in "ab":
            session.add(Coded(code=Code(code)))
            session.commit()
        for each in session.scalars(select(Coded)).all():
            each.views += 1
        with pytest.raises(InvalidRequestError, match="Could not sort objects by primary key"):
            session.flush()
