"""Models without a version: the lock on their row, on each database; rules 2.2 to 2.6 and 2.14."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest
from flask import request
from sqlalchemy import create_engine, select, text, update
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from flask_etag import content_hash, etag_resource, require_if_match, resource
from tests.world.application import World
from tests.world.board import Board, Checked, Player
from tests.world.models import Paper, Remark
from tests.world.racing import Racer, in_thread
from tests.world.statements import statements_of, verbs

SQLITE = ["sqlite", "sqlite, WAL", "sqlite, real BEGINs", "sqlite, WAL, real BEGINs"]
KINDS = [*SQLITE, "postgresql", "mariadb"]


@pytest.fixture(params=KINDS)
def world(request: pytest.FixtureRequest, world_on: Callable[[str], str]) -> Iterator[World]:
    """The application on each kind of database."""
    kind: str = request.param
    url = world_on(kind.split(",", maxsplit=1)[0])
    if "WAL" in kind:
        engine = create_engine(url)
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")
        engine.dispose()
    world = World(url, recipe="real BEGINs" in kind)
    yield world
    world.close()


def other(world: World, **headers: str) -> TestResponse:
    return world.put("", "/other/plan", **headers)


def test_2_2_of_two_writers_with_one_tag_one_is_refused(world: World) -> None:
    etag = world.paper_etag()
    slow, hold = world.held("before commit", lambda: world.put_paper("slow", if_match=etag, hold="before commit"))
    fast = Racer(lambda: world.put_paper("fast", if_match=etag))
    fast.join(0.3)
    assert fast.is_alive()  # it waits for the lock
    hold.released.set()
    assert slow.answer().status_code == 200
    assert fast.answer().status_code == 412
    assert fast.answer().headers["ETag"] == world.paper_etag() == slow.answer().headers["ETag"]
    assert world.paper_body() == "slow"


def test_2_4_of_a_deletion_and_an_update_with_one_tag_one_is_refused(world: World) -> None:
    etag = world.paper_etag()
    slow, hold = world.held("before commit", lambda: world.delete_paper(if_match=etag, hold="before commit"))
    fast = Racer(lambda: world.put_paper("fast", if_match=etag))
    fast.join(0.3)
    hold.released.set()
    assert slow.answer().status_code == 204
    assert fast.answer().status_code == 412
    assert '"absent"' in fast.answer().text
    assert world.get_paper().status_code == 404


def test_without_the_guard_the_same_model_loses_updates(world: World) -> None:
    """The tag is compared, and then it is written: both are accepted, and one is lost."""

    @world.app.put("/unguarded/<name>")
    def replace(name: str) -> str:
        paper = world.db.session.get_one(Paper, name)
        assert request.headers["If-Match"] == str(world.find_paper.etag_of(paper))
        body = request.get_data(as_text=True)
        if "recipe" not in vars(world):
            world.db.session.rollback()  # the transaction that has read could not write on every database
        world.hold("before commit")
        world.db.session.execute(update(Paper).values(body=body))
        world.db.session.commit()
        return ""

    etag = world.paper_etag()
    slow, hold = world.held(
        "before commit", lambda: world.put("slow", "/unguarded/plan", if_match=etag, hold="before commit")
    )
    assert world.put("fast", "/unguarded/plan", if_match=etag).status_code == 200
    hold.released.set()
    assert slow.answer().status_code == 200
    assert world.paper_body() == "slow"


@pytest.mark.parametrize("price", [Decimal("5"), 5, Decimal("5.00")], ids=repr)
def test_2_6_the_tag_is_of_what_was_stored(world: World, price: Any) -> None:
    def set_price(paper: Paper) -> str:
        paper.price = price  # stored, it is Decimal("5.00")
        world.db.session.commit()
        return "done"

    world.put_paper_view(set_price)
    answer = other(world, if_match=world.paper_etag())
    assert answer.headers["ETag"] == world.paper_etag()
    assert other(world, if_match=answer.headers["ETag"]).status_code == 200


def test_2_13_a_view_that_lets_go_of_the_lock_is_held_to_what_was_judged(world: World) -> None:
    def roll_back_and_write(paper: Paper) -> str:
        world.db.session.rollback()
        world.write_elsewhere("the winner's")
        paper.body = "lost"
        world.db.session.commit()
        return "done"

    world.put_paper_view(roll_back_and_write)
    assert other(world, if_match=world.paper_etag()).status_code == 412
    assert world.paper_body() == "the winner's"


def test_a_view_may_let_go_of_the_lock_and_write_where_nobody_else_did(world: World) -> None:
    def write_twice(paper: Paper) -> str:
        world.db.session.rollback()
        paper.body = "once"
        world.db.session.commit()
        paper.body = "twice"
        world.db.session.commit()
        return "done"

    world.put_paper_view(write_twice)
    answer = other(world, if_match=world.paper_etag())
    assert answer.status_code == 200
    assert answer.headers["ETag"] == world.paper_etag()
    assert world.paper_body() == "twice"


def test_2_8_between_two_commits_of_one_view_another_writer_makes_it_a_conflict(world: World) -> None:
    def write_twice(paper: Paper) -> str:
        paper.body = "once"
        world.db.session.commit()
        world.write_elsewhere("the winner's")
        paper.body = "twice"
        world.db.session.commit()
        return "done"

    world.put_paper_view(write_twice)
    assert other(world, if_match=world.paper_etag()).status_code == 409
    assert world.paper_body() == "the winner's"


def test_2_7_what_is_left_uncommitted_is_flushed_and_has_its_tag(world: World) -> None:
    def leave(paper: Paper) -> str:
        paper.body = "left"
        return "done"

    world.put_paper_view(leave)

    @world.app.after_request
    def commit(response: Any) -> Any:
        world.db.session.commit()
        return response

    answer = other(world, if_match=world.paper_etag())
    assert answer.headers["ETag"] == world.paper_etag()
    assert world.paper_body() == "left"


def test_2_3_of_two_that_create_one_is_refused(world: World) -> None:
    world.get_paper()
    slow, hold = world.held(
        "before commit", lambda: world.put_paper("slow", "new", if_none_match="*", hold="before commit")
    )
    fast = Racer(lambda: world.put_paper("fast", "new", if_none_match="*"))
    fast.join(0.3)  # on a SQLite file whose readers keep writers out, it waits for the other
    hold.released.set()
    [(winner, body), (lost, _)] = sorted(
        [(slow.answer(), "slow"), (fast.answer(), "fast")], key=lambda answer: answer[0].status_code
    )
    assert (winner.status_code, lost.status_code) == (201, 412)
    assert lost.json is not None
    assert lost.json["reason"] == "exists"
    assert lost.headers["ETag"] == winner.headers["ETag"] == world.get_paper("new").headers["ETag"]
    assert world.get_paper("new").json == {"body": body}


def test_a_loader_whose_select_cannot_lock_is_read_and_then_locked(world: World) -> None:
    @resource(etag=content_hash(lambda paper: paper.body))
    def find_distinct(name: str) -> Paper | None:
        return world.db.session.scalar(select(Paper).where(Paper.name == name).distinct())

    def write(paper: Paper) -> str:
        paper.body += "x"
        world.db.session.commit()
        return "done"

    world.put_paper_view(write, find_distinct)
    for _ in range(3):
        with world.app.test_request_context():
            etag = str(find_distinct.etag_of(find_distinct("plan")))
        assert other(world, if_match=etag).status_code == 200
        assert other(world, if_match=etag).status_code == 412
    assert world.paper_body() == "firstxxx"


@pytest.mark.parametrize("end", [Session.commit, Session.rollback])
def test_2_2_a_loader_that_ends_its_transaction_leaves_no_gap(
    world: World, end: Callable[[Session], None]
) -> None:
    @resource(etag=content_hash(lambda paper: paper.body))
    def find(name: str) -> Paper | None:
        paper = world.db.session.get(Paper, name)
        end(world.db.session())
        return paper

    def write(paper: Paper) -> str:
        world.hold("before commit")
        paper.body += "x"
        world.db.session.commit()
        return "done"

    world.put_paper_view(write, find)
    with world.app.test_request_context():
        etag = str(find.etag_of(find("plan")))
    slow, hold = world.held("before commit", lambda: other(world, if_match=etag, hold="before commit"))
    fast = Racer(lambda: other(world, if_match=etag))
    fast.join(0.2)
    hold.released.set()
    assert {slow.answer().status_code, fast.answer().status_code} == {200, 412}
    assert world.paper_body() == "firstx"


@pytest.mark.parametrize("has_rival", [False, True], ids=["alone", "rival"])
def test_2_1_a_version_is_compared_also_where_its_loader_has_ended_its_transaction(
    any_board: Board, has_rival: bool
) -> None:
    board = any_board
    board.has_rival = has_rival

    def find(number: int) -> Any:
        found = board.db.session.get(board.model, number)
        board.db.session.commit()
        return found

    board.find = board.found_by(find)

    def view(found: Any) -> None:
        board.let_go()
        board.meanwhile("PUT", If_Match="*")
        found.text = "mine"
        board.db.session.commit()

    answer = board.save(view)
    assert (answer.status_code, board.get().text) == ((412, "theirs") if has_rival else (200, "mine"))
    assert answer.headers["ETag"] == board.get().headers["ETag"]


def test_2_2_a_view_that_holds_a_row_may_call_another_for_the_same(any_board: Board) -> None:
    board = any_board

    @require_if_match(board.find)
    def replace(found: Any, **_: int) -> str:
        found.text = "mine"
        board.db.session.commit()
        return "done"

    answer = board.save(lambda _: replace(number=1), If_Match="*")
    assert (answer.status_code, board.get().text) == (200, "mine")
    assert answer.headers["ETag"] == board.get().headers["ETag"] != board.seen


def test_2_2_what_a_view_was_judged_by_is_not_given_up_for_another_that_it_calls(world_url: str) -> None:
    """The second view meets another writer before it begins: it cannot begin anew without the first."""
    board = Board(world_url, Checked)
    moves = iter(["theirs"])

    def rename() -> None:
        for name in moves:
            with Session(board.engine) as session:
                session.execute(update(Player).values(name=name))
                session.commit()

    @resource(etag=content_hash(lambda player: player.name))
    def find_player(number: int) -> Player | None:
        player = board.db.session.get(Player, number)
        in_thread(rename)
        return player

    @require_if_match(find_player)
    def replace(player: Any, **_: int) -> str:
        raise AssertionError("The view ran.")

    with board.app.test_request_context():
        tags = [str(board.find.etag_of(board.db.session.get(Checked, 1)))]
        tags.append(str(find_player.etag_of(board.db.session.get(Player, 1))))
    answer = board.save(lambda _: replace(number=1), If_Match=", ".join(tags))
    assert answer.status_code == 412
    with Session(board.engine) as session:
        assert session.scalars(select(Player.name)).all() == ["theirs"]
    board.close()


def refuses_every_write(world: World, found: Any, depends_on: str) -> None:
    def write(paper: Paper) -> str:
        raise AssertionError("The view ran.")

    world.put_paper_view(write, found)
    with pytest.raises(TypeError, match=f"The ETag of Paper depends on {depends_on}"):
        other(world, if_match="*")


def test_2_2_a_hash_that_asks_for_other_rows_is_refused_at_the_first_write(world: World) -> None:
    def dump(paper: Paper) -> list[str]:
        return [paper.body, *world.db.session.scalars(select(Remark.text))]

    @resource(etag=content_hash(dump))
    def find_with_remarks(name: str) -> Paper | None:
        return world.db.session.get(Paper, name)

    refuses_every_write(world, find_with_remarks, "rows of remark, which can change")


def test_2_2_a_hash_of_other_rows_is_refused_at_the_first_write(world: World) -> None:
    @resource(etag=content_hash(lambda paper: [paper.body, [remark.text for remark in paper.remarks]]))
    def find_with_remarks(name: str) -> Paper | None:
        return world.db.session.get(Paper, name)

    refuses_every_write(world, find_with_remarks, "its remarks")


def assign(session: Any, paper: Paper) -> Paper:
    paper.body = "first"
    return paper


def merge(session: Any, paper: Paper) -> Paper:
    """What a cache has kept is put over what is there."""
    return session.merge(Paper(name="plan", body="first"))  # type: ignore[no-any-return]


def assign_unread(session: Any, paper: Paper) -> Paper:
    session.expire(paper)
    return assign(session, paper)


@pytest.mark.parametrize(
    ("change", "is_before"),
    [(assign, False), (assign, True), (merge, False), (merge, True), (assign_unread, False)],
)
def test_2_2_no_request_is_judged_by_what_is_changed_and_not_sent_yet(
    world: World, change: Callable[[Any, Paper], Paper], is_before: bool
) -> None:
    session = world.db.session
    find = resource(etag=content_hash(lambda paper: paper.body))

    def find_plan() -> Paper:
        return session.get_one(Paper, "plan")

    def change_before() -> None:
        if is_before and request.method == "PUT":
            change(session, find_plan())

    def write(paper: Paper) -> str:
        raise AssertionError("The view ran.")

    world.app.before_request(change_before)
    read = etag_resource(find(lambda **_: find_plan()))(lambda paper: paper.body)
    world.app.get("/other/<string:name>", endpoint="read")(read)
    world.put_paper_view(write, find(lambda **_: find_plan() if is_before else change(session, find_plan())))
    tags = [world.app.test_client().get("/other/plan").headers["ETag"]]
    world.write_elsewhere("theirs")
    tags.append(world.app.test_client().get("/other/plan").headers["ETag"])
    for etag in tags:
        with pytest.raises(RuntimeError, match="The body of this Paper was changed before the request was judged"):
            other(world, if_match=etag)
    with world.app.app_context():
        assert find_plan().body == "theirs"


def test_2_2_what_the_tag_does_not_depend_on_may_be_changed_before(world: World) -> None:
    @resource(etag=content_hash(lambda paper: paper.body))
    def find_seen(name: str) -> Paper:
        paper = world.db.session.get_one(Paper, name)
        paper.price += 1
        paper.body = str(paper.body)
        return paper

    def write(paper: Paper) -> str:
        paper.body = "mine"
        world.db.session.commit()
        return ""

    world.app.get("/other/<string:name>", endpoint="seen")(etag_resource(find_seen)(lambda paper: paper.body))
    world.put_paper_view(write, find_seen)
    etag = world.app.test_client().get("/other/plan").headers["ETag"]
    assert [other(world, if_match=etag).status_code for _ in range(2)] == [200, 412]
    with world.app.app_context():
        paper = world.db.session.get_one(Paper, "plan")
        assert (paper.body, paper.price) == ("mine", Decimal(1))


def test_2_14_a_version_that_does_not_move_is_a_conflict(world: World, caplog: pytest.LogCaptureFixture) -> None:
    def write(paper: Paper) -> str:
        paper.body = request.get_data(as_text=True)
        if paper.body == "moved":
            paper.revision += 1
        world.db.session.commit()
        return "done"

    world.put_paper_view(write, world.find_revision)
    with world.app.test_request_context():
        etag = str(world.find_revision.etag_of(world.find_revision("plan")))
    answer = world.put("still", "/other/plan", if_match=etag)
    assert answer.status_code == 409
    assert "Paper.revision did not move" in caplog.text
    assert world.paper_body() == "first"
    answer = world.put("moved", "/other/plan", if_match=etag)
    assert answer.status_code == 200
    assert answer.headers["ETag"] != etag
    assert world.put("again", "/other/plan", if_match=etag).status_code == 412


TRIGGERS = {
    "sqlite": "CREATE TRIGGER moved AFTER UPDATE OF body ON paper BEGIN "
    "UPDATE paper SET revision = OLD.revision + 1 WHERE name = OLD.name; END",
    "mysql": "CREATE TRIGGER moved BEFORE UPDATE ON paper FOR EACH ROW SET NEW.revision = OLD.revision + 1",
    "postgresql": "CREATE FUNCTION move() RETURNS trigger LANGUAGE plpgsql AS "
    "'BEGIN NEW.revision := OLD.revision + 1; RETURN NEW; END'; "
    "CREATE TRIGGER moved BEFORE UPDATE ON paper FOR EACH ROW EXECUTE FUNCTION move()",
}


@pytest.fixture
def moving(world: World) -> Iterator[World]:
    """The application on a table of papers whose revisions a trigger moves."""
    name = world.engine.dialect.name
    with world.engine.begin() as connection:
        connection.execute(text(TRIGGERS[name]))
    yield world
    with world.engine.begin() as connection:
        connection.execute(text("DROP FUNCTION move CASCADE" if name == "postgresql" else "DROP TRIGGER moved"))


def test_a_column_that_a_trigger_moves(moving: World) -> None:
    world = moving

    def write(paper: Paper) -> str:
        paper.body += "x"
        world.db.session.commit()
        return "done"

    world.put_paper_view(write, world.find_revision)
    with world.app.test_request_context():
        etag = str(world.find_revision.etag_of(world.find_revision("plan")))
    for _ in range(2):
        answer = other(world, if_match=etag)
        assert answer.status_code == 200
        assert other(world, if_match=etag).status_code == 412
        etag = answer.headers["ETag"]


SHOUTS = {
    "sqlite": "CREATE TRIGGER shouts AFTER UPDATE OF body ON paper BEGIN "
    "UPDATE paper SET body = upper(NEW.body) WHERE name = OLD.name; END",
    "mysql": "CREATE TRIGGER shouts BEFORE UPDATE ON paper FOR EACH ROW SET NEW.body = upper(NEW.body)",
    "postgresql": "CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS "
    "'BEGIN NEW.body := upper(NEW.body); RETURN NEW; END'; "
    "CREATE TRIGGER shouts BEFORE UPDATE ON paper FOR EACH ROW EXECUTE FUNCTION shout()",
}


@pytest.mark.parametrize("has_trigger", [False, True])
def test_what_is_answered_is_what_is_stored_even_if_a_trigger_has_made_it(world: World, has_trigger: bool) -> None:
    """A row that has what was sent is read once; another one is loaded, by one SELECT more."""
    name = world.engine.dialect.name
    if has_trigger:
        with world.engine.begin() as connection:
            connection.execute(text(SHOUTS[name]))
    try:
        etag = world.paper_etag()
        with statements_of(world.engine) as statements:
            answer = world.put_paper("mine", if_match=etag)
        sent = verbs(statements)
    finally:
        if has_trigger:
            with world.engine.begin() as connection:
                connection.execute(
                    text("DROP FUNCTION shout CASCADE" if name == "postgresql" else "DROP TRIGGER shouts")
                )
    assert (answer.status_code, world.paper_body()) == (200, "MINE" if has_trigger else "mine")
    assert answer.headers["ETag"] == world.paper_etag() != etag
    hold = ["UPDATE", "SELECT"] if name == "sqlite" else ["SELECT"]
    assert sent == ["SELECT", *hold, "UPDATE", "SELECT", *(["SELECT"] if has_trigger else [])]


def test_a_connection_that_commits_by_itself_cannot_lock(world_on: Callable[[str], str]) -> None:
    for kind in ("postgresql", "mariadb"):
        world = World(world_on(kind), isolation_level="AUTOCOMMIT")
        with pytest.raises(RuntimeError, match="commits by itself"):
            world.put_paper("second", if_match=world.paper_etag())
        assert world.paper_body() == "first"
        world.close()


def test_of_a_crowd_that_reads_and_writes_no_accepted_update_is_lost(world: World) -> None:
    """Six clients append to one paper, each by GET and then PUT with If-Match, until five are accepted each."""
    statuses: list[int] = []

    def append_until_accepted() -> Any:
        accepted = 0
        while accepted < 5:
            seen = world.get_paper()
            assert seen.json is not None
            answer = world.put_paper(seen.json["body"] + "x", if_match=seen.headers["ETag"])
            statuses.append(answer.status_code)
            accepted += answer.status_code == 200

    racers = [Racer(append_until_accepted) for _ in range(6)]
    for racer in racers:
        racer.join(60)
        assert not racer.is_alive()
    assert statuses.count(200) == 30
    assert set(statuses) <= {200, 412}
    assert world.paper_body() == "first" + "x" * 30
