"""A conditional resource in Quart."""

import json
from typing import Any
from uuid import uuid4

from quart import Quart, abort, request

from flask_etag import EntityTag
from flask_etag.preconditions import Preconditions, Representation

app = Quart(__name__)
notes = {1: {"version": uuid4().hex, "body": "first"}}


def judged(etag: EntityTag) -> Any:
    """Return the 304, 412 or 428 that answers the request; nothing where its view is to run."""
    lines = [request.headers.getlist(f"If-{name}") for name in ("Match", "None-Match")]
    conditions = Preconditions(*(", ".join(each) if each else None for each in lines))
    if request.method not in ("GET", "HEAD") and not conditions.protect:
        return {"reason": "missing"}, 428
    verdict = conditions.evaluate(request.method, Representation(etag))
    if verdict == "proceed":
        return None
    if verdict == "not modified":
        return "", 304, {"ETag": str(etag)}
    return {"reason": verdict}, 412, {"ETag": str(etag)}


@app.get("/notes/<int:note_id>")
async def read_note(note_id: int) -> Any:
    note = notes.get(note_id) or abort(404)
    etag = EntityTag(note["version"])
    return judged(etag) or ({"body": note["body"]}, {"ETag": str(etag)})


@app.put("/notes/<int:note_id>")
async def replace_note(note_id: int) -> Any:
    sent = await request.get_data()
    note = notes.get(note_id) or abort(404)
    if refusal := judged(EntityTag(note["version"])):
        return refusal
    try:  # no await since the check: nobody else here has run
        body = json.loads(sent)["body"]
        body.encode()  # only a text can be; half of a surrogate pair cannot
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        abort(400)
    note.update(version=uuid4().hex, body=body)
    return {"body": note["body"]}, {"ETag": str(EntityTag(note["version"]))}
