"""The audit trail's recipe, on each kind of database; ``make test-stores``, where SQLAlchemy-Continuum is."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import insert, select
from sqlalchemy.orm import configure_mappers

from flask_etag.decisions import decided
from tests.audit_trail import history
from tests.world.bodies import odd, wrong
from tests.world.bodies import put as put_body
from tests.world.racing import Racer


@pytest.fixture
def app(empty_url: str) -> Iterator[Flask]:
    configure_mappers()
    app = history.create_app(empty_url)
    app.testing = True
    with app.app_context():
        history.Base.metadata.create_all(history.db.engine)
    yield app
    decided.disconnect(history.keep_edge, app)
    with app.app_context():
        history.db.session.rollback()
        history.Base.metadata.drop_all(history.db.engine)
        history.db.engine.dispose()


def put(client: FlaskClient, user: str, condition: dict[str, str], **members: str) -> Any:
    return client.put("/notes/1", json=members, headers={"User": user, **condition})


@pytest.fixture
def saved(app: Flask) -> tuple[FlaskClient, list[str]]:
    """A note that three have written, and the tags of its states."""
    client = app.test_client()
    answer = put(client, "ann", {"If-None-Match": "*"}, title="a", body="first")
    tags = [answer.headers["ETag"]]
    for user, members in (("bob", {"body": "second"}), ("eve", {"title": "b"})):
        answer = put(client, user, {"If-Match": tags[-1]}, **members)
        assert answer.status_code == 200
        tags.append(answer.headers["ETag"])
    return client, tags


def test_the_history_has_the_tag_that_each_state_had_and_who_has_made_it(
    saved: tuple[FlaskClient, list[str]],
) -> None:
    client, tags = saved
    assert put(client, "late", {"If-Match": tags[0]}, body="lost").status_code == 412
    told = client.get("/notes/1/history").get_json()
    assert [state["etag"] for state in told] == tags
    assert [state["by"] for state in told] == ["ann", "bob", "eve"]
    assert [(state["title"], state["body"]) for state in told] == [
        ("a", "first"),
        ("a", "second"),
        ("b", "second"),
    ]
    assert {state["request"] for state in told} == {"PUT /notes/1"}
    assert client.get("/notes/1").headers["ETag"] == tags[-1]


def test_each_state_can_be_read_by_its_tag(saved: tuple[FlaskClient, list[str]]) -> None:
    client, tags = saved
    shown = [client.get("/notes/1/as-of", query_string={"etag": tag}).get_json()["body"] for tag in tags]
    assert shown == ["first", "second", "second"]
    assert client.get("/notes/1/as-of", query_string={"etag": '"other"'}).status_code == 404


def test_who_is_refused_is_told_what_has_changed_and_merges(saved: tuple[FlaskClient, list[str]]) -> None:
    client, tags = saved
    mine = {"title": "a", "body": "mine"}
    assert put(client, "late", {"If-Match": tags[1]}, **mine).status_code == 412
    told = client.get("/notes/1/changes", query_string={"since": tags[1]}).get_json()
    assert told["etag"] == tags[2]
    assert told["base"] == {"title": "a", "body": "second"}
    assert told["changed"] == ["title"]
    assert [(each["user"], each["request"]) for each in told["by"]] == [("eve", "PUT /notes/1")]
    merged = {**told["theirs"], **{name: mine[name] for name in mine if mine[name] != told["base"][name]}}
    assert put(client, "late", {"If-Match": told["etag"]}, **merged).get_json() == {"title": "b", "body": "mine"}
    assert client.get("/notes/1/changes", query_string={"since": '"other"'}).status_code == 404


def test_a_new_key_and_a_new_epoch_lose_nobody_s_name(
    app: Flask, saved: tuple[FlaskClient, list[str]], empty_url: str
) -> None:
    """What a client kept under the key of before is found, as long as a save by it is."""
    _, tags = saved
    for config in ({"ETAG_KEY": "new", "ETAG_KEY_FALLBACKS": [None]}, {"ETAG_EPOCH": "2"}):
        now = history.create_app(empty_url, **config)
        client = now.test_client()
        told = client.get("/notes/1/history").get_json()
        assert [state["by"] for state in told][:3] == ["ann", "bob", "eve"]
        changes = client.get("/notes/1/changes", query_string={"since": tags[0]}).get_json()
        assert (changes["base"], changes["changed"]) == ({"title": "a", "body": "first"}, ["title", "body"])
        assert [each["user"] for each in changes["by"]][:2] == ["bob", "eve"]
        current = client.get("/notes/1").headers["ETag"]
        assert client.get("/notes/1/as-of", query_string={"etag": current}).get_json() == changes["theirs"]
        assert put(client, "zoe", {"If-Match": current}, title="b", body="second").headers["ETag"] == current
        assert client.get("/notes/1/history").get_json()[-1]["by"] == told[-1]["by"]  # nothing was changed
        saved_again = put(client, f"ian {config}", {"If-Match": current}, title="c")
        assert client.get("/notes/1/history").get_json()[-1]["by"] == f"ian {config}"
        reset = put(client, "eve", {"If-Match": saved_again.headers["ETag"]}, title="b")
        assert reset.status_code == 200
        decided.disconnect(history.keep_edge, now)
        with now.app_context():
            history.db.engine.dispose()
    lost = history.create_app(empty_url, ETAG_KEY="new")
    assert lost.test_client().get("/notes/1/changes", query_string={"since": tags[0]}).status_code == 404
    decided.disconnect(history.keep_edge, lost)
    with lost.app_context():
        history.db.engine.dispose()


def test_the_edge_names_both_states_however_long_the_field_is(
    app: Flask, saved: tuple[FlaskClient, list[str]]
) -> None:
    client, tags = saved
    many = ", ".join([*(f'"{"x" * 60}{n}"' for n in range(9)), tags[-1]])
    assert put(client, "zoe", {"If-Match": many}, body="third").status_code == 200
    with app.app_context():
        versions = [state.version for state in history.states_of(1)]
        edges = history.edges_to(history.states_of(1))
        assert [(edge.before, edge.version) for edge in edges.values()] == [
            (None, versions[0]),
            *pairwise(versions),
        ]


def test_of_many_at_once_those_that_are_accepted_are_the_history(app: Flask) -> None:
    """What was refused has left no state, and no edge."""
    tag = put(app.test_client(), "ann", {"If-None-Match": "*"}, body="first").headers["ETag"]
    racers = [
        Racer(lambda user=user: put(app.test_client(), user, {"If-Match": tag}, body=user))  # type: ignore[misc]
        for user in "bcdef"
    ]
    answers = [racer.answer() for racer in racers]
    assert sorted(answer.status_code for answer in answers).count(200) == 1
    assert {answer.status_code for answer in answers} <= {200, 409, 412}
    first, second = app.test_client().get("/notes/1/history").get_json()
    assert first["etag"] == tag
    [won] = [answer for answer in answers if answer.status_code == 200]
    assert (second["etag"], second["by"]) == (won.headers["ETag"], second["body"])
    with app.app_context():
        assert len(history.db.session.scalars(select(history.Edge)).all()) == 2


def test_a_state_that_is_older_than_the_history_is_no_state_that_the_next_was_made_of(app: Flask) -> None:
    with app.app_context():
        history.db.session.execute(insert(history.Note).values(id=1, title="imported", version="imported"))
        history.db.session.commit()
    client = app.test_client()
    tag = client.get("/notes/1").headers["ETag"]
    assert put(client, "ann", {"If-Match": tag}, body="new", id="7", version="by hand").status_code == 200
    with app.app_context():
        (edge,) = history.db.session.scalars(select(history.Edge))
    assert (edge.before, edge.user) == (None, "ann")
    assert [state["by"] for state in client.get("/notes/1/history").get_json()] == ["ann"]
    assert edge.version != "by hand"


def test_what_was_deleted_has_no_changes(app: Flask, saved: tuple[FlaskClient, list[str]]) -> None:
    client, tags = saved
    with app.app_context():
        history.db.session.delete(history.db.session.get_one(history.Note, 1))
        history.db.session.commit()
    assert client.get("/notes/1/changes", query_string={"since": tags[0]}).status_code == 410


def test_what_is_no_note_is_refused_and_leaves_no_history(app: Flask) -> None:
    client = app.test_client()
    put(client, "ann", {"If-None-Match": "*"}, body="first")
    app.testing = False
    for name, body in {**wrong("body"), **odd("body")}.items():
        before = client.get("/notes/1/history").data
        status = put_body(client, "/notes/1", body)
        assert status != 500 or name in odd("body"), name
        assert status < 300 or client.get("/notes/1/history").data == before
