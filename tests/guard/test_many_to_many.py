"""Rule 3.4: links of a many-to-many relationship that is covered, and touch() in listeners."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy import Column, ForeignKey, String, Table, event, select
from sqlalchemy.orm import Mapped, Session, mapped_column, relationship
from sqlalchemy.orm.exc import StaleDataError

from flask_etag import content_hash, etag_resource, resource
from flask_etag.sqlalchemy import Versioned, covers, touch
from tests.conftest import KINDS
from tests.world.application import World
from tests.world.board import Board, Counted, Player
from tests.world.models import Base
from tests.world.racing import in_thread

post_topic = Table(
    "post_topic",
    Base.metadata,
    Column("post_id", ForeignKey("post.id"), primary_key=True),
    Column("topic_id", ForeignKey("topic.id"), primary_key=True),
)


class Post(Versioned, Base):
    __tablename__ = "post"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    text: Mapped[str] = mapped_column(String(80), default="")
    topics: Mapped[list[Topic]] = relationship(secondary=post_topic, back_populates="posts", order_by="Topic.id")


class Topic(Base):
    __tablename__ = "topic"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(String(80), default="")
    posts: Mapped[list[Post]] = relationship(secondary=post_topic, back_populates="topics", order_by="Post.id")


covers(Post.topics)


@pytest.fixture(params=KINDS)
def board(request: pytest.FixtureRequest, board_on: Callable[..., Board]) -> Board:
    """Post 1 with the topics 1 and 2, post 2 with topic 2, post 3 with none; topic 3 of no post."""
    board = board_on(request.param, Post)
    with board.app.app_context():
        one = board.db.session.get_one(Post, 1)
        topics = [Topic(id=number) for number in (1, 2, 3)]
        one.topics = topics[:2]
        board.db.session.add_all([*topics, Post(id=2, topics=topics[1:2]), Post(id=3)])
        board.db.session.commit()
    return board


def test_a_hash_may_ask_for_what_is_covered(board: Board) -> None:
    """By a query too: whoever changes that moves the version. What else it asks for is refused."""
    asked: list[Any] = [select(Topic.name), select(post_topic.c.topic_id)]
    hashed = content_hash(lambda post: [post.text, *(board.db.session.scalars(each).all() for each in asked)])

    @resource(etag=hashed)
    def find(number: int) -> Post | None:
        return board.db.session.get(Post, number)

    board.find = find
    board.app.view_functions["read"] = etag_resource(board.find)(lambda each: each.text)

    def view(found: Any) -> None:
        found.text = "mine"
        board.db.session.commit()

    assert board.save(view).status_code == 200
    asked.append(select(Player.name))
    with board.app.app_context():
        seen = board.find.etag_of(board.db.session.get_one(Post, 1))
    with pytest.raises(TypeError, match="depends on rows of player, which can change"):
        board.send("PUT", "/mine/1", {"If-Match": str(seen)})


def versions(engine: Any) -> dict[int, str]:
    with Session(engine) as session:
        return {post.id: post.version for post in session.scalars(select(Post))}


def append(session: Any) -> None:
    post = session.get_one(Post, 1)
    post.topics.append(session.get_one(Topic, 3))


def append_a_new_one(session: Any) -> None:
    post = session.get_one(Post, 1)
    post.topics.append(Topic(id=9))


def append_to_what_is_loaded(session: Any) -> None:
    post = session.get_one(Post, 1)
    assert len(post.topics) == 2
    post.topics.append(session.get_one(Topic, 3))


def append_from_the_other_side(session: Any) -> None:
    topic = session.get_one(Topic, 3)
    topic.posts.append(session.get_one(Post, 1))


def append_from_the_other_side_where_both_are_loaded(session: Any) -> None:
    post, topic = session.get_one(Post, 1), session.get_one(Topic, 3)
    assert (len(post.topics), topic.posts) == (2, [])
    topic.posts.append(post)


def make_the_other_side(session: Any) -> None:
    session.add(Topic(id=9, posts=[session.get_one(Post, 1)]))


def remove(session: Any) -> None:
    post = session.get_one(Post, 1)
    post.topics.remove(session.get_one(Topic, 1))


def remove_from_the_other_side(session: Any) -> None:
    topic = session.get_one(Topic, 1)
    topic.posts.remove(session.get_one(Post, 1))


def clear_from_the_other_side(session: Any) -> None:
    topic = session.get_one(Topic, 1)
    topic.posts = []


def replace(session: Any) -> None:
    post = session.get_one(Post, 1)
    post.topics = [session.get_one(Topic, 3)]


def delete_the_other_side(session: Any) -> None:
    session.delete(session.get_one(Topic, 1))


def change_the_other_side(session: Any) -> None:
    session.get_one(Topic, 1).name = "changed"


def change_a_link_and_a_column(session: Any) -> None:
    post = session.get_one(Post, 1)
    post.text = "changed"
    post.topics.append(session.get_one(Topic, 3))


ONE = [
    append, append_a_new_one, append_to_what_is_loaded, append_from_the_other_side,
    append_from_the_other_side_where_both_are_loaded, make_the_other_side, remove, remove_from_the_other_side,
    clear_from_the_other_side, replace, delete_the_other_side, change_the_other_side, change_a_link_and_a_column,
]  # fmt: skip


@pytest.mark.parametrize("change", ONE)
def test_3_4_many_to_many_is_covered(board: Board, change: Callable[[Any], None]) -> None:
    before = versions(board.engine)
    with Session(board.engine) as session:
        change(session)
        session.commit()
    after = versions(board.engine)
    assert after[1] != before[1]
    assert (after[2], after[3]) == (before[2], before[3])


def delete_what_two_have(session: Any) -> None:
    session.delete(session.get_one(Topic, 2))


def change_what_two_have(session: Any) -> None:
    session.get_one(Topic, 2).name = "changed"


def move_from_one_to_another(session: Any) -> None:
    topic = session.get_one(Topic, 2)
    topic.posts = [session.get_one(Post, 3)]


@pytest.mark.parametrize(
    ("change", "moved"),
    [(delete_what_two_have, {1, 2}), (change_what_two_have, {1, 2}), (move_from_one_to_another, {1, 2, 3})],
)
def test_3_4_all_that_are_linked_are_moved(board: Board, change: Callable[[Any], None], moved: set[int]) -> None:
    before = versions(board.engine)
    with Session(board.engine) as session:
        change(session)
        session.commit()
    after = versions(board.engine)
    assert {number for number in before if before[number] != after[number]} == moved


def add_what_nobody_has(session: Any) -> None:
    session.add(Topic(id=9))


def change_what_nobody_has(session: Any) -> None:
    session.get_one(Topic, 3).name = "changed"


def delete_what_nobody_has(session: Any) -> None:
    session.delete(session.get_one(Topic, 3))


def set_what_is_there(session: Any) -> None:
    post = session.get_one(Post, 1)
    post.topics = list(post.topics)
    session.get_one(Topic, 1).name = ""


@pytest.mark.parametrize(
    "change", [add_what_nobody_has, change_what_nobody_has, delete_what_nobody_has, set_what_is_there]
)
def test_3_4_what_is_linked_to_nobody_moves_nobody(board: Board, change: Callable[[Any], None]) -> None:
    before = versions(board.engine)
    with Session(board.engine) as session:
        change(session)
        session.commit()
    assert versions(board.engine) == before


@pytest.mark.parametrize("change", [append, append_from_the_other_side, remove, delete_the_other_side])
@pytest.mark.parametrize("has_rival", [False, True], ids=["alone", "rival"])
def test_3_4_links_are_written_from_what_was_judged(
    board: Board, change: Callable[[Any], None], has_rival: bool
) -> None:
    board.has_rival = has_rival

    def links() -> list[int]:
        with Session(board.engine) as session:
            return [topic.id for topic in session.get_one(Post, 1).topics]

    def view(_: Any) -> None:
        board.meanwhile("PUT", If_Match="*")
        change(board.db.session)
        board.db.session.commit()

    before = links()
    answer = board.save(view)
    assert answer.status_code == (412 if has_rival else 200)
    assert answer.headers["ETag"] == board.get().headers["ETag"] != board.seen
    assert (links() == before) == has_rival


def load_topics(session: Session) -> None:
    session.scalars(select(Topic)).all()


@pytest.mark.parametrize("send", [Session.flush, Session.commit, load_topics])
def test_p2_a_deletion_whose_links_a_rival_has_changed_is_refused_though_it_is_swallowed(
    board: Board, send: Callable[[Session], Any]
) -> None:
    """The links go first, so that no statement has met the row itself yet."""

    def change_links() -> None:
        with Session(board.engine) as session:
            session.get_one(Post, 1).topics = [session.get_one(Topic, 3)]
            session.commit()

    def view(post: Any) -> None:
        assert post.topics
        in_thread(change_links)
        board.db.session.delete(post)
        with suppress(StaleDataError):
            send(board.db.session())
        board.db.session.rollback()

    answer = board.save(view)
    assert answer.status_code == 412
    assert answer.headers["ETag"] == board.get().headers["ETag"] != board.seen


# touch() in listeners.


@pytest.mark.parametrize("target", ["handed", "loaded there"])
@pytest.mark.parametrize(
    "moment", ["before_flush", "after_flush", "before_update", "after_update", "after_insert"]
)
@pytest.mark.parametrize("kind", KINDS)
def test_3_4_touch_works_in_a_listener(
    board_on: Callable[..., Board], kind: str, moment: str, target: str
) -> None:
    """So that whoever writes what belongs to a row, in whatever way, moves its version."""
    board = board_on(kind, Counted)
    done: list[str] = []

    def view(found: Any) -> None:
        session = board.db.session()

        def move(*_: object) -> None:
            if not done:
                done.append(moment)
                touch(found if target == "handed" else session.get_one(Counted, 1))

        of: Any = session if moment.endswith("flush") else Player
        event.listen(of, moment, move)
        try:
            session.get_one(Player, 1).name = "changed"
            session.add(Player(id=2))
            session.commit()
        finally:
            event.remove(of, moment, move)

    answer = board.save(view)
    assert done == [moment]
    assert answer.status_code == 200
    assert answer.headers["ETag"] == board.get().headers["ETag"] != board.seen


@pytest.mark.parametrize("moment", ["before_flush", "after_flush", "after_update"])
@pytest.mark.parametrize("kind", KINDS)
def test_3_4_touch_in_a_listener_is_held_to_what_was_judged(
    board_on: Callable[..., Board], kind: str, moment: str
) -> None:
    board = board_on(kind, Counted)

    def view(found: Any) -> None:
        session = board.db.session()

        def move(*_: object) -> None:
            touch(found)

        board.meanwhile("PUT", If_Match="*")
        of: Any = session if moment.endswith("flush") else Player
        event.listen(of, moment, move)
        try:
            session.get_one(Player, 1).name = "changed"
            session.commit()
        finally:
            event.remove(of, moment, move)

    answer = board.save(view)
    assert (answer.status_code, board.get().text) == (412, "theirs")
    with Session(board.engine) as session:
        assert session.get_one(Player, 1).name == ""


# What belongs to what is linked.


song_of_list = Table(
    "song_of_list",
    Base.metadata,
    Column("list_id", ForeignKey("playlist.id"), primary_key=True),
    Column("song_id", ForeignKey("song.id"), primary_key=True),
)


class Playlist(Versioned, Base):
    __tablename__ = "playlist"

    id: Mapped[int] = mapped_column(primary_key=True)
    songs: Mapped[list[Song]] = relationship(secondary=song_of_list)


class Song(Versioned, Base):
    __tablename__ = "song"

    id: Mapped[int] = mapped_column(primary_key=True)
    takes: Mapped[list[Take]] = relationship()


class Take(Base):
    __tablename__ = "take"

    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str] = mapped_column(String(80), default="")
    song_id: Mapped[int] = mapped_column(ForeignKey("song.id"))


covers(Playlist.songs)
covers(Song.takes)


def test_3_4_what_belongs_to_what_is_linked_belongs_to_the_whole(world: World) -> None:
    with Session(world.engine) as session:
        song = Song(id=1, takes=[Take(id=1)])
        lists = [Playlist(id=1, songs=[song]), Playlist(id=2)]
        session.add_all(lists)
        session.commit()
        before = [song.version, *(each.version for each in lists)]
        session.expunge_all()
        session.get_one(Take, 1).text = "changed"
        session.commit()
        after = [session.get_one(Song, 1).version, *(session.get_one(Playlist, key).version for key in (1, 2))]
    assert [one != other for one, other in zip(before, after, strict=True)] == [True, True, False]
