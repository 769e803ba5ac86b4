"""Documents under a lock in Valkey or Redis, which expires by itself; a token fences off who comes late."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from flask import Flask, abort, g, request
from redis import Redis, RedisError

from flask_etag import ETag, Stale, content_hash, etag_resource, require_if_match, resource

LIVES = 10_000  # milliseconds: longer than the slowest view
WAITS = 5  # seconds, after which a request is told that the document is busy

# Who takes the lock gets a token, which is higher than any before.
LOCK = """
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return redis.call('INCR', KEYS[2]) end
return 0
"""
UNLOCK = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""
# To read under the lock is to tell the store the token: who has a lower one can write no more.
READ = """
if tonumber(ARGV[1]) > tonumber(redis.call('GET', KEYS[2]) or 0) then redis.call('SET', KEYS[2], ARGV[1]) end
return redis.call('GET', KEYS[1])
"""
WRITE = """
if tonumber(ARGV[1]) < tonumber(redis.call('GET', KEYS[2]) or 0) then return 0 end
if ARGV[2] == '' then redis.call('DEL', KEYS[1]) else redis.call('SET', KEYS[1], ARGV[2]) end
return 1
"""


def create_app() -> Flask:
    app = Flask(__name__)
    ETag(app)
    locks: Any = Redis.from_url(os.environ["LOCKS"])
    store: Any = Redis.from_url(os.environ["STORE"])  # another server, perhaps
    lives = int(os.environ.get("LIVES", LIVES))

    @contextmanager
    def locked(name: str) -> Iterator[None]:
        mine, until = os.urandom(16).hex(), time.monotonic() + WAITS
        while not (token := locks.eval(LOCK, 2, f"lock:{name}", f"token:{name}", mine, lives)):
            if time.monotonic() > until:
                raise TimeoutError
            time.sleep(0.01)
        g.token = token
        try:
            yield
        finally:
            with suppress(RedisError):  # it expires by itself, and what was written is written
                locks.eval(UNLOCK, 1, f"lock:{name}", mine)

    @resource(etag=content_hash(json.loads), lock=locked, swaps=True)
    def find_memo(name: str) -> bytes | None:
        found: bytes | None = store.eval(READ, 2, f"memo:{name}", f"fence:{name}", g.get("token", 0))
        return found

    def write(name: str, content: bytes) -> None:
        if not store.eval(WRITE, 2, f"memo:{name}", f"fence:{name}", g.token, content):
            raise Stale  # the lock has expired, and another has read since

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
        write(name, new)
        return json.loads(new), 200 if memo else 201, {"ETag": str(find_memo.etag_of(new))}

    @app.delete("/memos/<name>")
    @require_if_match(find_memo)
    def delete_memo(memo: bytes, name: str) -> tuple[str, int]:
        write(name, b"")
        return "", 204

    return app
