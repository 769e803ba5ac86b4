"""Bodies of requests that no view expects: for whatever takes a JSON object with a text."""

from __future__ import annotations

from typing import Any

from flask import Flask
from flask.testing import FlaskClient

DEEP = {"too deep", "too deep in its text", "too deep beside it"}
"""Those of which Flask itself makes a 500."""


def wrong(member: str) -> dict[str, bytes]:
    """Return bodies that are no object with a text of this name, by what they are; each is for a 400."""
    shapes = ["", "{", "null", "true", "5", '"<b>"', "[]", '["MEMBER"]', '[{"MEMBER": "x"}]', '{"other": "x"}']
    values = ["null", "true", "5", "1.5", "NaN", "[]", '["x"]', "{}"]
    texts = [*shapes, *(f'{{"MEMBER": {value}}}' for value in values)]
    sent = [text.replace("MEMBER", member) for text in texts]
    return {text: text.encode() for text in sent}


def odd(member: str) -> dict[str, bytes]:
    """Return bodies that Flask fails to read, or a database to keep; 500 is the framework's own word for some."""
    deep = "[" * 100_000 + "]" * 100_000
    return {
        "too deep": deep.encode(),
        "too deep in its text": f'{{"{member}": {deep}}}'.encode(),
        "too deep beside it": f'{{"{member}": "x", "other": {deep}}}'.encode(),
        "half of a surrogate pair": f'{{"{member}": "\\ud800"}}'.encode(),
        "NUL": f'{{"{member}": "\\u0000"}}'.encode(),
        "NaN beside it": f'{{"{member}": "x", "other": NaN}}'.encode(),
        "many digits": f'{{"{member}": {"9" * 5000}}}'.encode(),
        "Latin-1": f'{{"{member}": "\xe9"}}'.encode("latin-1"),
        "UTF-16": f'{{"{member}": "x"}}'.encode("utf-16"),
    }


def check_bodies(app: Flask, url: str, member: str, *, refused: int = 400) -> None:
    """PUT each of them on what is there: a wrong one is refused, and each is stored and shown, or changes nothing.

    :param refused: the status of what is JSON and no object with such a text.
    """
    app.testing = False  # what fails is a 500, as with any server
    client = app.test_client()
    statuses = {name: put(client, url, body) for name, body in wrong(member).items()}
    assert {name: each for name, each in statuses.items() if each not in (400, refused)} == {}
    for body in odd(member).values():
        put(client, url, body)


def put(client: FlaskClient, url: str, body: bytes) -> int:
    """PUT a body on what is there; see that it is stored and shown, or has changed nothing; return the status."""
    before = client.get(url)
    headers: dict[str, Any] = {"If-Match": before.headers["ETag"]}
    answer = client.put(url, data=body, content_type="application/json", headers=headers)
    after = client.get(url)
    assert after.status_code == 200
    if answer.status_code >= 300:
        assert (after.data, after.headers["ETag"]) == (before.data, before.headers["ETag"])
    else:
        assert (after.data, after.headers["ETag"]) == (answer.data or after.data, answer.headers["ETag"])
    return answer.status_code
