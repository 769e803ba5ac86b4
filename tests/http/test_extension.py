"""``ETag``, and what an application configures."""

from __future__ import annotations

import logging
from contextlib import nullcontext
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from flask_etag import ETag, content_hash, etag_resource, require_if_match, resource


@resource(etag=lambda _: "v1")
def find_page() -> str:
    return "page"


@resource(etag=lambda page: page)
def find_other() -> str:
    return "v2"


@resource(etag=lambda _: "v1", variant=lambda _: "de")
def find_german_page() -> str:
    return "Seite"


def configured(**config: Any) -> Flask:
    pages = Flask("pages")
    pages.testing = True
    pages.config.update(config)
    ETag(pages)
    pages.get("/", endpoint="read")(etag_resource(find_page)(lambda page: page))
    pages.put("/", endpoint="replace")(require_if_match(find_page)(lambda page: page))
    return pages


def test_one_extension_serves_several_applications() -> None:
    etag = ETag()
    for name in ("one", "two"):
        etag.init_app(Flask(name))


def test_an_application_is_initialised_once() -> None:
    twice = Flask("twice")
    ETag(twice)
    with pytest.raises(RuntimeError, match="initialised for this application already"):
        ETag(twice)


def test_what_is_no_application_is_refused() -> None:
    with pytest.raises(TypeError, match=r"An entity tag is EntityTag\(\.\.\.\)"):
        ETag("abc")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("ETAG_REQUIRE", "enforced"),
        ("ETAG_REQUIRE", "off"),
        ("ETAG_REQUIRE", True),
        ("ETAG_REQUIRE", None),
        ("ETAG_REQUIRE", []),
        ("ETAG_CACHE_CONTROL", 60),
        ("ETAG_CACHE_CONTROL", "private\r\nX-Evil: 1"),
        ("ETAG_KEY", ""),
        ("ETAG_KEY_FALLBACKS", "one"),
        ("ETAG_KEY_FALLBACKS", ["one", ""]),
        ("ETAG_KEY", b""),
        ("ETAG_KEY", 1.5),
        ("ETAG_KEY", True),
        ("ETAG_EPOCH", 1.10),
        ("ETAG_EPOCH", None),
        ("ETAG_EPOCH", True),
        ("ETAG_ACCEPT_WEAKENED", "true"),
        ("ETAG_ACCEPT_WEAKENED", 1),
        ("ETAG_ACCEPT_WEAKENED", None),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_by_name(key: str, value: object) -> None:
    with pytest.raises(ValueError, match=key):
        configured(**{key: value})


def test_a_secret_is_in_no_message() -> None:
    with pytest.raises(ValueError, match="ETAG_KEY") as refused:
        configured(ETAG_KEY=["hunter2"])
    assert "hunter2" not in str(refused.value)


def test_from_the_environment_digits_mean_their_text(monkeypatch: pytest.MonkeyPatch) -> None:
    tags = []
    monkeypatch.setenv("FLASK_ETAG_EPOCH", "2")
    monkeypatch.setenv("FLASK_ETAG_KEY", "12345")
    for config in ({}, {"ETAG_EPOCH": "2", "ETAG_KEY": "12345"}):
        pages = Flask("pages")
        pages.config.from_prefixed_env()
        pages.config.update(config)
        ETag(pages)
        with pages.test_request_context():
            tags.append(find_page.etag_of("page"))
    assert tags[0] == tags[1]


def test_cache_control_is_set_on_what_is_tagged_and_left_alone_on_demand() -> None:
    for value, expected in ((None, None), ("public", "public")):
        client = configured(ETAG_CACHE_CONTROL=value).test_client()
        for fields in ({}, {"If-None-Match": '"v1"'}):
            assert client.get("/", headers=fields).headers.get("Cache-Control") == expected


def test_require_report_logs_and_lets_pass(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "flask_etag")
    client = configured(ETAG_REQUIRE="report").test_client()
    assert client.put("/").status_code == 200
    assert client.put("/", headers={"If-Match": '"v0"'}).status_code == 412
    assert [message for message in caplog.messages if "judged" not in message] == [
        "missing, let pass: PUT replace",
        "stale: PUT replace",
    ]


def tags_of(find: Any, target: str, **config: Any) -> str:
    pages = Flask("pages")
    pages.config.update(config)
    ETag(pages)
    with pages.test_request_context():
        return str(find.etag_of(target)).strip('"')


def test_a_key_makes_other_tags_of_the_same_states() -> None:
    plain, keyed, rekeyed = (tags_of(find_german_page, "Seite", ETAG_KEY=key) for key in (None, "one", b"two"))
    for half in (0, 2):
        assert len({tag.partition(".")[half] for tag in (plain, keyed, rekeyed)}) == 3
    assert tags_of(find_german_page, "Seite", ETAG_KEY=b"one") == keyed


def test_tags_of_a_former_key_are_good_for_a_save_and_no_longer_given() -> None:
    notes = {"one": "first"}

    @resource(etag=content_hash(lambda name: notes[name]), lock=lambda **_: nullcontext())
    def find_note(name: str) -> str | None:
        return name if name in notes else None

    def served(**config: Any) -> FlaskClient:
        app = Flask("former")
        app.config.update(config)
        ETag(app)
        app.get("/<name>")(etag_resource(find_note)(lambda name: notes[name]))

        @app.put("/<name>")
        @require_if_match(find_note)
        def put(name: str) -> str:
            notes[name] += "!"
            return ""

        return app.test_client()

    plain, old = served(), served(ETAG_KEY="old")
    new = served(ETAG_KEY="new", ETAG_KEY_FALLBACKS=["old", None])
    strict = served(ETAG_KEY="new")
    for former in (old, plain):
        tag = former.get("/one").headers["ETag"]
        current = new.get("/one", headers={"If-None-Match": tag})
        assert (current.status_code, current.headers["ETag"] != tag) == (200, True)
        assert strict.put("/one", headers={"If-Match": tag}).status_code == 412
        saved = new.put("/one", headers={"If-Match": tag})
        assert (saved.status_code, saved.headers["ETag"]) == (200, strict.get("/one").headers["ETag"])
        assert new.put("/one", headers={"If-Match": tag}).status_code == 412


def test_an_epoch_changes_the_second_half_alone() -> None:
    one, two = (tags_of(find_german_page, "Seite", ETAG_EPOCH=epoch) for epoch in ("1", "2"))
    assert one.partition(".")[0] == two.partition(".")[0]
    assert one.partition(".")[2] != two.partition(".")[2]
    assert [len(half) for half in one.split(".")] == [32, 32]
    assert tags_of(find_page, "page") == "v1"
    assert tags_of(find_page, "page", ETAG_EPOCH="1").partition(".")[0] == one.partition(".")[0]


def test_tags_are_asked_for_within_an_application_that_is_initialised() -> None:
    with pytest.raises(RuntimeError, match="application context"):
        find_page.etag_of("page")
    with Flask("bare").app_context(), pytest.raises(RuntimeError, match=r"call ETag\(app\)"):
        find_page.etag_of("page")
