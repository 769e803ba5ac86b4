"""A conditional resource in Starlette."""

import json
from uuid import uuid4

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from flask_etag import EntityTag
from flask_etag.preconditions import Preconditions, Representation

notes = {1: {"version": uuid4().hex, "body": "first"}}


def judged(request: Request, etag: EntityTag) -> Response | None:
    """Return the 304, 412 or 428 that answers a request; nothing where its view is to run."""
    lines = [request.headers.getlist(f"if-{name}") for name in ("match", "none-match")]
    conditions = Preconditions(*(", ".join(each) if each else None for each in lines))
    if request.method not in ("GET", "HEAD") and not conditions.protect:
        return JSONResponse({"reason": "missing"}, 428)
    verdict = conditions.evaluate(request.method, Representation(etag))
    if verdict == "proceed":
        return None
    if verdict == "not modified":
        return Response(status_code=304, headers={"ETag": str(etag)})
    return JSONResponse({"reason": verdict}, 412, {"ETag": str(etag)})


async def note(request: Request) -> Response:
    sent = await request.body()
    stored = notes.get(request.path_params["note_id"])
    if stored is None:
        raise HTTPException(404)
    refusal = judged(request, EntityTag(stored["version"]))
    if refusal is not None:
        return refusal
    if request.method == "PUT":  # no await since the check: nobody else in this process has run
        try:
            body = json.loads(sent)["body"]
            body.encode()  # only a text can be; half of a surrogate pair could be kept, and never be answered
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise HTTPException(400) from error
        stored.update(version=uuid4().hex, body=body)
    return JSONResponse({"body": stored["body"]}, headers={"ETag": str(EntityTag(stored["version"]))})


app = Starlette(routes=[Route("/notes/{note_id:int}", note, methods=["GET", "PUT"])])
