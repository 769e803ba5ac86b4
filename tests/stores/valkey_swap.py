"""Documents in Valkey 8.1 or Redis 8.4, or later: ``SET ... IFEQ`` replaces what was seen, or nothing."""

import json
import os
from typing import Any

from flask import Flask, abort, request
from redis import Redis

from flask_etag import ETag, Stale, content_hash, etag_resource, require_if_match, resource

DELETE_IF_EQUAL = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""


def create_app() -> Flask:
    app = Flask(__name__)
    ETag(app)
    store: Any = Redis.from_url(os.environ["STORE"])

    @resource(etag=content_hash(json.loads), swaps=True)
    def find_memo(name: str) -> bytes | None:
        found: bytes | None = store.get(f"memo:{name}")
        return found

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
        condition = ["NX"] if memo is None else ["IFEQ", memo]
        if not store.execute_command("SET", f"memo:{name}", new, *condition):
            raise Stale
        return json.loads(new), 200 if memo else 201, {"ETag": str(find_memo.etag_of(new))}

    @app.delete("/memos/<name>")
    @require_if_match(find_memo)
    def delete_memo(memo: bytes, name: str) -> tuple[str, int]:
        if not store.eval(DELETE_IF_EQUAL, 1, f"memo:{name}", memo):
            raise Stale
        return "", 204

    return app
