"""Documents in etcd: a transaction compares the key's ``mod_revision``, which never repeats, and then writes."""

import json
import os
from base64 import b64encode
from dataclasses import dataclass
from typing import Any

from etcd3gw import client
from flask import Flask, abort, request

from flask_etag import ETag, Stale, etag_resource, require_if_match, resource, version_column


@dataclass
class Memo:
    content: bytes
    revision: int


def create_app() -> Flask:
    app = Flask(__name__)
    ETag(app)
    store: Any = client(host="127.0.0.1", port=int(os.environ["STORE"]))

    @resource(etag=version_column("revision"), swaps=True)
    def find_memo(name: str) -> Memo | None:
        for content, key in store.get(f"memos/{name}", metadata=True):
            return Memo(content, int(key["mod_revision"]))
        return None

    def swap(name: str, seen: Memo | None, request_of: str, **more: str) -> int:
        """Write, if the document is the one that was seen; return the revision that this has made."""
        key = b64encode(f"memos/{name}".encode()).decode()
        # Of what is not there, the revision is 0.
        compare = {"key": key, "target": "MOD", "result": "EQUAL", "mod_revision": seen.revision if seen else 0}
        result = store.transaction({"compare": [compare], "success": [{request_of: {"key": key, **more}}]})
        if not result.get("succeeded"):
            raise Stale
        return int(result["header"]["revision"])

    @app.get("/memos/<name>")
    @etag_resource(find_memo)
    def read_memo(memo: Memo) -> Any:
        return json.loads(memo.content)

    @app.put("/memos/<name>")
    @require_if_match(find_memo, create=True)
    def replace_memo(memo: Memo | None, name: str) -> Any:
        sent = request.get_json()
        if not (isinstance(sent, dict) and all(isinstance(each, str | int) for each in sent.values())):
            abort(400, "A memo is an object of texts and integers.")  # what is deep could be kept, and never read
        content = json.dumps(sent).encode()
        revision = swap(name, memo, "request_put", value=b64encode(content).decode())
        etag = find_memo.etag_of(Memo(content, revision))
        return json.loads(content), 200 if memo else 201, {"ETag": str(etag)}

    @app.delete("/memos/<name>")
    @require_if_match(find_memo)
    def delete_memo(memo: Memo, name: str) -> tuple[str, int]:
        swap(name, memo, "request_delete_range")
        return "", 204

    return app
