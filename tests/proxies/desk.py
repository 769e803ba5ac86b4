"""An application behind front ends."""

from __future__ import annotations

from contextlib import AbstractContextManager
from threading import Lock
from typing import Any

from flask import Flask, request
from flask.typing import ResponseReturnValue

from flask_etag import ETag, content_hash, etag_resource, require_if_match, resource


class Desk:
    """An application with papers and posters of some kilobytes, made when they are asked for; and its answers.

    Papers are private; posters are public, and have tags in two parts.
    """

    def __init__(self, **config: Any) -> None:
        self.app = Flask("desk")
        self.app.testing = True
        self.app.config.update(config)
        ETag(self.app)
        self.views = 0
        self.answers: list[tuple[str, int]] = []
        papers: dict[str, dict[str, Any]] = {}
        lock = Lock()

        def find(name: str) -> dict[str, Any]:
            return papers.setdefault(name, {"text": "All work and no play. " * 100, "edits": 0})

        def lock_of(name: str) -> AbstractContextManager[Any]:
            return lock

        def size(poster: Any) -> str:
            return "large"

        public = {"Cache-Control": "public", "X-Accel-Expires": "@1"}
        kinds = {
            "papers": resource(etag=content_hash(dict), lock=lock_of)(find),
            "posters": resource(etag=content_hash(dict), lock=lock_of, headers=public, variant=size)(find),
        }

        def read(paper: dict[str, Any]) -> ResponseReturnValue:
            self.views += 1
            return dict(paper)

        def replace(paper: dict[str, Any]) -> ResponseReturnValue:
            self.views += 1
            paper["edits"] = request.json
            return dict(paper)

        for kind, found in kinds.items():
            self.app.get(f"/{kind}/<name>", endpoint=f"read {kind}")(etag_resource(found)(read))
            self.app.put(f"/{kind}/<name>", endpoint=f"replace {kind}")(require_if_match(found)(replace))

        @self.app.after_request
        def note(response: Any) -> Any:
            self.answers.append((request.method, response.status_code))
            return response
