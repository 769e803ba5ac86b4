"""The application under test, for servers that speak ASGI."""

from __future__ import annotations

from typing import Any

from a2wsgi import WSGIMiddleware

from torture import app


def create_app() -> WSGIMiddleware:
    application: Any = app.create_app()
    return WSGIMiddleware(application, workers=8)
