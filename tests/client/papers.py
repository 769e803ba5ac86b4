"""A small API, guarded by Flask-ETag: each paper is any JSON object, and the server has habits of its own.

It spells a ``price`` with two decimals, trims a ``title``, refuses an empty one, and adds ``edited``, the time. It
gives each of the ``lines`` an id of its own, and spells the UUIDs of ``claims`` without hyphens, in capitals.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from flask import Flask, abort, request
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import JSON
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from flask_etag import ETag, etag_resource, require_if_match, resource
from flask_etag.sqlalchemy import Versioned


class Base(DeclarativeBase):
    """The tables of papers."""


class Paper(Versioned, Base):
    __tablename__ = "papers"

    name: Mapped[str] = mapped_column(primary_key=True)
    content: Mapped[Any] = mapped_column(JSON)


def stored(sent: dict[str, Any]) -> dict[str, Any]:
    """Return what the server makes of what was sent."""
    content = {**sent, "edited": datetime.now(UTC).isoformat()}
    if "price" in content:
        content["price"] = f"{Decimal(content['price']):.2f}"
    if "title" in content:
        content["title"] = content["title"].strip() or abort(422)
    if "lines" in content:
        content["lines"] = [{**line, "id": number} for number, line in enumerate(content["lines"], 1)]
    if "claims" in content:
        content["claims"] = [claim.replace("-", "").upper() for claim in content["claims"]]
    return content


def create_app(url: str) -> Flask:
    app = Flask("papers")
    app.config.update(SQLALCHEMY_DATABASE_URI=url, ETAG_KEY="a secret")
    db = SQLAlchemy(app, model_class=Base, session_options={"expire_on_commit": False})
    ETag(app)

    @resource
    def find_paper(name: str) -> Paper | None:
        return db.session.get(Paper, name)

    @app.get("/known/<name>")
    @app.get("/papers/<name>")
    @etag_resource(find_paper)
    def read_paper(paper: Paper) -> Any:
        return paper.content

    def put_paper(paper: Paper | None, name: str) -> Any:
        status = 201 if paper is None else 200
        paper = paper or Paper(name=name)
        paper.content = stored(request.get_json())
        db.session.add(paper)
        db.session.commit()
        return paper.content, status

    app.put("/papers/<name>")(require_if_match(find_paper, create=True)(put_paper))
    known_again = require_if_match(find_paper, create=True, replay=True)(put_paper)
    app.put("/known/<name>", endpoint="put_paper_once")(known_again)

    @app.patch("/papers/<name>")
    @require_if_match(find_paper)
    def patch_paper(paper: Paper) -> Any:
        assert request.mimetype == "application/merge-patch+json"
        changes = request.get_json()
        content = {**paper.content, **changes}
        paper.content = stored({name: value for name, value in content.items() if value is not None})
        db.session.commit()
        return paper.content

    @app.delete("/papers/<name>")
    @require_if_match(find_paper)
    def delete_paper(paper: Paper) -> Any:
        db.session.delete(paper)
        db.session.commit()
        return "", 204

    @app.patch("/papers")
    @require_if_match(
        find_paper, each=lambda: [(item["etag"], {"name": item["name"]}) for item in request.json or ()]
    )
    def patch_papers(papers: list[Paper]) -> Any:
        for paper, item in zip(papers, request.get_json(), strict=True):
            paper.content = stored({name: value for name, value in item.items() if name != "etag"})
        db.session.flush()
        tags = [{"etag": str(find_paper.etag_of(paper))} for paper in papers]
        db.session.commit()
        shown = {
            "contents": [paper.content for paper in papers],
            "tags": {"items": tags},
            "word": {"saved": len(tags)},
        }
        return shown[request.args.get("shown", "contents")]

    with app.app_context():
        db.create_all()
    return app
