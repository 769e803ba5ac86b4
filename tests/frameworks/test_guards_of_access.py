"""Libraries that decide who may ask, or what every answer carries: above Flask-ETag's decorators, and below."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from flask_cors import cross_origin
from flask_httpauth import HTTPBasicAuth  # type: ignore[import-untyped]
from flask_jwt_extended import JWTManager, jwt_required
from flask_limiter import Limiter
from flask_login import LoginManager, login_required  # type: ignore[import-untyped]
from flask_principal import Permission, Principal, RoleNeed
from flask_talisman import Talisman

from flask_etag import ETag, etag_resource, require_if_match, resource

note = {"version": "1", "body": "first"}


@resource(etag=lambda found: found["version"], lock=lambda **_: nullcontext())
def find_note(note_id: int) -> dict[str, str] | None:
    return note if note_id == 1 else None


def flask_login(app: Flask) -> Any:
    LoginManager(app).user_loader(lambda _: None)
    return login_required


def flask_httpauth(app: Flask) -> Any:
    return HTTPBasicAuth().login_required


def flask_jwt_extended(app: Flask) -> Any:
    JWTManager(app)
    return jwt_required()


def flask_principal(app: Flask) -> Any:
    Principal(app)
    return Permission(RoleNeed("editor")).require(403)


def flask_limiter(app: Flask) -> Any:
    return Limiter(lambda: "everybody", app=app, storage_uri="memory://").limit("0 per hour")


def flask_cors(app: Flask) -> Any:
    return cross_origin(expose_headers=["ETag"])


LIBRARIES = [flask_login, flask_httpauth, flask_jwt_extended, flask_principal, flask_limiter, flask_cors]
every_library = pytest.mark.parametrize("library", LIBRARIES)


def board(library: Callable[[Flask], Any], *, above: bool) -> Flask:
    app = Flask("board")
    app.config.update(SECRET_KEY="secret" * 8, JWT_SECRET_KEY="secret" * 8)
    ETag(app)
    decorates = library(app)
    for method, ours in ("GET", etag_resource(find_note)), ("PUT", require_if_match(find_note)):

        def view(found: dict[str, str]) -> dict[str, str]:
            return found

        decorated = decorates(ours(view)) if above else ours(decorates(view))
        app.add_url_rule("/notes/<int:note_id>", method, decorated, methods=[method])
    return app


def answers(client: FlaskClient) -> list[Any]:
    """Return the answers for which a view does not run: 304, 412, 428 and 404."""
    return [
        client.get("/notes/1", headers={"If-None-Match": '"1"', "Origin": "https://elsewhere.example"}),
        client.put("/notes/1", headers={"If-Match": '"0"', "Origin": "https://elsewhere.example"}),
        client.put("/notes/1", headers={"Origin": "https://elsewhere.example"}),
        client.get("/notes/7", headers={"Origin": "https://elsewhere.example"}),
    ]


@every_library
def test_one_below_is_named_by_the_log_and_by_the_audit(
    library: Callable[[Flask], Any], caplog: pytest.LogCaptureFixture
) -> None:
    app = board(library, above=False)
    assert [each.status_code for each in answers(app.test_client())] == [304, 412, 428, 404]  # to strangers
    named = [
        message for message in caplog.messages if f"a decorator of {library.__name__} stands below" in message
    ]
    assert [message.partition(":")[0] for message in named] == ["GET", "PUT"]
    checked = app.test_cli_runner().invoke(args=["etag", "routes", "--check"])
    assert checked.exit_code == 1
    assert all(message in checked.stderr for message in named)


@every_library
def test_one_above_is_asked_first(library: Callable[[Flask], Any], caplog: pytest.LogCaptureFixture) -> None:
    app = board(library, above=True)
    given = answers(app.test_client())
    if library is flask_cors:
        assert given[0].status_code == 304
        assert given[0].headers["Access-Control-Expose-Headers"] == "ETag"
    else:
        assert {each.status_code for each in given} <= {401, 403, 429}
    assert not [message for message in caplog.messages if "stands below" in message]
    assert app.test_cli_runner().invoke(args=["etag", "routes", "--check"]).exit_code == 0


@pytest.mark.parametrize("above", [True, False])
def test_what_talisman_says_of_a_view_is_on_every_answer_wherever_it_stands(
    above: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Its decorator only marks the view, and wraps nothing; its hooks do the work for every answer."""
    app = board(lambda app: Talisman(app, force_https=False)(frame_options="DENY"), above=above)
    for answer in answers(app.test_client()):
        assert answer.headers["X-Frame-Options"] == "DENY"
    assert not [message for message in caplog.messages if "stands below" in message]
    app = board(lambda app: Talisman(app, force_https=False)(force_https=True), above=above)
    assert {answer.status_code for answer in answers(app.test_client())} == {302}
