"""The history of the products: each state that one had, who has made it, and when.

A state is kept by the transaction that makes it: a save that is refused leaves none. It is kept with its version,
of which the ETag can be made again that clients had of it.
"""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise
from typing import Any, NamedTuple, cast

from flask import Blueprint, has_request_context, request
from sqlalchemy import Connection, event, insert, select
from sqlalchemy.orm import Mapper, Session, object_session
from werkzeug.exceptions import NotFound

from flask_etag import etag_resource
from flask_etag.sqlalchemy import etag_of_version, is_etag_of_version
from sample_app.models import Product, ProductState, session
from sample_app.schemas import ProductSchema

history = Blueprint("history", __name__, url_prefix="/products/<sku>/changes")

MOST = 100
"""How many changes are shown, the last ones."""

_LONGEST_NAME = 40
_schema = ProductSchema(only=["name", "description", "price", "stock"])


class Change(NamedTuple):
    """One step in the history of a product.

    :ivar etag: of the state that it has made; ``None`` for a deletion.
    :ivar who: has made it; ``None`` if nobody has said.
    :ivar members: by name, what each was and what it became, of those that have changed.
    """

    etag: str | None
    who: str | None
    at: datetime
    members: dict[str, tuple[Any, Any]]


@event.listens_for(Product, "after_insert")
@event.listens_for(Product, "after_update")
def keep_flushed(_: Mapper[Product], connection: Connection, product: Product) -> None:
    """Keep the state that a flush has made of a product; what saves the same again makes none."""
    if cast(Session, object_session(product)).is_modified(product):
        keep_state(connection, product)


@event.listens_for(Product, "after_delete")
def keep_deletion(_: Mapper[Product], connection: Connection, product: Product) -> None:
    """Keep that a product is no more."""
    _keep(connection, sku=product.sku)


def keep_state(connection: Connection, product: Product) -> None:
    """Keep what a product is, in the transaction of a connection. Statements past the ORM need this."""
    _keep(connection, sku=product.sku, version=product.version, content=_schema.dump(product))


def _keep(connection: Connection, **values: Any) -> None:
    connection.execute(insert(ProductState).values(who=_who(), **values))


def _who() -> str | None:
    """Return who asks, by the name that the request gives; this shop has no login, which would know it."""
    if not has_request_context():
        return None
    name = request.headers.get("User", "").strip()
    return name[:_LONGEST_NAME] if name.isprintable() and name else None


def changes_of(sku: str, since: str | None = None) -> list[Change]:
    """Return how a product came to what it is, the oldest change first.

    :param since: the ETag of the state to begin after, of whatever representation.
    :raises NotFound: if there is nothing by that sku, or none of its states that are kept had that ETag.
    """
    last = select(ProductState).filter_by(sku=sku).order_by(ProductState.id.desc()).limit(MOST + 1)
    states = [None, *reversed(session().scalars(last).all())]
    if since is not None:
        had = [index for index, state in enumerate(states) if state is not None and _had(state, since)]
        states = states[had[-1] :] if had else []
    elif len(states) == MOST + 2:
        states = states[1:]  # what the first of these was before is not known
    if not states or states == [None]:
        raise NotFound("There is no such product." if since is None else "No state of it has had this ETag.")
    return [_change(before, after) for before, after in pairwise(states) if after is not None]


def _tag(state: ProductState) -> str | None:
    return None if state.version is None else str(etag_of_version(Product, state.sku, state.version))


def _had(state: ProductState, etag: str) -> bool:
    return state.version is not None and is_etag_of_version(etag, Product, state.sku, state.version)


def _change(before: ProductState | None, after: ProductState) -> Change:
    was, became = ((state and state.content) or {} for state in (before, after))
    pairs = {name: (was.get(name), became.get(name)) for name in _schema.fields}
    changed = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
    return Change(_tag(after), after.who, after.at, changed)


@history.get("")
@etag_resource
def read_changes(sku: str) -> list[dict[str, Any]]:
    """Show who has changed what, and when: all of it, or ``?since=`` the state that had an ETag."""
    return [
        {**change._asdict(), "at": change.at.isoformat()} for change in changes_of(sku, request.args.get("since"))
    ]
