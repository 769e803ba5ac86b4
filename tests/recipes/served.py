"""An application with one page, for the recipes of docs/recipes."""

from __future__ import annotations

import os
from contextlib import nullcontext
from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType

from flask import Flask, request

from flask_etag import ETag, content_hash, etag_resource, require_if_match, resource
from tests import ROOT

RECIPES = ROOT / "docs" / "recipes"


def recipe(name: str) -> ModuleType:
    """Import a recipe as it is in the docs."""
    spec = spec_from_file_location(f"recipe_{name}", RECIPES / f"with_{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@resource(etag=lambda _: "v1", lock=nullcontext)
def find_page() -> str:
    return "page"


def served() -> Flask:
    app = Flask("served")
    ETag(app)
    app.get("/page", endpoint="read")(etag_resource(find_page)(lambda page: page))
    app.put("/page", endpoint="replace")(require_if_match(find_page)(lambda page: page))
    app.get("/broken", endpoint="broken")(etag_resource(find_page)(lambda page: page[99]))
    return app


def counted() -> Flask:
    """Return what gunicorn runs: the page, counted by the recipe that RECIPE names."""
    app = served()
    recipe(os.environ.get("RECIPE", "prometheus")).install(app)
    return app


def edited() -> Flask:
    """Return what gunicorn runs for the trace: a memo that can be edited."""
    app = Flask("edited")
    ETag(app)
    memo = {"text": "first"}

    @resource(etag=content_hash(dict), lock=nullcontext)
    def find_memo() -> dict[str, str]:
        return memo

    def replace(found: dict[str, str]) -> dict[str, str]:
        found["text"] = request.get_data(as_text=True)
        return found

    app.get("/memo", endpoint="read")(etag_resource(find_memo)(lambda found: found))
    app.put("/memo", endpoint="replace")(require_if_match(find_memo)(replace))
    return app
