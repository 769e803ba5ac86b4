"""What the recipes, the README and the examples make of an unexpected body: 400, and nothing is stored."""

from __future__ import annotations

import re
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from flask import Flask

from flask_etag import etag_resource
from tests import ROOT
from tests.sample_app import shop
from tests.world.bodies import check_bodies, odd, wrong

NEW = {"If-None-Match": "*"}


def test_the_recipe_for_dry_runs_refuses_what_is_no_note(dry: Flask) -> None:
    assert dry.test_client().put("/notes/1", json={"body": "first"}, headers=NEW).status_code == 201
    check_bodies(dry, "/notes/1", "body")


def test_the_recipe_for_creating_once_refuses_what_is_no_note(creating: Flask) -> None:
    creating.testing = False
    client = creating.test_client()

    def create(key: str, body: bytes) -> Any:
        return client.post("/notes", data=body, content_type="application/json", headers={"Idempotency-Key": key})

    statuses = {name: create(name, body).status_code for name, body in wrong("body").items()}
    assert set(statuses.values()) == {400}
    for name, body in odd("body").items():
        answer = create(name, body)
        if answer.status_code < 300:
            assert client.get(answer.location).data == answer.data
        else:
            assert create(name, b'{"body": "good"}').status_code == 201  # the key was not kept


@pytest.mark.parametrize(
    ("path", "url"),
    [
        ("../README", "/notes/1"),
        ("../examples/notes/app.py", "/notes/1"),
        ("../examples/dictionary/app.py", "/notes/first"),
    ],
)
def test_what_is_to_be_copied_refuses_what_is_no_note(
    page: Callable[[str], ModuleType], path: str, url: str
) -> None:
    check_bodies(page(path).app, url, "body")


def test_the_page_on_lost_answers_refuses_what_is_no_note(page: Callable[[str], ModuleType]) -> None:
    shown = page("lost-answers")
    with shown.app.app_context():
        shown.db.session.add(shown.Note(id=1, body="first"))
        shown.db.session.commit()
    check_bodies(shown.app, "/notes/1", "body")


def test_what_flask_cannot_tell_again_is_400_by_the_page_on_views(page: Callable[[str], ModuleType]) -> None:
    client = page("views").app.test_client()
    client.put("/notes/1", json={"body": "first"}, headers=NEW)

    def send(body: bytes) -> int:
        answer = client.put("/notes/1", data=body, content_type="application/json", headers={"If-Match": "*"})
        return int(answer.status_code)

    statuses = {name: send(body) for name, body in odd("body").items()}
    assert {name for name, status in statuses.items() if status != 400} == {"NUL", "UTF-16"}  # which SQLite keeps


def test_a_number_in_a_url_is_bounded_by_what_the_page_on_views_says(page: Callable[[str], ModuleType]) -> None:
    views = page("views")
    [converter] = re.findall(r"`<(int\(max=\d+\)):note_id>`", (ROOT / "docs" / "views.md").read_text("utf-8"))
    views.app.get(f"/bounded/<{converter}:note_id>")(
        etag_resource(views.find_note)(lambda note: {"body": note.body})
    )
    assert views.app.test_client().get(f"/bounded/{'9' * 30}").status_code == 404


def test_the_example_for_flask_smorest_refuses_what_is_no_note(page: Callable[[str], ModuleType]) -> None:
    example = page("../examples/smorest/app.py")
    with example.app.app_context():
        example.db.create_all()
    made = example.app.test_client().post("/notes/", json={"body": "first"})
    check_bodies(example.app, made.location, "body", refused=422)


def test_the_sample_app_refuses_what_is_no_product(empty_database: Callable[[str], str]) -> None:
    with shop.opened(empty_database("sqlite")) as client:
        assert client.put("/api/products/pot", json=shop.POT, headers=NEW).status_code == 201
        assert client.put("/api/documents/memo", json=shop.MEMO, headers=NEW).status_code == 201
        check_bodies(client.application, "/api/products/pot", "name", refused=422)
        check_bodies(client.application, "/api/documents/memo", "body", refused=422)
