"""Several databases behind one session: a bind for each model, and shards of one model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, request
from flask.testing import FlaskClient
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Engine, MetaData, String, create_engine, select, update
from sqlalchemy.ext.horizontal_shard import ShardedSession
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, scoped_session, sessionmaker

from flask_etag import ETag, content_hash, etag_resource, require_if_match, resource
from flask_etag.sqlalchemy import Versioned
from tests.world.racing import in_thread


class Base(DeclarativeBase):
    pass


class There(DeclarativeBase):
    """What is in a database of its own; Flask-SQLAlchemy looks for its key there."""

    metadata = MetaData(info={"bind_key": "there"})


class Written:
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    text: Mapped[str] = mapped_column(String(80), default="first")


class Checked(Written, Versioned, There):
    __tablename__ = "checked_there"
    __unversioned__ = {"visits"}  # noqa: RUF012

    visits: Mapped[int] = mapped_column(default=0)


class Plain(Written, There):
    __tablename__ = "plain_there"

    visits: Mapped[int] = mapped_column(default=0)


class Entry(Base):
    __tablename__ = "entry_here"

    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str] = mapped_column(String(80))


@pytest.fixture(params=[Checked, Plain])
def model(request: pytest.FixtureRequest) -> Any:
    return request.param


def served(app: Flask, model: Any, session: Callable[[], Session], write_elsewhere: Callable[[int], None]) -> None:
    """Serve the rows of a model; in its view another may be first, where rows are not held."""
    app.testing = True
    ETag(app)

    @resource(etag=content_hash(lambda each: each.text) if model is Plain else None)
    def find(number: int) -> object:
        return session().get(model, number)

    app.get("/<int:number>")(etag_resource(find)(lambda found: found.text))

    def write(target: object, number: int) -> tuple[str, int]:
        found: Any = target
        if request.method == "DELETE":
            session().delete(found)
        elif request.data == b"in bulk":
            session().execute(update(model).where(model.id == number).values(text="in bulk"))
        else:
            if found is None:
                found = model(id=number)
                session().add(found)
            if request.data == b"overtaken":
                if model is Plain:
                    session().rollback()  # or the other would wait
                in_thread(lambda: write_elsewhere(number))
            found.text = request.get_data(as_text=True)
        if app.name == "binds":
            session().add(Entry(text="beside"))
        session().commit()
        return "", 204 if request.method == "DELETE" else 200

    guarded = require_if_match(find, create=True)(write)
    app.add_url_rule("/<int:number>", "write", guarded, methods=["PUT", "DELETE"])

    def visit(target: object) -> str:
        found: Any = target
        found.visits += 1
        session().commit()
        return str(found.visits)

    app.get("/<int:number>/visit")(etag_resource(find)(visit))


def goes_well(client: FlaskClient, model: Any, number: int) -> None:
    path = f"/{number}"
    made = client.put(path, data="made", headers={"If-None-Match": "*"})
    assert (made.status_code, made.headers["ETag"]) == (200, client.get(path).headers["ETag"])
    assert client.put(path, data="again", headers={"If-None-Match": "*"}).status_code == 412
    for text in ("saved", "in bulk"):
        seen = client.get(path).headers["ETag"]
        saved = client.put(path, data=text, headers={"If-Match": seen})
        assert (saved.status_code, client.get(path).text) == (200, text)
        assert saved.headers["ETag"] == client.get(path).headers["ETag"] != seen
        assert client.put(path, data="stale", headers={"If-Match": seen}).status_code == 412
    visited = client.get(f"{path}/visit")
    assert (visited.text, visited.headers["ETag"]) == ("1", saved.headers["ETag"])
    assert client.put(path, data="any", headers={"If-Match": "*"}).status_code == 200
    tag = client.get(path).headers["ETag"]
    lost = client.put(path, data="overtaken", headers={"If-Match": tag})
    assert (lost.status_code, client.get(path).text) == (412, "theirs")
    assert lost.headers["ETag"] == client.get(path).headers["ETag"]
    assert client.delete(path, headers={"If-Match": tag}).status_code == 412
    assert client.delete(path, headers={"If-Match": lost.headers["ETag"]}).status_code == 204
    assert client.get(path).status_code == 404


def test_two_binds(empty_url: str, tmp_path: Path, model: Any) -> None:
    """What is refused in one database is written in neither."""
    app = Flask("binds")
    app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{tmp_path / 'here.db'}"
    app.config["SQLALCHEMY_BINDS"] = {"there": empty_url}
    db = SQLAlchemy(app, model_class=Base)

    def write_elsewhere(number: int) -> None:
        with app.app_context(), Session(db.engines["there"]) as rival:
            rival.get_one(model, number).text = "theirs"
            rival.commit()

    served(app, model, db.session, write_elsewhere)
    with app.app_context():
        Base.metadata.create_all(db.engine)
        There.metadata.create_all(db.engines["there"])
    goes_well(app.test_client(), model, 1)
    with app.app_context():
        assert len(db.session.scalars(select(Entry)).all()) == 5  # made, saved, in bulk, any, deleted
        db.session.remove()
        for engine in db.engines.values():
            engine.dispose()


# Shards: odd numbers in one database, even ones in the other. A bulk update goes to both.


def shard_of(number: int) -> str:
    return "odd" if number % 2 else "even"


@pytest.fixture
def shards(empty_database: Callable[[str], str], tmp_path: Path) -> Iterator[dict[str, Engine]]:
    engines = {
        "odd": create_engine(empty_database("postgresql")),
        "even": create_engine(f"sqlite:///{tmp_path / 'even.db'}"),
    }
    for engine in engines.values():
        There.metadata.create_all(engine)
    yield engines
    for engine in engines.values():
        engine.dispose()


def test_shards(shards: dict[str, Engine], model: Any) -> None:
    sessions = scoped_session(
        sessionmaker(
            class_=ShardedSession,
            shards=shards,
            shard_chooser=lambda _, instance, **__: shard_of(instance.id),
            identity_chooser=lambda _, key, **__: [shard_of(key[0])],
            execute_chooser=lambda _: list(shards),
        )
    )
    app = Flask("shards")
    app.teardown_appcontext(lambda _: sessions.remove())

    def write_elsewhere(number: int) -> None:
        with Session(shards[shard_of(number)]) as rival:
            rival.get_one(model, number).text = "theirs"
            rival.commit()

    served(app, model, sessions, write_elsewhere)
    for number in (1, 2):
        goes_well(app.test_client(), model, number)


def test_what_is_written_to_one_database_is_held_to_what_was_judged_in_another(tmp_path: Path) -> None:
    app = Flask("binds")
    app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{tmp_path / 'here.db'}"
    app.config["SQLALCHEMY_BINDS"] = {"there": f"sqlite:///{tmp_path / 'there.db'}"}
    db = SQLAlchemy(app, model_class=Base)
    served(app, Checked, db.session, lambda _: None)
    with app.app_context():
        db.create_all()
        There.metadata.create_all(db.engines["there"])
        Base.metadata.create_all(db.engine)
        db.session.add(Checked(id=1))
        db.session.commit()
        engine = db.engines["there"]

    @resource
    def find_order(number: int) -> Checked | None:
        return db.session.get(Checked, number)

    def cancel() -> None:
        with Session(engine) as session:
            session.get_one(Checked, 1).text = "cancelled"
            session.commit()

    def ship(_: Checked) -> str:
        in_thread(cancel)
        db.session.add(Entry(text="shipped"))
        db.session.commit()
        return "shipped"

    app.post("/<int:number>/ship")(require_if_match(find_order)(ship))
    client = app.test_client()
    assert client.post("/1/ship", headers={"If-Match": client.get("/1").headers["ETag"]}).status_code == 412
    with app.app_context():
        assert db.session.scalars(select(Entry)).all() == []
