"""What the README says of its example."""

from __future__ import annotations

from typing import Any

from flask import Flask


def check_example(app: Flask, db: Any, model: Any) -> None:
    app.testing = True
    with app.app_context():
        db.drop_all()
        db.create_all()
        db.session.add(model(id=1, body="first"))
        db.session.commit()
    client = app.test_client()
    etag = client.get("/notes/1").headers["ETag"]
    assert client.get("/notes/1", headers={"If-None-Match": etag}).status_code == 304
    assert client.put("/notes/1", json={"body": "second"}).status_code == 428
    saved = client.put("/notes/1", json={"body": "second"}, headers={"If-Match": etag})
    assert saved.status_code == 200
    stale = client.put("/notes/1", json={"body": "third"}, headers={"If-Match": etag})
    assert stale.status_code == 412
    assert stale.headers["ETag"] == saved.headers["ETag"] == client.get("/notes/1").headers["ETag"]
    assert client.get("/notes/1").json == {"body": "second"}
    with app.app_context():
        db.drop_all()
        db.engine.dispose()
