"""What others take for the same, as their documentation shows it, each over its own view without ETags."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import django
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, JsonResponse
from django.urls import path
from django.views.decorators.http import condition
from flask import Flask, Response, jsonify, request
from flask_smorest import Api, Blueprint  # type: ignore[import-untyped]

from benchmarks.bodies import BARE
from benchmarks.cases import Application, Case, plain, reads, serving
from benchmarks.contents import Content
from benchmarks.measure import Promise

SMOREST, SMOREST_ETAG = "flask-smorest without ETags", "flask-smorest, blp.etag"
DJANGO = "Django without ETags"


def peers(content: Content) -> list[Case]:
    """Return the cases of one content; Werkzeug's are compared with the bare view."""
    body, django_body = content.body, content.body.rstrip()
    found, known = reads(SMOREST_ETAG, smorest(content, tagged=True), body, SMOREST)
    without_etags, with_condition = django_applications(content)
    return [
        *reads("Werkzeug, add_etag and make_conditional", werkzeug(content), body, BARE),
        plain(SMOREST, smorest(content, tagged=False), body),
        found,
        replace(known, is_tagged=False),  # its 304 leaves the ETag out
        plain(DJANGO, without_etags, django_body),
        *reads("Django, condition on a version", with_condition, django_body, DJANGO),
    ]


def a_third_of_smorest(ours: str) -> list[Promise]:
    """Promise that what we add is at most a third of what flask-smorest's ETags add."""

    def promise(status: int) -> Promise:
        us, them = f"{ours}, {status}", f"{SMOREST_ETAG}, {status}"
        return Promise(
            f"{us}: what it adds, to what flask-smorest's adds",
            1 / 3,
            lambda each: (each[us] - each[BARE]) / (each[them] - each[SMOREST]),
        )

    return [promise(200), promise(304)]


def werkzeug(content: Content) -> Application:
    def view(record_id: int) -> Response:
        response = jsonify(content.data)
        response.add_etag()
        return response.make_conditional(request)  # type: ignore[return-value]

    return serving(view)


def smorest(content: Content, *, tagged: bool) -> Application:
    app = Flask("benchmarks")
    app.config.update(API_TITLE="Records", API_VERSION="1", OPENAPI_VERSION="3.0.3")
    blueprint = Blueprint("records", "records", url_prefix="/records")

    def view(record_id: int) -> Any:
        return content.data

    answering = blueprint.response(200)(view)
    blueprint.route("/<int:record_id>")(blueprint.etag(answering) if tagged else answering)
    Api(app).register_blueprint(blueprint)
    return app


def django_applications(content: Content) -> tuple[Application, Application]:
    """Return the view, and the view under ``condition``; there is one Django in a process, without middleware."""
    if not settings.configured:
        settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=())
        django.setup()

    def version_of(_request: HttpRequest, record_id: int) -> str:
        return f'"r{content.thing.revision}"'

    def view(_request: HttpRequest, record_id: int) -> JsonResponse:
        return JsonResponse(content.data, json_dumps_params={"separators": (",", ":")})

    return _served_by_django(view), _served_by_django(condition(etag_func=version_of)(view))


def _served_by_django(view: Any) -> Application:
    urls = (path("records/<int:record_id>", view),)

    class Handler(WSGIHandler):  # type: ignore[misc]
        def get_response(self, request: HttpRequest) -> Any:
            request.urlconf = urls
            return super().get_response(request)

    handler: Application = Handler()
    return handler
