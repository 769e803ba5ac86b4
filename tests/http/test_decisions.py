"""What is told of each request: by the signal, in the log, on the exception, and in debug mode on the answer."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
from flask import Flask, Response, abort, request
from flask.testing import FlaskClient
from flask.views import MethodView

from flask_etag import (
    ConditionalRequestError,
    Decision,
    EntityTag,
    ETag,
    PreconditionFailed,
    PreconditionRequired,
    decided,
    etag_resource,
    require_if_match,
    resource,
)


@resource(etag=lambda page: page["version"], lock=lambda **_: nullcontext())
def find_page(name: str) -> dict[str, str] | None:
    if name == "secret":
        abort(403)
    return {"version": "v1"} if name == "home" else None


def served(**config: Any) -> Flask:
    app = Flask("served")
    app.config.update(config)
    ETag(app)

    @app.get("/pages/<name>")
    @etag_resource(find_page)
    def read_page(page: dict[str, str]) -> Any:
        return "" if request.args.get("as") is None else ("", int(request.args["as"]))

    @app.put("/pages/<name>")
    @require_if_match(find_page)
    def write_page(page: dict[str, str]) -> Any:
        if "error" in request.args:
            raise ZeroDivisionError
        return "", int(request.args.get("as", 200))

    @app.route("/report", methods=["GET", "OPTIONS"])
    @etag_resource
    def report() -> str:
        return "report"

    return app


@contextmanager
def listening(app: Flask) -> Iterator[list[Decision]]:
    """Collect what the signal says of an application."""
    told: list[Decision] = []

    def listen(sender: Flask, decision: Decision) -> None:
        assert sender is app
        told.append(decision)

    with decided.connected_to(listen, app):
        yield told


@pytest.mark.parametrize(
    ("method", "path", "fields", "decision"),
    [
        ("GET", "/pages/home", {}, Decision("served", etag='"v1"', resource="find_page")),
        (
            "GET",
            "/pages/home",
            {"If-None-Match": '"v0"'},
            Decision("served", etag='"v1"', sent='"v0"', resource="find_page"),
        ),
        (
            "HEAD",
            "/pages/home",
            {"If-None-Match": '"v1"', "If-Unmodified-Since": "no date"},
            Decision("unchanged", etag='"v1"', sent='"v1"', resource="find_page"),
        ),
        (
            "PUT",
            "/pages/home",
            {"If-Match": '"v1"'},
            Decision("accepted", etag='"v1"', sent='"v1"', resource="find_page"),
        ),
        (
            "PUT",
            "/pages/home",
            {"If-Match": '"v0"'},
            Decision("refused", "stale", etag='"v1"', sent='"v0"', resource="find_page"),
        ),
        (
            "PUT",
            "/pages/home",
            {"If-Match": '"v1"', "If-None-Match": "*"},
            Decision("refused", "exists", etag='"v1"', sent="*", resource="find_page"),
        ),
        ("PUT", "/pages/home", {}, Decision("refused", "missing", resource="find_page")),
        ("GET", "/pages/home?as=404", {}, Decision("passed", resource="find_page")),
        ("GET", "/pages/secret", {}, Decision("passed", resource="find_page")),
        ("PUT", "/pages/nowhere", {}, Decision("passed", resource="find_page")),
        (
            "PUT",
            "/pages/home?as=422",
            {"If-Match": '"v1"'},
            Decision("passed", sent='"v1"', resource="find_page"),
        ),
        (
            "PUT",
            "/pages/home?error",
            {"If-Match": '"v1"'},
            Decision("passed", sent='"v1"', resource="find_page"),
        ),
    ],
)
def test_each_request_is_one_decision(method: str, path: str, fields: dict[str, str], decision: Decision) -> None:
    app = served()
    with listening(app) as told:
        app.test_client().open(path, method=method, headers=fields)
    assert told == [decision]


def test_a_view_without_a_resource_has_decisions_without_a_name() -> None:
    app = served()
    client = app.test_client()
    with listening(app) as told:
        etag = client.get("/report").headers["ETag"]
        assert client.get("/report", headers={"If-None-Match": etag}).status_code == 304
        assert client.get("/report", headers={"If-Match": '"other"'}).status_code == 412
    assert told == [
        Decision("served", etag=etag),
        Decision("unchanged", etag=etag, sent=etag),
        Decision("refused", "stale", etag=etag, sent='"other"'),
    ]


def test_nothing_is_decided_of_a_request_that_ignores_conditions() -> None:
    app = served()
    with listening(app) as told:
        assert app.test_client().options("/report").status_code == 200
    assert told == []


@pytest.mark.parametrize("path", ["/pages/home", "/pages/home?as=422", "/pages/home?error"])
def test_what_is_let_pass_is_reported_whatever_the_view_answers(
    path: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "flask_etag")
    app = served(ETAG_REQUIRE="report")
    with listening(app) as told:
        app.test_client().put(path)
    [decision] = told
    assert (decision.outcome, decision.reason, decision.sent) == ("reported", "missing", None)
    [record] = [record for record in caplog.records if record.name == "flask_etag"]
    assert record.getMessage() == "missing, let pass: PUT write_page"


def test_one_view_alone_may_report(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "flask_etag")
    app = served()

    @app.patch("/pages/<name>")
    @require_if_match(find_page, enforce=False)
    def change_page(page: dict[str, str]) -> str:
        return page["version"]

    client = app.test_client()
    with listening(app) as told:
        assert client.patch("/pages/home").headers["ETag"] == '"v1"'
        assert client.patch("/pages/home", headers={"If-Match": '"v0"'}).status_code == 412
        assert client.put("/pages/home").status_code == 428
    assert [decision.outcome for decision in told] == ["reported", "refused", "refused"]
    assert caplog.messages[0] == "missing, let pass: PATCH change_page"


def test_a_receiver_that_fails_is_logged_and_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    app = served()

    def fail(sender: Flask, decision: Decision) -> None:
        abort(503)

    with decided.connected_to(fail, app), listening(app) as told:
        assert app.test_client().get("/pages/home").status_code == 200
        assert app.test_client().put("/pages/home").status_code == 428
    assert [decision.outcome for decision in told] == ["served", "refused"]
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]
    assert "A receiver of flask_etag.decided has failed" in caplog.text


def test_a_receiver_may_be_async() -> None:
    app = served()
    told = []

    async def listen(sender: Flask, decision: Decision) -> None:
        told.append(decision.outcome)

    with decided.connected_to(listen, app):
        app.test_client().get("/pages/home")
    assert told == ["served"]


def test_nothing_is_made_where_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    app = served()

    def made(*_: object, **__: object) -> Decision:
        raise AssertionError("made for nobody")

    monkeypatch.setattr("flask_etag.decisions.Decision", made)
    client = app.test_client()
    assert client.get("/pages/home").status_code == 200
    assert client.put("/pages/home", headers={"If-Match": '"v1"'}).status_code == 200
    assert client.put("/pages/home").status_code == 428
    with listening(Flask("another")) as told:
        assert client.get("/pages/nowhere").status_code == 404
    assert told == []
    reporting = served(ETAG_REQUIRE="report").test_client()
    assert reporting.put("/pages/home").status_code == 200


def test_the_log_s_attributes_are_the_decision(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "flask_etag")
    client = served().test_client()
    client.put("/pages/home", headers={"If-Match": '"v0"'})
    client.put("/pages/home", headers={"If-Match": '"v1"'})
    client.get("/pages/home")
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("INFO", "stale: PUT write_page"),
        ("DEBUG", "accepted: PUT write_page"),
    ]
    attributes = [
        {name: value for name, value in vars(record).items() if name.startswith("etag_")}
        for record in caplog.records
    ]
    common = {"etag_raced": False, "etag_current": '"v1"', "etag_resource": "find_page"}
    assert attributes == [
        {**common, "etag_outcome": "refused", "etag_reason": "stale", "etag_sent": '"v0"'},
        {**common, "etag_outcome": "accepted", "etag_reason": None, "etag_sent": '"v1"'},
    ]


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        ('"' + "x" * 300 + '"', '"' + "x" * 199),
        ('"a\x1b[31m\xe9"', '"a\\x1b[31m\\xe9"'),
        ("\xe9" * 300, "\\xe9" * 50),
        ('"back\\slash"', '"back\\slash"'),
    ],
)
def test_a_stranger_s_text_is_cut_and_escaped(sent: str, told: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "flask_etag")
    app = served()
    raw = []

    @app.errorhandler(412)
    def keep(error: ConditionalRequestError) -> Any:
        raw.append(error.sent)
        return error

    with listening(app) as decisions:
        app.test_client().put("/pages/home", environ_overrides={"HTTP_IF_MATCH": sent})
    assert [decision.sent for decision in decisions] == [told]
    assert raw == [sent]
    [record] = caplog.records
    assert vars(record)["etag_sent"] == told


def test_an_exception_tells_which_request_it_is_of() -> None:
    app = served()
    seen: list[ConditionalRequestError] = []

    @app.errorhandler(ConditionalRequestError)
    def keep(error: ConditionalRequestError) -> Response:
        seen.append(error)
        return error.get_response()  # type: ignore[return-value]

    client = app.test_client()
    client.put("/pages/home", headers={"If-Match": '"v0"'})
    client.put("/pages/home")
    failed, required = seen
    assert isinstance(failed, PreconditionFailed)
    assert (failed.resource, failed.sent, failed.raced) == ("find_page", '"v0"', False)
    assert failed.etag == EntityTag("v1")
    assert isinstance(required, PreconditionRequired)
    assert (required.resource, required.sent, required.raced) == ("find_page", None, False)


def test_a_view_that_calls_another_has_its_refusal_told_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "flask_etag")
    app = served()

    @app.put("/outer/<name>")
    @etag_resource(find_page)
    def outer(page: dict[str, str], name: str) -> Any:
        return app.view_functions["write_page"](name=name)

    with listening(app) as told:
        assert app.test_client().put("/outer/home").status_code == 428
    assert [(decision.outcome, decision.reason) for decision in told] == [("refused", "missing")]
    assert caplog.messages == ["missing: PUT outer"]


@pytest.fixture
def debugged() -> FlaskClient:
    return served(DEBUG=True).test_client()


@pytest.mark.parametrize(
    ("method", "path", "fields", "shown"),
    [
        ("GET", "/pages/home", {}, 'served; unconditional; by="<lambda>"'),
        ("GET", "/pages/home", {"If-None-Match": '"v0"'}, 'served; changed; by="<lambda>"'),
        ("GET", "/pages/home", {"If-None-Match": '"v1"'}, 'unchanged; by="<lambda>"'),
        ("PUT", "/pages/home", {"If-Match": '"v0"'}, 'refused; reason=stale; by="<lambda>"'),
        ("PUT", "/pages/home", {}, 'refused; reason=missing; by="<lambda>"'),
        ("GET", "/pages/nowhere", {}, 'passed; by="<lambda>"'),
        ("GET", "/report", {}, "served; unconditional; by=body"),
    ],
)
def test_in_debug_mode_an_answer_says_why(
    debugged: FlaskClient, method: str, path: str, fields: dict[str, str], shown: str
) -> None:
    answer = debugged.open(path, method=method, headers=fields)
    assert answer.headers.getlist("ETag-Decision") == [shown]


def test_in_debug_mode_the_answer_of_an_own_handler_says_why_too() -> None:
    app = served(DEBUG=True)
    app.errorhandler(428)(lambda _: ("own", 428))
    answer = app.test_client().put("/pages/home")
    assert (answer.text, answer.headers["ETag-Decision"]) == ("own", 'refused; reason=missing; by="<lambda>"')


def test_out_of_debug_mode_no_answer_says_why() -> None:
    assert "ETag-Decision" not in served(TESTING=True).test_client().get("/pages/home").headers


class Represented(MethodView):
    """What Flask-RESTful does: the class makes the response."""

    def dispatch_request(self, **kwargs: Any) -> Any:
        answer: Any = super().dispatch_request(**kwargs)
        return Response(answer[0], answer[1]) if isinstance(answer, tuple) else answer


def test_where_a_framework_makes_the_response_each_request_is_one_decision_too() -> None:
    app = served(DEBUG=True)

    class ReportView(Represented):
        @etag_resource
        def get(self) -> tuple[str, int]:
            return "report", 200

        @require_if_match(find_page)
        def put(self, page: dict[str, str]) -> tuple[str, int]:
            return page["version"], 200

    app.add_url_rule("/made", view_func=ReportView.as_view("made"), defaults={})
    app.add_url_rule("/made/<name>", view_func=ReportView.as_view("made_too"))
    client = app.test_client()
    with listening(app) as told:
        etag = client.get("/made").headers["ETag"]
        unchanged = client.get("/made", headers={"If-None-Match": etag})
        refused = client.get("/made", headers={"If-Match": '"other"'})
        client.put("/made/home", headers={"If-Match": '"v1"'})
    assert told == [
        Decision("served", etag=etag),
        Decision("unchanged", etag=etag, sent=etag),
        Decision("refused", "stale", etag=etag, sent='"other"'),
        Decision("accepted", etag='"v1"', sent='"v1"', resource="find_page"),
    ]
    assert unchanged.headers["ETag-Decision"] == "unchanged; by=body"
    assert refused.headers["ETag-Decision"] == "refused; reason=stale; by=body"
