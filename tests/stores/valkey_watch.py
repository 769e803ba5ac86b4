"""Documents in any Valkey or Redis: after ``WATCH``, ``EXEC`` does nothing if the key has changed meanwhile."""

import json
import os
from typing import Any

from flask import Flask, abort, request
from redis import Redis, WatchError

from flask_etag import ETag, Stale, content_hash, etag_resource, require_if_match, resource


def create_app() -> Flask:
    app = Flask(__name__)
    ETag(app)
    store: Any = Redis.from_url(os.environ["STORE"])

    @resource(etag=content_hash(json.loads), swaps=True)
    def find_memo(name: str) -> bytes | None:
        found: bytes | None = store.get(f"memo:{name}")
        return found

    def swap(name: str, seen: bytes | None, new: bytes | None) -> None:
        key = f"memo:{name}"
        with store.pipeline() as pipe:
            pipe.watch(key)
            if pipe.get(key) != seen:  # whoever comes after this GET is what EXEC finds
                raise Stale
            pipe.multi()
            if new is None:
                pipe.delete(key)
            else:
                pipe.set(key, new)
            try:
                pipe.execute()
            except WatchError:
                raise Stale from None

    @app.get("/memos/<name>")
    @etag_resource(find_memo)
    def read_memo(memo: bytes) -> Any:
        return json.loads(memo)

    @app.put("/memos/<name>")
    @require_if_match(find_memo, create=True)
    def replace_memo(memo: bytes | None, name: str) -> Any:
        sent = request.get_json()
        if not (isinstance(sent, dict) and all(isinstance(each, str | int) for each in sent.values())):
            abort(400, "A memo is an object of texts and integers.")  # what is deep could be kept, and never read
        new = json.dumps(sent).encode()
        swap(name, memo, new)
        return json.loads(new), 200 if memo else 201, {"ETag": str(find_memo.etag_of(new))}

    @app.delete("/memos/<name>")
    @require_if_match(find_memo)
    def delete_memo(memo: bytes, name: str) -> tuple[str, int]:
        swap(name, memo, None)
        return "", 204

    return app
